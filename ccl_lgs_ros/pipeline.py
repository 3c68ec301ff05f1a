# SPDX-License-Identifier: Apache-2.0
"""The method on one page: keyframes in, a map of Gaussians that carry language out, a text prompt answered.

Every keyframe takes the live path at once (`MapSession.add`); `MapSession.refine` is the optimisation over all
keyframes. Offline mapping (`build_map`) is the first over all keyframes, then the second.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.answer_views import answer_view
from ccl_lgs_ros.asking import create_encoder, query_map
from ccl_lgs_ros.backends import resolve_device
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.changes import StillTrue
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.gaussians.neighbour_depth import NeighbourDepth
from ccl_lgs_ros.gaussians.optimize import is_held_out
from ccl_lgs_ros.joining import join
from ccl_lgs_ros.live import LiveLanguage
from ccl_lgs_ros.live_geometry import LiveGeometry
from ccl_lgs_ros.map_record import grown_to, made_with
from ccl_lgs_ros.naming import Naming
from ccl_lgs_ros.parts import Parts, create_parts
from ccl_lgs_ros.perceiving import Perceiver
from ccl_lgs_ros.protocols import KeyframeSource, Progress, no_progress
from ccl_lgs_ros.recollection import Recollection, outdated_pixels
from ccl_lgs_ros.refined_geometry import refined_geometry, score_of
from ccl_lgs_ros.semantics import Refined, refined_language
from ccl_lgs_ros.session_state import SessionState
from ccl_lgs_ros.stage_clock import StageClock
from ccl_lgs_ros.storage.checkpoint import FileCheckpoint
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.segment_store import SegmentStore
from ccl_lgs_ros.storage.snapshot import publish
from ccl_lgs_ros.structures import NONE, Gaussians, SemanticMap
from ccl_lgs_ros.working_size import WorkingSize

logger = logging.getLogger(__name__)

__all__ = ["MapSession", "answer_view", "build_map", "create_encoder", "query_map"]

KEEP_PERIOD = 60.0  # seconds between savings of the working state while keyframes come


class MapSession:
    """A map that grows by keyframes and can be asked at any time.

    Args:
        config: every option.
        directory: where segments, checkpoints, the working state and snapshots live; the caller holds its locks.
        progress: told how far long work has come; raises Cancelled to stop it.
        parts: what to work with; by default made from the options.

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
        self.config, self.directory, self.clock = config, directory, StageClock(progress)
        self.progress: Progress = self.clock
        self.device = resolve_device(config.device)
        self.parts = parts or create_parts(config)
        self.working_size = WorkingSize(config.gaussians.image_width)
        self.depth = NeighbourDepth(depth=config.gaussians.depth, holdout_every=config.gaussians.holdout_every)
        self.info = made_with(config, self.parts.chosen)
        perceived_by = {kind: self.parts.chosen.get(kind) for kind in ("segmenter", "encoder")}
        identity = f"{perceived_by} {config.perception} {config.masks}{self.depth.identity}"
        cache = SegmentStore(directory.segments_path, identity=identity, levels=self.parts.levels)
        self.perceiver = Perceiver(self.parts.segmenter, self.parts.encoder, config.masks, cache)
        self.geometry = LiveGeometry(config.gaussians, self.parts.rasterizer, self.device)
        self.live = LiveLanguage(self.parts, config.field.slots, 0)
        self.naming = Naming(directory)
        self.num_added = self.num_refined = 0
        self.revision = 0  # of the keyframes' poses, as `correct` was told
        self.refined: Refined | None = None
        self._state = SessionState(directory, config, identity)
        self._kept, self._kept_at = self._counts, time.monotonic()

    @property
    def gaussians(self) -> Gaussians:
        """The Gaussians of the map as it is now; those that are gone are among them, invisible, until a refine."""
        return self.geometry.store.gaussians

    def add(self, keyframe: Keyframe) -> None:
        """The live path: what the keyframe shows joins the map, in geometry and in language; what is gone leaves it.

        Nothing is touched but what the keyframe sees, so that its cost does not grow with the map.
        """
        self.clock.begin()
        keyframe = self.depth.admitted(keyframe)
        view = self.depth.live(self.working_size.of(keyframe), self.num_added)
        self._join(keyframe, view, self.num_added)
        self.geometry.poses.append(keyframe.world_from_camera)
        self.num_added += 1
        self.refined = None
        self.clock.lap("keyframes", self.num_added)

    def catch_up(self, keyframes: KeyframeSource, stage: str = "keyframes") -> None:
        """Add the keyframes that were stored since the last one that was added."""
        total = len(keyframes)
        while self.num_added < total:
            self.add(keyframes[self.num_added])
            self.progress(stage, self.num_added, total, gaussians=len(self.gaussians))

    def correct(self, keyframes: KeyframeSource, poses: Sequence[NDArray[np.float64]], revision: int) -> bool:
        """Follow keyframes that were moved, as a loop closure does: the Gaussians that hang on them move along, then
        every keyframe joins the language anew, for things that were two may be one now.

        Whatever stops it leaves the session as it was.

        Args:
            poses: world_from_camera [4, 4] of all keyframes as they are known now.
            revision: how often poses were corrected by now.

        Returns:
            Whether anything moved.
        """
        self.clock.begin()
        before = self._contents
        try:
            num_moved = self.geometry.correct(poses)
            if num_moved:
                logger.info("%s keyframes have moved", num_moved)
                keyframes = self.depth.admitting(keyframes)
                views = self.depth.source(self.working_size.source(keyframes))
                self.live = LiveLanguage(self.parts, self.config.field.slots, len(self.gaussians))
                for index in range(self.num_added):
                    self._join(keyframes[index], views[index], index)
                    self.progress("corrections", index + 1, self.num_added)
                self.num_refined, self.refined = 0, None
        except BaseException:
            self._contents = before
            raise
        self.revision = revision
        return num_moved > 0

    def refine(self, keyframes: KeyframeSource, max_seconds: float = 0.0) -> None:
        """Optimise the Gaussians over all keyframes, then associate, compress and lift anew on what they became.

        Whatever stops it, Cancelled too, leaves the session as it was; what was reached is kept as checkpoints.
        """
        self.clock.begin()
        keyframes = self.depth.admitting(keyframes)
        before = self._contents
        try:
            views = self.depth.source(self.working_size.source(keyframes))
            seen = self._seen(keyframes)
            there = self.geometry.ghosts, self.geometry.store
            seen = replace(seen, outdated=outdated_pixels(*there, seen, views, self.parts.rasterizer, self.progress))
            self._refine_geometry(StillTrue(views, seen.outdated), max_seconds)
            self._refine_language(seen)
            self.num_refined = self.num_added
        except BaseException:
            self._contents = before
            raise

    def build(self, keyframes: KeyframeSource, max_seconds: float = 0.0) -> SemanticMap:
        """The live path over all keyframes that are new, then refine; published as the next version."""
        self.catch_up(keyframes)
        self.refine(keyframes, max_seconds)
        return self.snapshot()

    def snapshot(self) -> SemanticMap:
        """The map as it is now, published as the directory's next version."""
        levels = self.refined.levels if self.refined else self.live.semantics()
        levels = self.naming.named(levels, self.gaussians.means)
        kept = self.geometry.store.is_there
        semantic_map = SemanticMap(
            gaussians=self.gaussians.detached().to("cpu").select(kept),
            levels={name: level.select(kept) for name, level in levels.items()},
            encoder=self.parts.encoder.identity,
            field=self.refined.field if self.refined else None,
            map_frame=self.config.frames.map_frame,
            map_up=self.config.frames.map_up,
            info={
                **self.info,
                **grown_to(self._counts, levels),
                **self.naming.record,
                "vote_bytes": self.live.num_bytes,
                "stages": self.clock.record,
            },
        )
        published = publish(self.directory, semantic_map)
        for name in ("gaussians", "field") if self.refined else ():
            self._checkpoint(name).remove()
        if self.refined or time.monotonic() - self._kept_at > KEEP_PERIOD:
            self.keep()
        return published

    def keep(self) -> None:
        """Save the working state for a session that goes on from here; raises MapError if the disk does not take it."""
        self._state.save(self.geometry, self.live, self._counts)
        self._kept, self._kept_at = self._counts, time.monotonic()

    def resume(self, keyframes: KeyframeSource) -> bool:
        """Go on from what an earlier session with these options has kept; False if there is nothing that fits.

        Poses may have been corrected since: `correct` is next.
        """
        counts = self._state.load(self.geometry, self.live, len(keyframes))
        if not counts:
            return False
        self.num_added, self.num_refined, self.revision = self._kept = counts
        self.info["resumed_at"] = self.num_added
        self.naming.recall(self.gaussians.means, self.revision)
        return True

    @property
    def is_kept(self) -> bool:
        """Whether what was kept is all that the session knows."""
        return self._kept == self._counts

    @property
    def _counts(self) -> tuple[int, ...]:
        return self.num_added, self.num_refined, self.revision

    @property
    def _contents(self) -> tuple:
        return self.geometry.contents, self.live, self.refined, self.num_refined, self.naming.remembered

    @_contents.setter
    def _contents(self, contents: tuple) -> None:
        self.geometry.contents, self.live, self.refined, self.num_refined, self.naming.remembered = contents

    def _join(self, keyframe: Keyframe, view: Keyframe, index: int) -> None:
        segments = self.perceiver.segments(keyframe)
        self.clock.lap("perceive", index + 1)
        join(
            self.geometry,
            self.live,
            view,
            segments,
            index,
            working_size=self.working_size,
            gives_colour=not is_held_out(index, self.config.gaussians.holdout_every),
        )

    def _seen(self, keyframes: KeyframeSource) -> Recollection:
        return Recollection(
            keyframes=keyframes,
            perceiver=self.perceiver,
            working_size=self.working_size,
            count=self.num_added,
            holdout_every=self.config.gaussians.holdout_every,
        )

    def _refine_geometry(self, views: KeyframeSource, max_seconds: float) -> None:
        kept = torch.nonzero(self.geometry.store.is_there)[:, 0]
        gaussians, origin, figures = refined_geometry(
            self.gaussians.select(kept.to(self.gaussians.means.device)),
            views,
            self.parts,
            self.config,
            num_known=self.num_refined,
            max_seconds=max_seconds,
            checkpoint_of=lambda work: self._checkpoint("gaussians", work),
            progress=self.progress,
        )
        self.info.update(figures)
        origin = torch.where(origin == NONE, NONE, kept[origin.clamp_min(0)])
        self.geometry.replace(gaussians, origin)
        self.naming.follow(origin)
        self.info.update(score_of(self.gaussians, views, self.parts, self.config, self.progress))

    def _refine_language(self, seen: Recollection) -> None:
        gaussians = self.gaussians
        self.live, self.refined, figures, lifted = refined_language(
            gaussians,
            seen,
            self.parts,
            self.config,
            checkpoint_of=lambda work: self._checkpoint("field", work),
            progress=self.progress,
        )
        self.info.update(figures)
        if lifted is not gaussians:
            self.geometry.replace(lifted, torch.arange(len(gaussians)))
            views = StillTrue(self.working_size.source(seen.keyframes), seen.outdated)
            self.info.update(score_of(self.gaussians, views, self.parts, self.config, self.progress))

    def _checkpoint(self, name: str, work: str = "") -> FileCheckpoint:
        return FileCheckpoint(self.directory.path / "work" / f"{name}.safetensors", work)


def build_map(directory: MapDirectory, keyframes: KeyframeSource, config: MapConfig) -> SemanticMap:
    """The map of all keyframes, published as the next version."""
    return MapSession(config, directory).build(keyframes)
