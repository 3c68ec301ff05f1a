# SPDX-License-Identifier: Apache-2.0
"""From the relevancy of codebook entries to that of tracks and Gaussians, by gathering alone."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answers import Prompt
from ccl_lgs_ros.protocols import Encoder
from ccl_lgs_ros.structures import NONE, SemanticLevel

GATHERED_AT_ONCE = 1 << 14  # numbers; what numpy widens the indices to stays in the nearest cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackIndex:
    """Which Gaussians each track has: the inverted index of one level, made once per map."""

    gaussian: NDArray[np.int32]  # [L] grouped by track, ascending within
    start: NDArray[np.int64]  # [T + 1] track t has gaussian[start[t] : start[t + 1]]

    @staticmethod
    def of(level: SemanticLevel) -> "TrackIndex":
        """The index of a level."""
        track = level.track_of_gaussian.numpy(force=True)
        # numpy sorts 16-bit numbers by radix: ten times faster where they suffice. What has no track comes last.
        narrow = np.uint16 if level.num_tracks <= np.iinfo(np.uint16).max else np.uint32
        order = np.argsort(track.astype(narrow), kind="stable")
        counts = np.bincount(track + 1, minlength=level.num_tracks + 1)[1:]
        start = np.concatenate([[0], np.cumsum(counts)])
        return TrackIndex(gaussian=order[: start[-1]].astype(np.int32), start=start)

    @property
    def count(self) -> NDArray[np.int64]:  # [T]
        """How many Gaussians each track has."""
        return np.diff(self.start)

    @property
    def num_bytes(self) -> int:
        """Memory that the index takes."""
        return self.gaussian.nbytes + self.start.nbytes

    def gaussians_of(self, tracks: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The Gaussians [n] of tracks [t], and for each the place in `tracks` [n] of the track it belongs to."""
        first, end = self.start[tracks], self.start[tracks + 1]
        runs = [self.gaussian[a:b] for a, b in zip(first.tolist(), end.tolist(), strict=True)]
        gaussian = np.concatenate([self.gaussian[:0], *runs])
        return gaussian, np.repeat(np.arange(len(tracks)), end - first)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LevelRelevancy:
    """How relevant everything at a level is to a prompt."""

    of_track: NDArray[np.float32]  # [T]
    of_gaussian: NDArray[np.float32] | None = None  # [N], where Gaussians speak for themselves

    @staticmethod
    def of_entries(level: SemanticLevel, relevancy_of_entry: Tensor) -> "LevelRelevancy":
        """That of a level whose Gaussians are what their tracks are, from the relevancy [K] of its entries."""
        return LevelRelevancy(of_track=relevancy_of_tracks(level, relevancy_of_entry).numpy())

    def at(self, gaussian: NDArray[np.integer], track: NDArray[np.integer]) -> NDArray[np.float32]:
        """The relevancy [n] of some Gaussians [n], each of which has a track [n]: its own, or that of its track."""
        return self.of_track[track] if self.of_gaussian is None else self.of_gaussian[gaussian]

    def on_gaussians(self, level: SemanticLevel) -> Tensor:
        """The relevancy [N] of each Gaussian: its own, or that of its track; 0 where it has none."""
        if self.of_gaussian is not None:
            return torch.from_numpy(self.of_gaussian)
        return torch.from_numpy(_gathered(self.of_track, level.track_of_gaussian))


def level_relevancy(level: SemanticLevel, encoder: Encoder, prompt: Prompt) -> LevelRelevancy:
    """The relevancy of what a level has: that of its tracks, by their entries, or by what their Gaussians say.

    Where Gaussians speak for themselves, a track is as relevant as the most relevant of its Gaussians.
    """
    if level.language is None:
        return LevelRelevancy.of_entries(level, encoder.relevancy(level.codebook.entries, prompt))
    of_gaussian = relevancy_at(level, encoder, prompt).numpy()
    of_track, track = np.zeros(level.num_tracks, np.float32), level.track_of_gaussian.numpy(force=True)
    np.maximum.at(of_track, track[track >= 0], of_gaussian[track >= 0])
    return LevelRelevancy(of_track=of_track, of_gaussian=of_gaussian)


def relevancy_at(level: SemanticLevel, encoder: Encoder, prompt: Prompt) -> Tensor:
    """The relevancy [N] of each Gaussian at a level to a prompt; 0 where there is nothing to compare."""
    if level.language is None:
        return relevancy_of_gaussians(level, encoder.relevancy(level.codebook.entries, prompt))
    found = level.language.relevancy(lambda features: encoder.relevancy(features, prompt), level.codebook.entries)
    return torch.where(level.track_of_gaussian.cpu() == NONE, 0.0, found)


def relevancy_of_tracks(level: SemanticLevel, relevancy_of_entry: Tensor) -> Tensor:
    """The relevancy [T] of each track: that of its entry; 0 for a track without one."""
    return torch.from_numpy(_gathered(relevancy_of_entry.numpy(force=True), level.entry_of_track))


def relevancy_of_gaussians(level: SemanticLevel, relevancy_of_entry: Tensor) -> Tensor:
    """The relevancy [N] of each Gaussian: that of its track; 0 where it has none."""
    of_track = _gathered(relevancy_of_entry.numpy(force=True), level.entry_of_track)
    return torch.from_numpy(_gathered(of_track, level.track_of_gaussian))


def _gathered(values: NDArray[np.floating], which: Tensor) -> NDArray[np.float32]:
    """values[which] [n], 0 where `which` is -1.

    numpy on one core, a cache's worth at a time: torch would widen all indices in memory first, and its threads wait
    for one another longer than the work takes.
    """
    table = np.append(values.astype(np.float32, copy=False), np.float32(0.0))  # -1 reads the last place
    place = which.numpy(force=True)
    found = np.empty(len(place), dtype=np.float32)
    for start in range(0, len(place), GATHERED_AT_ONCE):
        block = slice(start, start + GATHERED_AT_ONCE)
        found[block] = table.take(place[block])
    return found
