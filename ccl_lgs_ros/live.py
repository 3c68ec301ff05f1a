# SPDX-License-Identifier: Apache-2.0
"""The live path's language: each keyframe's segments join tracks and vote at once, without looking ahead."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ccl_lgs_ros.association.tracks import extended, merged, relabelled, summed_by
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.field.joint_votes import joint_votes
from ccl_lgs_ros.gaussians.growing import Growing
from ccl_lgs_ros.gaussians.store import Part
from ccl_lgs_ros.parts import Parts
from ccl_lgs_ros.structures import (
    LEVELS,
    NONE,
    Codebook,
    Segments,
    SemanticLevel,
    Tracks,
    Votes,
    VoteTable,
)


class LevelState:
    """What a session knows of one level while it grows."""

    def __init__(self, num_gaussians: int, slots: int, dim: int) -> None:
        self.votes = Growing(VoteTable.empty(num_gaussians, slots))
        self.known = Growing(Tracks.empty(dim))
        self.codebook = Codebook.empty(dim)

    @property
    def table(self) -> VoteTable:
        return self.votes.table

    @property
    def tracks(self) -> Tracks:
        return self.known.table

    def extend(self, found: Segments, votes: Votes, track: Tensor) -> None:
        """Segments join their tracks [M]; only these tracks are touched."""
        touched, place = torch.unique(track[track != NONE], return_inverse=True)
        is_old = touched < len(self.known)
        near = torch.full_like(track, NONE)
        near[track != NONE] = place
        rows = extended(self.known.rows(touched[is_old]), found, votes, near)
        old = int(is_old.sum())
        self.known.put(touched[is_old], _part(rows, slice(0, old)))
        self.known.append(_part(rows, slice(old, None)))


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
        self.levels = {name: LevelState(num_gaussians, slots, dim) for name in LEVELS}
        self._slots = slots

    def grow(self, count: int) -> None:
        """Make room for so many Gaussians that were appended."""
        for state in self.levels.values():
            state.votes.append(VoteTable.empty(count, self._slots))

    def join(
        self, part: Part, view: Keyframe, segments: Mapping[str, Segments], labels: Mapping[str, Tensor]
    ) -> dict[str, Joined]:
        """Add one keyframe's segments.

        Args:
            part: the Gaussians that the keyframe may see.
            view: the keyframe at working size.
            labels: level -> [h, w], the segments' label maps at working size.
        """
        joined = {}
        voted = joint_votes(self._parts.rasterizer, part.gaussians, view.camera, view.world_from_camera, labels)
        for name, found in segments.items():
            votes, state = voted[name], self.levels[name]
            table = state.votes.rows(part.index)
            track = self._parts.live_associator.associate(found, votes, table, state.tracks)
            state.extend(found, votes, track)
            state.votes.put(part.index, self._parts.live_lifter.accumulate(table, relabelled(votes, track)))
            support = summed_by(votes.label, votes.weight, len(found)).float()
            joined[name] = Joined(track=track, support=support)
        return joined

    @property
    def num_bytes(self) -> int:
        """What the working votes hold, room to spare included: 8 bytes a slot and 8 more, per Gaussian and level."""
        return sum(state.votes.num_bytes for state in self.levels.values())

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


def _part(tracks: Tracks, which: slice) -> Tracks:
    return Tracks(**{f.name: getattr(tracks, f.name)[which] for f in fields(tracks)})
