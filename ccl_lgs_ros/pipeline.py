# SPDX-License-Identifier: Apache-2.0
"""The method on one page: keyframes in, a map of Gaussians that carry language out, a text prompt answered.

Every keyframe takes the live path at once (`MapSession.add`); `MapSession.refine` is the optimisation over all
keyframes. Offline mapping (`build_map`) is the first over all keyframes, then the second.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ccl_lgs_ros.answer_views import answer_view
from ccl_lgs_ros.asking import create_encoder, encoder_record, query_map
from ccl_lgs_ros.backends import resolve_device
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.gaussians.neighbour_depth import NeighbourDepth
from ccl_lgs_ros.gaussians.optimize import is_held_out, optimize, psnr_report
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.gaussians.store import GaussianStore, Part
from ccl_lgs_ros.live import LiveLanguage
from ccl_lgs_ros.parts import Parts, create_parts
from ccl_lgs_ros.perceiving import Perceiver, Recollection
from ccl_lgs_ros.protocols import Checkpoint, KeyframeSource, Progress, no_progress
from ccl_lgs_ros.semantics import associate, refined
from ccl_lgs_ros.storage.checkpoint import FileCheckpoint, fingerprint
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.segment_store import SegmentStore
from ccl_lgs_ros.storage.snapshot import publish
from ccl_lgs_ros.structures import Gaussians, SemanticField, SemanticLevel, SemanticMap
from ccl_lgs_ros.working_size import WorkingSize

logger = logging.getLogger(__name__)

__all__ = ["MapSession", "answer_view", "build_map", "create_encoder", "query_map"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined:
    """What a refine made of the language; it holds until the next keyframe."""

    levels: Mapping[str, SemanticLevel]
    field: SemanticField | None


class MapSession:
    """A map that grows by keyframes and can be asked at any time.

    Args:
        config: every option.
        directory: where segments, checkpoints and snapshots live; the caller holds its locks.
        progress: told how far long work has come; raises Cancelled to stop it.
        parts: what to work with; made from the options if not given.

    Raises:
        MissingDependencyError: if a part that was named explicitly does not work here.
    """

    def __init__(
        self,
        config: MapConfig,
        directory: MapDirectory,
        progress: Progress = no_progress,
        parts: Parts | None = None,
    ) -> None:
        self.config, self.directory, self.progress = config, directory, progress
        self.device = resolve_device(config.device)
        self.parts = parts or create_parts(config)
        self.working_size = WorkingSize(config.gaussians.image_width)
        self.depth = NeighbourDepth(depth=config.gaussians.depth, holdout_every=config.gaussians.holdout_every)
        self.info: dict[str, object] = {
            "backends": dict(self.parts.chosen),
            "encoder_options": encoder_record(config),
        }
        perceived_by = {kind: self.parts.chosen.get(kind) for kind in ("segmenter", "encoder")}
        identity = f"{perceived_by} {config.perception} {config.masks}{self.depth.identity}"
        cache = SegmentStore(directory.segments_path, identity=identity)
        self.perceiver = Perceiver(self.parts.segmenter, self.parts.encoder, config.masks, cache)
        self._store = GaussianStore(Gaussians.empty(config.gaussians.sh_degree).to(self.device))
        self.num_added = self.num_refined = 0
        self.live = LiveLanguage(self.parts, config.field.slots, 0)
        self.refined: Refined | None = None

    @property
    def gaussians(self) -> Gaussians:
        """The Gaussians of the map as it is now."""
        return self._store.gaussians

    def add(self, keyframe: Keyframe) -> None:
        """The live path: what the keyframe shows joins the map, in geometry and in language.

        Nothing is touched but what the keyframe sees, so that its cost does not grow with the map.
        """
        keyframe = self.depth.admitted(keyframe)
        view = self.depth.live(self.working_size.of(keyframe), self.num_added)
        part = self._store.seen_by(view)
        if not is_held_out(self.num_added, self.config.gaussians.holdout_every):
            part = part.joined(self._seed(view, part.gaussians))
        segments = self.perceiver.segments(keyframe)
        labels = {name: self.working_size.labels(found.labels) for name, found in segments.items()}
        self.live.join(part, view, segments, labels)
        self.num_added += 1
        self.refined = None

    def catch_up(self, keyframes: KeyframeSource, stage: str = "keyframes") -> None:
        """Add the keyframes that were stored since the last one that was added."""
        total = len(keyframes)
        while self.num_added < total:
            self.add(keyframes[self.num_added])
            self.progress(stage, self.num_added, total, gaussians=len(self.gaussians))

    def refine(self, keyframes: KeyframeSource, max_seconds: float = 0.0) -> None:
        """Optimise the Gaussians over all keyframes, then associate, compress and lift anew on what they became.

        Whatever stops it, Cancelled too, leaves the session as it was; what was reached is kept as checkpoints.
        """
        keyframes = self.depth.admitting(keyframes)
        before = self._store, self.live, self.refined
        try:
            self._refine_geometry(keyframes, max_seconds)
            self._refine_language(keyframes)
            self.num_refined = self.num_added
        except BaseException:
            self._store, self.live, self.refined = before
            raise

    def build(self, keyframes: KeyframeSource, max_seconds: float = 0.0) -> SemanticMap:
        """The live path over all keyframes, then refine; published as the next version."""
        self.catch_up(keyframes)
        self.refine(keyframes, max_seconds)
        return self.snapshot()

    def snapshot(self) -> SemanticMap:
        """The map as it is now, published as the directory's next version."""
        levels = self.refined.levels if self.refined else self.live.semantics()
        num_tracks = {name: level.num_tracks for name, level in levels.items()}
        semantic_map = SemanticMap(
            gaussians=self.gaussians.detached().to("cpu"),
            levels=levels,
            encoder=self.parts.encoder.identity,
            field=self.refined.field if self.refined else None,
            map_id=self.directory.map_id,
            map_frame=self.config.frames.map_frame,
            map_up=self.config.frames.map_up,
            info={**self.info, "keyframes": self.num_added, "tracks": num_tracks, "vote_bytes": self.live.num_bytes},
        )
        published = publish(self.directory, semantic_map)
        if self.refined:
            self._checkpoint("gaussians", "").remove()
            self._checkpoint("field", "").remove()
        return published

    def _refine_geometry(self, keyframes: KeyframeSource, max_seconds: float) -> None:
        options = self.config.gaussians
        views = self.depth.source(self.working_size.source(keyframes))
        start = fingerprint(*self.gaussians.tensors().values())
        work = f"{options} {max_seconds} {self.config.seed} {self.num_added} {start}"
        checkpoint = self._checkpoint("gaussians", work)
        reached = checkpoint.load()
        if reached:
            logger.info("going on with the Gaussians of an earlier run")
            self._store = GaussianStore(Gaussians(**reached).to(self.device))
        else:
            began = time.monotonic()
            unfinished = self._checkpoint("gaussians", f"unfinished {work}")
            self._store = GaussianStore(self._optimized(views, max_seconds, unfinished))
            self.info["optimize_seconds"] = round(time.monotonic() - began, 1)
            checkpoint.save(self.gaussians.tensors())
        self._score(views)

    def _optimized(self, views: KeyframeSource, max_seconds: float, checkpoint: Checkpoint) -> Gaussians:
        options = self.config.gaussians
        return optimize(
            self.gaussians,
            views,
            self.parts.rasterizer,
            iterations=options.iterations,
            holdout_every=options.holdout_every,
            depth_weight=options.depth_weight,
            ssim_weight=options.ssim_weight,
            seed_stride=options.seed_stride,
            seed_alpha=options.seed_alpha,
            max_gaussians=options.max_gaussians,
            exposure=options.exposure,
            budget=options.budget,
            max_seconds=max_seconds,
            num_known=self.num_refined,
            densifier=self.parts.densifier,
            checkpoint=checkpoint,
            generator=torch.Generator().manual_seed(self.config.seed),
            progress=self.progress,
        )

    def _refine_language(self, keyframes: KeyframeSource) -> None:
        seen = Recollection(
            keyframes=keyframes,
            perceiver=self.perceiver,
            working_size=self.working_size,
            count=self.num_added,
            holdout_every=self.config.gaussians.holdout_every,
        )
        began, gaussians = time.monotonic(), self.gaussians
        self.live, tables = associate(gaussians, seen, self.parts, self.config, self.progress)
        self.info["associate_seconds"] = round(time.monotonic() - began, 1)
        lifting, levels, figures = refined(
            gaussians,
            seen,
            tables,
            self.parts,
            self.config,
            checkpoint_of=lambda work: self._checkpoint("field", work),
            progress=self.progress,
        )
        self.info.update(figures)
        if lifting.gaussians is not gaussians:
            self._store = GaussianStore(lifting.gaussians)
            self._score(self.working_size.source(keyframes))
        self.refined = Refined(levels=levels, field=lifting.field.to("cpu") if lifting.field else None)

    def _checkpoint(self, name: str, work: str) -> FileCheckpoint:
        return FileCheckpoint(self.directory.path / "work" / f"{name}.safetensors", work)

    def _seed(self, view: Keyframe, known: Gaussians) -> Part:
        """New Gaussians where what the view knows of the map does not explain it."""
        options = self.config.gaussians
        with torch.no_grad():
            seen = self.parts.rasterizer.render(known, view.camera, view.world_from_camera)
        seeds = seed_gaussians(
            view, seen, seed_stride=options.seed_stride, seed_alpha=options.seed_alpha, sh_degree=options.sh_degree
        )
        room = options.max_gaussians - len(self._store)
        if len(seeds) > room:
            logger.warning("the map is full: %s Gaussians; raise gaussians.max_gaussians", options.max_gaussians)
            seeds = seeds.select(torch.arange(max(room, 0)))
        self.live.grow(len(seeds))
        return self._store.append(seeds)

    def _score(self, views: KeyframeSource) -> None:
        held_out = [i for i in range(len(views)) if is_held_out(i, self.config.gaussians.holdout_every)]
        if held_out:
            self.info["held_out"] = psnr_report(self.gaussians, views, self.parts.rasterizer, held_out)
            logger.info("held-out keyframes: %s", self.info["held_out"])


def build_map(
    directory: MapDirectory,
    keyframes: KeyframeSource,
    config: MapConfig,
    progress: Progress = no_progress,
    max_seconds: float = 0.0,
) -> SemanticMap:
    """The map of all keyframes: the live path over each, then refine, published as the next version."""
    return MapSession(config, directory, progress).build(keyframes, max_seconds)
