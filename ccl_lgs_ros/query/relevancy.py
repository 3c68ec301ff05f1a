# SPDX-License-Identifier: Apache-2.0
"""From the relevancy of codebook entries to that of tracks and Gaussians, by gathering alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ccl_lgs_ros.structures import NONE, SemanticLevel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackIndex:
    """Which Gaussians each track has: the inverted index of one level, made once per map."""

    gaussian: Tensor  # [L] int64, grouped by track, ascending within
    start: Tensor  # [T + 1] int64: track t has gaussian[start[t] : start[t + 1]]

    @staticmethod
    def of(level: SemanticLevel) -> "TrackIndex":
        """The index of a level."""
        track = level.track_of_gaussian.cpu().numpy()
        labelled = np.flatnonzero(track != NONE)
        # numpy sorts 16-bit numbers by radix: ten times faster where they suffice.
        narrow = np.uint16 if level.num_tracks <= np.iinfo(np.uint16).max + 1 else np.int32
        order = labelled[np.argsort(track[labelled].astype(narrow), kind="stable")]
        counts = np.bincount(track[labelled], minlength=level.num_tracks)
        start = np.concatenate([[0], np.cumsum(counts)])
        return TrackIndex(gaussian=torch.from_numpy(order), start=torch.from_numpy(start.astype(np.int64)))

    @property
    def count(self) -> Tensor:  # [T] int64
        """How many Gaussians each track has."""
        return self.start.diff()

    def gaussians_of(self, tracks: Tensor) -> tuple[Tensor, Tensor]:
        """The Gaussians [n] of tracks [t], and for each the place in `tracks` [n] of the track it belongs to."""
        first, count = self.start[tracks], self.start[tracks + 1] - self.start[tracks]
        place = torch.repeat_interleave(torch.arange(len(tracks)), count)
        offset = torch.arange(len(place)) - torch.repeat_interleave(count.cumsum(0) - count, count)
        return self.gaussian[first[place] + offset], place


def relevancy_of_tracks(level: SemanticLevel, relevancy_of_entry: Tensor) -> Tensor:
    """The relevancy [T] of each track: that of its entry; 0 for a track without one."""
    has_entry = level.entry_of_track != NONE
    relevancy = torch.zeros(level.num_tracks, dtype=torch.float32)
    relevancy[has_entry] = relevancy_of_entry.detach().cpu().float()[level.entry_of_track[has_entry]]
    return relevancy


def relevancy_of_gaussians(level: SemanticLevel, relevancy_of_entry: Tensor) -> Tensor:
    """The relevancy [N] of each Gaussian: that of its track; 0 where it has none."""
    of_track = relevancy_of_tracks(level, relevancy_of_entry)
    of_track = torch.cat([of_track, torch.zeros(1)])  # the last place is read by track -1
    return of_track[level.track_of_gaussian.long()]
