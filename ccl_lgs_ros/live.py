# SPDX-License-Identifier: Apache-2.0
"""The live path's language: each keyframe's segments join tracks and vote at once, without looking ahead."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ccl_lgs_ros.association.tracks import extended, merged, relabelled, summed_by
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.field.joint_votes import joint_votes
from ccl_lgs_ros.gaussians.growing import Growing
from ccl_lgs_ros.gaussians.store import Part
from ccl_lgs_ros.level_names import coarsest
from ccl_lgs_ros.parts import Parts
from ccl_lgs_ros.structures import (
    NONE,
    Codebook,
    Segments,
    SemanticLevel,
    Tracks,
    Votes,
    VoteTable,
)

MAX_GONE = 0.5  # of a track's weight; one that has lost more is of a thing that was taken away


class LevelState:
    """What a session knows of one level while it grows."""

    def __init__(self, num_gaussians: int, slots: int, dim: int) -> None:
        self.votes = Growing(VoteTable.empty(num_gaussians, slots))
        self.known = Growing(Tracks.empty(dim))
        self.codebook = Codebook.empty(dim)
        self._slots = slots
        self._lost = torch.zeros(0, dtype=torch.float64)  # [T] rendering weight of each track on Gaussians that went

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

    def let_go(self, gone: Tensor, near: Tensor) -> Tensor:
        """The Gaussians at an index are gone; the others [n] int64 of things that have lost most of themselves.

        Args:
            near: [n] int64, what was seen together with them; all others are looked at only where it seems so.
        """
        rows = self.votes.rows(gone)
        track, weight = rows.track[:, 0].long(), rows.weight[:, 0].double()
        held = track != NONE
        self._lost = torch.cat([self._lost, self._lost.new_zeros(len(self.known) - len(self._lost))])
        self._lost.index_add_(0, track[held], weight[held])
        self.votes.put(gone, VoteTable.empty(len(gone), self._slots))
        touched = torch.unique(track[held])
        dead = self._dead(touched, self.votes.rows(near))
        dead = self._dead(dead, self.table) if len(dead) else dead
        if not len(dead):
            return dead
        return torch.nonzero(torch.isin(self.table.track[:, 0].long(), dead))[:, 0]

    def _dead(self, touched: Tensor, table: VoteTable) -> Tensor:
        """Which of some tracks have lost more than rows of the votes still hold."""
        winner, weight = table.track[:, 0].long(), table.weight[:, 0]
        left = summed_by(winner[winner != NONE], weight[winner != NONE], len(self.known))[touched]
        return touched[self._lost[touched] > MAX_GONE * (self._lost[touched] + left)]

    def tensors(self, kept: Tensor) -> dict[str, Tensor]:
        """What goes on from here needs, of the Gaussians at a mask [N] bool."""
        votes = self.votes.rows(torch.nonzero(kept)[:, 0])
        tables = {"votes": votes, "tracks": self.tracks, "codebook": self.codebook}
        named = {f"{name}.{f.name}": getattr(table, f.name) for name, table in tables.items() for f in fields(table)}
        return {**named, "lost": self._lost}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` told."""

        def named(kind: type, prefix: str) -> Any:
            return kind(**{f.name: tensors[f"{prefix}.{f.name}"] for f in fields(kind)})

        self.votes, self.known = Growing(named(VoteTable, "votes")), Growing(named(Tracks, "tracks"))
        self.codebook, self._lost = named(Codebook, "codebook"), tensors["lost"]


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
        self.levels = {name: LevelState(num_gaussians, slots, dim) for name in parts.levels}
        self._whole = coarsest(parts.levels)  # the level whose tracks are things
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
        seen_from = view.camera, view.world_from_camera
        voted = joint_votes(self._parts.rasterizer, part.gaussians, *seen_from, labels, view.outdated)
        for name, found in segments.items():
            votes, state = voted[name], self.levels[name]
            table = state.votes.rows(part.index)
            track = self._parts.live_associator.associate(found, votes, table, state.tracks)
            state.extend(found, votes, track)
            state.votes.put(part.index, self._parts.live_lifter.accumulate(table, relabelled(votes, track)))
            support = summed_by(votes.label, votes.weight, len(found)).float()
            joined[name] = Joined(track=track, support=support)
        return joined

    def let_go(self, gone: Tensor, near: Tensor) -> Tensor:
        """Forget what the Gaussians at an index stood for, and what is left of things that went with them.

        A thing that was taken away leaves Gaussians where it touched what is still there: too near to it to be looked
        through. They go with it.

        Args:
            near: [n] int64, what was seen together with them.

        Returns:
            [n] int64, those that are gone in the end.
        """
        gone = torch.cat([gone, self.levels[self._whole].let_go(gone, near)])
        for state in self.levels.values():
            state.votes.put(gone, VoteTable.empty(len(gone), self._slots))
        return gone

    def tensors(self, kept: Tensor) -> dict[str, Tensor]:
        """What goes on from here needs, of the Gaussians at a mask [N] bool."""
        return {
            f"{level}.{name}": tensor
            for level, state in self.levels.items()
            for name, tensor in state.tensors(kept).items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` told."""
        for level, state in self.levels.items():
            start = f"{level}."
            state.restore({name[len(start) :]: t for name, t in tensors.items() if name.startswith(start)})

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
