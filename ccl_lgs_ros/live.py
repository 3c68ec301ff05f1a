# SPDX-License-Identifier: Apache-2.0
"""The live path's language: each keyframe's segments join tracks and vote at once, without looking ahead."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ccl_lgs_ros.association.tracks import extended, merged, relabelled, summed_by
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.parts import Parts
from ccl_lgs_ros.structures import (
    LEVELS,
    Codebook,
    Gaussians,
    Segments,
    SemanticLevel,
    Tracks,
    VoteTable,
)


@dataclass(slots=True)
class LevelState:
    """What a session knows of one level while it grows."""

    table: VoteTable
    tracks: Tracks
    codebook: Codebook


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """What became of one keyframe's segments at one level."""

    track: Tensor  # [M] int64, -1 none; before tracks are merged
    support: Tensor  # [M] float32, the rendering weight that each segment has on the Gaussians


class LiveLanguage:
    """The tracks and votes of every level, as keyframes come.

    Args:
        parts: what associates, votes and compresses.
        slots: tracks that a Gaussian's working votes hold.
        num_gaussians: of the map so far.
    """

    def __init__(self, parts: Parts, slots: int, num_gaussians: int) -> None:
        self._parts = parts
        dim = parts.encoder.dim
        self.levels = {
            name: LevelState(VoteTable.empty(num_gaussians, slots), Tracks.empty(dim), Codebook.empty(dim))
            for name in LEVELS
        }

    def grow(self, num_gaussians: int) -> None:
        """Make room for Gaussians that were appended."""
        for state in self.levels.values():
            state.table = state.table.grown(num_gaussians)

    def join(
        self, gaussians: Gaussians, view: Keyframe, segments: Mapping[str, Segments], labels: Mapping[str, Tensor]
    ) -> dict[str, Joined]:
        """Add one keyframe's segments.

        Args:
            view: the keyframe at working size.
            labels: level -> [h, w], the segments' label maps at working size.
        """
        joined = {}
        for name, found in segments.items():
            votes = self._parts.rasterizer.vote(gaussians, view.camera, view.world_from_camera, labels[name])
            state = self.levels[name]
            track = self._parts.live_associator.associate(found, votes, state.table, state.tracks)
            state.tracks = extended(state.tracks, found, votes, track)
            state.table = self._parts.live_lifter.accumulate(state.table, relabelled(votes, track))
            support = summed_by(votes.label, votes.weight, len(found)).float()
            joined[name] = Joined(track=track, support=support)
        return joined

    def roots(self, name: str) -> Tensor:
        """For each track [T] of a level the track that it turned out to be part of."""
        state = self.levels[name]
        return self._parts.live_associator.merge(state.table, state.tracks)

    def semantics(self) -> dict[str, SemanticLevel]:
        """The levels as they are now; tracks that turned out to be one thing are joined, in a copy."""
        return {name: self._semantic_level(name) for name in self.levels}

    def _semantic_level(self, name: str) -> SemanticLevel:
        state = self.levels[name]
        tracks, table = merged(state.tracks, state.table, self.roots(name))
        number = torch.arange(len(tracks))
        state.codebook = self._parts.live_fitter.fit(tracks.features, number, tracks.weight, state.codebook)
        track, confidence = self._parts.live_lifter.resolve(table)
        return SemanticLevel(
            track_of_gaussian=track.cpu(),
            confidence=confidence.cpu(),
            entry_of_track=state.codebook.assign(tracks.features),
            codebook=state.codebook,
        )
