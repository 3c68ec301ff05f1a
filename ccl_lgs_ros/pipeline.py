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

from ccl_lgs_ros.asking import answer_view, create_encoder, query_map
from ccl_lgs_ros.association.tracks import extended, merged, relabelled
from ccl_lgs_ros.backends import configured_part, resolve_device
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.gaussians.optimize import optimize, psnr_report
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.masks.levels import label_map
from ccl_lgs_ros.protocols import KeyframeSource, Progress, no_progress
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.segment_store import SegmentStore
from ccl_lgs_ros.storage.snapshot import publish
from ccl_lgs_ros.structures import (
    LEVELS,
    Codebook,
    Gaussians,
    Segments,
    SemanticLevel,
    SemanticMap,
    Tracks,
    VoteTable,
)
from ccl_lgs_ros.working_size import WorkingSize

logger = logging.getLogger(__name__)

__all__ = ["MapSession", "answer_view", "build_map", "create_encoder", "query_map"]


@dataclass(slots=True)
class LevelState:
    """What a session knows of one level while it grows."""

    table: VoteTable
    tracks: Tracks
    codebook: Codebook

    @staticmethod
    def empty(num_gaussians: int, slots: int, dim: int) -> "LevelState":
        return LevelState(VoteTable.empty(num_gaussians, slots), Tracks.empty(dim), Codebook.empty(dim))


class MapSession:
    """A map that grows by keyframes and can be asked at any time.

    Args:
        config: every option.
        directory: where segments and snapshots live; the caller holds its locks.
        progress: told how far long work has come; raises Cancelled to stop it.

    Raises:
        MissingDependencyError: if a part that was named explicitly does not work here.
    """

    def __init__(self, config: MapConfig, directory: MapDirectory, progress: Progress = no_progress) -> None:
        self.config, self.directory, self.progress = config, directory, progress
        self.device = resolve_device(config.device)
        self.rasterizer, rasterizer = configured_part("rasterizer", config)
        self.segmenter, segmenter = configured_part("segmenter", config)
        self.encoder, _ = configured_part("encoder", config)
        self.associator, _ = configured_part("associator", config)
        self.fitter, _ = configured_part("fitter", config)
        self.lifter, _ = configured_part("lifter", config)
        self.working_size = WorkingSize(config.gaussians.image_width)
        backends = {"rasterizer": rasterizer, "segmenter": segmenter, "encoder": self.encoder.identity}
        self.info: dict[str, object] = {"backends": backends}
        perception = f"{segmenter} {self.encoder.identity} {config.masks}"
        self.segments = SegmentStore(directory.segments_path, identity=perception)
        self.gaussians = Gaussians.empty(config.gaussians.sh_degree).to(self.device)
        self.num_added = 0
        self.levels: dict[str, LevelState] = {}
        self._forget_semantics()

    def add(self, keyframe: Keyframe) -> None:
        """The live path: what the keyframe shows joins the map, in geometry and in language."""
        view = self.working_size.of(keyframe)
        if not self._is_held_out(self.num_added):
            self._seed(view)
        self._register(keyframe, view)
        self.num_added += 1

    def catch_up(self, keyframes: KeyframeSource, stage: str = "keyframes") -> None:
        """Add the keyframes that were stored since the last one that was added."""
        total = len(keyframes)
        while self.num_added < total:
            self.add(keyframes[self.num_added])
            self.progress(stage, self.num_added, total, gaussians=len(self.gaussians))

    def refine(self, keyframes: KeyframeSource, max_seconds: float = 0.0) -> None:
        """Optimise the Gaussians over all keyframes, then associate and vote anew on what they became.

        Whatever stops it, Cancelled too, leaves the session as it was.
        """
        before = self.gaussians, self.levels
        try:
            self._refine(keyframes, max_seconds)
        except BaseException:
            self.gaussians, self.levels = before
            raise

    def build(self, keyframes: KeyframeSource, max_seconds: float = 0.0) -> SemanticMap:
        """The live path over all keyframes, then refine; published as the next version."""
        self.catch_up(keyframes)
        self.refine(keyframes, max_seconds)
        return self.snapshot()

    def snapshot(self) -> SemanticMap:
        """The map as it is now, published as the directory's next version."""
        levels = {name: self._semantic_level(state) for name, state in self.levels.items()}
        num_tracks = {name: level.num_tracks for name, level in levels.items()}
        semantic_map = SemanticMap(
            gaussians=self.gaussians.detached().to("cpu"),
            levels=levels,
            encoder=self.encoder.identity,
            map_id=self.directory.map_id,
            map_frame=self.config.frames.map_frame,
            map_up=self.config.frames.map_up,
            info={**self.info, "keyframes": self.num_added, "tracks": num_tracks},
        )
        return publish(self.directory, semantic_map)

    def _refine(self, keyframes: KeyframeSource, max_seconds: float) -> None:
        options = self.config.gaussians
        views = self.working_size.source(keyframes)
        generator = torch.Generator().manual_seed(self.config.seed)
        began = time.monotonic()
        self.gaussians = optimize(
            self.gaussians,
            views,
            self.rasterizer,
            iterations=options.iterations,
            holdout_every=options.holdout_every,
            depth_weight=options.depth_weight,
            ssim_weight=options.ssim_weight,
            seed_stride=options.seed_stride,
            seed_alpha=options.seed_alpha,
            max_gaussians=options.max_gaussians,
            max_seconds=max_seconds,
            generator=generator,
            progress=self.progress,
        )
        self.info["optimize_seconds"] = round(time.monotonic() - began, 1)
        self._score(views)
        self._register_all(keyframes)

    def _is_held_out(self, index: int) -> bool:
        every = self.config.gaussians.holdout_every
        return every > 0 and index % every == every - 1

    def _forget_semantics(self) -> None:
        slots, dim, n = self.config.field.slots, self.encoder.dim, len(self.gaussians)
        self.levels = {name: LevelState.empty(n, slots, dim) for name in LEVELS}

    def _seed(self, view: Keyframe) -> None:
        options = self.config.gaussians
        with torch.no_grad():
            seen = self.rasterizer.render(self.gaussians, view.camera, view.world_from_camera)
        seeds = seed_gaussians(
            view, seen, seed_stride=options.seed_stride, seed_alpha=options.seed_alpha, sh_degree=options.sh_degree
        )
        room = options.max_gaussians - len(self.gaussians)
        if len(seeds) > room:
            logger.warning("the map is full: %s Gaussians; raise gaussians.max_gaussians", options.max_gaussians)
            seeds = seeds.select(torch.arange(room))
        self.gaussians = self.gaussians.joined(seeds.to(self.device))
        for state in self.levels.values():
            state.table = state.table.grown(len(self.gaussians))

    def _register(self, keyframe: Keyframe, view: Keyframe) -> None:
        for name, segments in self._perceive(keyframe).items():
            labels = self.working_size.labels(segments.labels)
            votes = self.rasterizer.vote(self.gaussians, view.camera, view.world_from_camera, labels)
            state = self.levels[name]
            track_of_segment = self.associator.associate(segments, votes, state.table, state.tracks)
            state.tracks = extended(state.tracks, segments, votes, track_of_segment)
            state.table = self.lifter.accumulate(state.table, relabelled(votes, track_of_segment))

    def _perceive(self, keyframe: Keyframe) -> Mapping[str, Segments]:
        known = self.segments.load(keyframe.id)
        if known is not None:
            return known
        options = self.config.masks
        proposals = self.segmenter.propose(keyframe)
        segments = {}
        for level in LEVELS:
            labels, quality = label_map(
                proposals,
                level,
                min_area_px=options.min_area_px,
                min_quality=options.min_quality,
                max_overlap=options.max_overlap,
            )
            features = self.encoder.encode_segments(keyframe.image, labels, len(quality))
            segments[level] = Segments(labels=labels, features=features, quality=quality)
        self.segments.save(keyframe.id, segments)
        return segments

    def _register_all(self, keyframes: KeyframeSource) -> None:
        began = time.monotonic()
        self._forget_semantics()
        for index in range(self.num_added):
            keyframe = keyframes[index]
            self._register(keyframe, self.working_size.of(keyframe))
            self.progress("register", index + 1, self.num_added)
        self.info["register_seconds"] = round(time.monotonic() - began, 1)

    def _score(self, views: KeyframeSource) -> None:
        held_out = [i for i in range(len(views)) if self._is_held_out(i)]
        if held_out:
            self.info["held_out"] = psnr_report(self.gaussians, views, self.rasterizer, held_out)
            logger.info("held-out keyframes: %s", self.info["held_out"])

    def _semantic_level(self, state: LevelState) -> SemanticLevel:
        """The level as it is published: tracks that turned out to be one thing are joined, in a copy."""
        tracks, table = merged(state.tracks, state.table, self.associator.merge(state.table, state.tracks))
        state.codebook = self.fitter.fit(tracks.features, torch.arange(len(tracks)), tracks.weight, state.codebook)
        track, confidence = self.lifter.resolve(table)
        return SemanticLevel(
            track_of_gaussian=track.cpu(),
            confidence=confidence.cpu(),
            entry_of_track=state.codebook.assign(tracks.features),
            codebook=state.codebook,
        )


def build_map(
    directory: MapDirectory,
    keyframes: KeyframeSource,
    config: MapConfig,
    progress: Progress = no_progress,
    max_seconds: float = 0.0,
) -> SemanticMap:
    """The map of all keyframes: the live path over each, then refine, published as the next version."""
    return MapSession(config, directory, progress).build(keyframes, max_seconds)
