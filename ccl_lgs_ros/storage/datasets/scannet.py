# SPDX-License-Identifier: Apache-2.0
"""ScanNet's labelled meshes.

    ROOT/<scene>/<scene>_vh_clean_2.labels.ply   vertices with a property `label`: NYU40, 0 unlabelled
    ROOT/<scene>/<scene>.txt                     optional: axisAlignment = 16 numbers, row by row

<scene> is such as scene0000_00; the files may lie in ROOT itself or in ROOT/scans as well. Meshes and the poses that
ScanNet's own exporter writes share one frame; a map made from poses that were turned by axisAlignment is scored with
`is_aligned`.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyParseError

from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.geometry import transform_points
from ccl_lgs_ros.storage.cameras import read_text

LABELS = "_vh_clean_2.labels.ply"
_PLACES = ("*", "*/*", "scans/*/*")


def scannet_scenes(root: Path) -> dict[str, Path]:
    """The labelled meshes by scene.

    Raises:
        EvaluationError: if the folder is missing or has another layout.
    """
    if not root.is_dir():
        raise EvaluationError(f"there is no folder {root}; give the folder of ScanNet scenes")
    found = sorted(path for place in _PLACES for path in root.glob(f"{place}{LABELS}"))
    if not found:
        raise EvaluationError(
            f"{root} has no <scene>/<scene>{LABELS}; get it with ScanNet's download script: --type {LABELS}"
        )
    return {path.name.removesuffix(LABELS): path for path in found}


def read_scannet(root: Path, scene: str, *, is_aligned: bool = False) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The vertices [V, 3] in metres and their NYU40 labels [V] of a scene, turned by its axisAlignment if asked.

    Raises:
        EvaluationError: naming the file, what is wrong with it and what it should hold.
    """
    scenes = scannet_scenes(root)
    if scene not in scenes:
        raise EvaluationError(f"{root} has no labels of {scene}; it has {', '.join(scenes)}")
    path = scenes[scene]
    try:
        vertices = PlyData.read(str(path))["vertex"]
        points = np.stack([np.asarray(vertices[axis], np.float64) for axis in "xyz"], axis=1)
        labels = np.asarray(vertices["label"]).astype(np.int64)
    except (OSError, PlyParseError, KeyError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"{path} must be a .ply whose vertices have x, y, z and label ({error}); download it again"
        ) from error
    if is_aligned:
        points = transform_points(_alignment(path.with_name(f"{scene}.txt")), points).astype(np.float64)
    return points, labels


def _alignment(path: Path) -> NDArray[np.float64]:
    for line in read_text(path).splitlines():
        name, _, values = line.partition("=")
        if name.strip() == "axisAlignment":
            numbers = values.split()
            if len(numbers) == 16:
                return np.array(numbers, dtype=np.float64).reshape(4, 4)
    raise EvaluationError(f"{path} has no axisAlignment of 16 numbers; score the map without alignment")
