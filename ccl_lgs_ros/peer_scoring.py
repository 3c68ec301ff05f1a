# SPDX-License-Identifier: Apache-2.0
"""Scores maps of public data sets by the protocols that others publish, one map per scene."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.evaluation.langsplat_2d import MASK_THRESHOLD, langsplat_2d
from ccl_lgs_ros.evaluation.multiclass_2d import multiclass_2d
from ccl_lgs_ros.evaluation.peer_scores import PeerScores, PeerUnit
from ccl_lgs_ros.evaluation.points import scannet_points, volume_weighted
from ccl_lgs_ros.evaluation.selection_3d import opengaussian_3d
from ccl_lgs_ros.map_subject import MapSubject
from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.storage.datasets.lerf_ovs import lerf_ovs_scenes, read_lerf_ovs
from ccl_lgs_ros.storage.datasets.ovs_3d import ovs_3d_scenes, read_3d_ovs
from ccl_lgs_ros.storage.datasets.scannet import read_scannet, scannet_scenes
from ccl_lgs_ros.storage.evaluation_set import LabelledView, read_evaluation_set
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load

__all__ = ["PEER_PROTOCOLS", "PeerScores", "evaluate_peers"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What a scene is scored with."""

    data: Path
    scene: str
    mask_threshold: float
    num_classes: int
    is_aligned: bool
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class _Protocol:
    """A published protocol on the data set that it is used with."""

    scenes: Callable[[Path], Sequence[str]]
    score: Callable[[MapSubject, _Task], tuple[PeerUnit, ...]]


def evaluate_peers(
    maps: Path,
    protocol: str,
    data: Path,
    config_of: Callable[[Path], MapConfig],
    *,
    scene: str = "",
    threshold: float | None = None,
    mask_threshold: float = MASK_THRESHOLD,
    num_classes: int = 19,
    is_aligned: bool = False,
    progress: Progress = no_progress,
) -> PeerScores:
    """The scores of the map of one scene, or of a folder that holds a map per scene, named like them.

    Args:
        protocol: one of PEER_PROTOCOLS.
        data: the folder of the data set; for `lerf-ovs` and `lerf-3d` also an evaluation set of ours.
        config_of: by which options the map at a path is asked.
        scene: which scene a single map shows; empty = the one that the map's folder is named after, or the only one.
        threshold: relevancy above which a thing is an answer, for `lerf-3d`; None = the options'.
        mask_threshold: of `lerf-ovs`.
        num_classes: of `scannet` and `scannet-volume`.
        is_aligned: the maps were made in ScanNet's axis-aligned frame.

    Raises:
        EvaluationError: if the data set cannot be read, or no map shows one of its scenes.
        MapError: if a map cannot be read.
        EncoderMismatchError: if the configured encoder speaks another language than a map.
    """
    chosen = _PROTOCOLS[protocol]
    scored = {}
    for name, path in maps_of_scenes(maps, tuple(chosen.scenes(data)), scene).items():
        semantic_map = load(MapDirectory.open(path))
        if not any(level.num_tracks for level in semantic_map.levels.values()):
            raise EvaluationError(f"the map {path} has no semantics yet; build it to the end before it is scored")
        task = _Task(
            data=data,
            scene=name,
            mask_threshold=mask_threshold,
            num_classes=num_classes,
            is_aligned=is_aligned,
            progress=progress,
        )
        scored[name] = chosen.score(MapSubject(semantic_map, config_of(path), threshold), task)
        logger.info("%s: %s units scored by %s", name, len(scored[name]), protocol)
    return PeerScores(protocol=protocol, scenes=scored)


def maps_of_scenes(maps: Path, scenes: Sequence[str], scene: str = "") -> dict[str, Path]:
    """The map of each scene that has one.

    Raises:
        EvaluationError: if there is none, or it cannot be told which scene a map shows.
    """
    if scene and scene not in scenes:
        raise EvaluationError(f"the data set has no scene '{scene}'; it has {', '.join(scenes)}")
    if (maps / "map.json").is_file():
        name = scene or (maps.resolve().name if maps.resolve().name in scenes else "")
        if not name and len(scenes) > 1:
            raise EvaluationError(f"which scene does {maps} show? say --scene with one of {', '.join(scenes)}")
        return {name or scenes[0]: maps}
    wanted = (scene,) if scene else scenes
    found = {name: maps / name for name in wanted if (maps / name / "map.json").is_file()}
    if not found:
        raise EvaluationError(
            f"{maps} is no map and holds none that is named after a scene ({', '.join(wanted)}); give a map, or a "
            "folder with one per scene"
        )
    missing = [name for name in wanted if name not in found]
    if missing:
        logger.warning("no map of %s in %s; the means are over %s", ", ".join(missing), maps, ", ".join(found))
    return found


def _is_own_set(data: Path) -> bool:
    return (data / "transforms.json").is_file() and (data / "labels").is_dir()


def _lerf_scenes(data: Path) -> Sequence[str]:
    return (data.resolve().name,) if _is_own_set(data) else lerf_ovs_scenes(data)


def _lerf_views(task: _Task) -> Sequence[LabelledView]:
    return read_evaluation_set(task.data).views if _is_own_set(task.data) else read_lerf_ovs(task.data, task.scene)


def _lerf_2d(subject: MapSubject, task: _Task) -> tuple[PeerUnit, ...]:
    return langsplat_2d(subject, _lerf_views(task), mask_threshold=task.mask_threshold, progress=task.progress)


def _lerf_3d(subject: MapSubject, task: _Task) -> tuple[PeerUnit, ...]:
    return opengaussian_3d(subject, _lerf_views(task), progress=task.progress)


def _3d_ovs(subject: MapSubject, task: _Task) -> tuple[PeerUnit, ...]:
    views, classes = read_3d_ovs(task.data, task.scene)
    return multiclass_2d(subject, views, classes, progress=task.progress)


def _scannet(subject: MapSubject, task: _Task) -> tuple[PeerUnit, ...]:
    points, labels = read_scannet(task.data, task.scene, is_aligned=task.is_aligned)
    return scannet_points(subject, points, labels, task.num_classes)


def _scannet_volume(subject: MapSubject, task: _Task) -> tuple[PeerUnit, ...]:
    points, labels = read_scannet(task.data, task.scene, is_aligned=task.is_aligned)
    return volume_weighted(subject, points, labels, task.num_classes)


def _scannet_names(data: Path) -> Sequence[str]:
    return tuple(scannet_scenes(data))


_PROTOCOLS = {
    "lerf-ovs": _Protocol(
        scenes=_lerf_scenes,
        score=_lerf_2d,
    ),
    "lerf-3d": _Protocol(
        scenes=_lerf_scenes,
        score=_lerf_3d,
    ),
    "3d-ovs": _Protocol(
        scenes=ovs_3d_scenes,
        score=_3d_ovs,
    ),
    "scannet": _Protocol(
        scenes=_scannet_names,
        score=_scannet,
    ),
    "scannet-volume": _Protocol(
        scenes=_scannet_names,
        score=_scannet_volume,
    ),
}
PEER_PROTOCOLS = tuple(_PROTOCOLS)
