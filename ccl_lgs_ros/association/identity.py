# SPDX-License-Identifier: Apache-2.0
"""Ids that stay with things: the tracks of a snapshot are named after what their Gaussians were part of before.

Tracks merge while a map grows, and a refine makes all of them anew; their Gaussians remain, or come from others that
are known. So every Gaussian remembers the id of the thing that it was last published as part of, and a track takes the
id that its Gaussians remember. What remembers nothing gets an id that was never given before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import KDTree
from torch import Tensor

from ccl_lgs_ros.structures import NONE, SemanticLevel, SemanticMap

NEXT_ID = "next_id"
RECALL_REACH = 0.1  # metres to the nearest Gaussian of an older snapshot from which an id is taken over
SAME_THING = 0.5  # share of what is left of a thing; the track that holds it is that thing
STILL_THERE = 0.5  # share of a thing's Gaussians that carry its id on, however much the thing has grown
LARGE_IN_TRACK = 0.2  # share of a track's Gaussians that carry an id on, however much the thing has lost
LARGE_PART = 0.25  # of the largest part of a merged thing; the oldest of the parts that large gives its id


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Remembered:
    """Which thing each Gaussian was last published as part of."""

    id_of_gaussian: Mapping[str, Tensor]  # level -> [n] int32, -1 none; later Gaussians come behind
    next_id: int  # no thing of any level has had it or a higher one

    @staticmethod
    def nothing() -> "Remembered":
        """No map was published before."""
        return Remembered(id_of_gaussian={}, next_id=0)

    @staticmethod
    def of(published: SemanticMap, means: Tensor) -> "Remembered":
        """What an older snapshot says of Gaussians at means [N, 3], which need not be those that it had."""
        ids = {name: named_gaussians(level) for name, level in published.levels.items()}
        recorded = published.info.get(NEXT_ID)
        highest = max((int(named.max(initial=NONE)) for named in ids.values()), default=NONE)
        next_id = max(highest + 1, recorded if isinstance(recorded, int) else 0)
        if not len(published.gaussians) or not len(means):
            return Remembered(id_of_gaussian={}, next_id=next_id)
        tree = KDTree(published.gaussians.means.numpy(force=True), balanced_tree=False)
        _, nearest = tree.query(means.numpy(force=True), distance_upper_bound=RECALL_REACH)
        recalled = {name: np.append(named, NONE)[nearest] for name, named in ids.items()}
        return Remembered(
            id_of_gaussian={name: torch.from_numpy(named.astype(np.int32)) for name, named in recalled.items()},
            next_id=next_id,
        )

    def followed(self, origin: Tensor) -> "Remembered":
        """The same for other Gaussians: each was the one at `origin` [N] before; -1: it is new."""
        count = int(origin.max()) + 1 if len(origin) else 0
        ids = {
            name: torch.cat([_padded(known, count), _none(1)])[origin] for name, known in self.id_of_gaussian.items()
        }
        return replace(self, id_of_gaussian=ids)

    def named(self, levels: Mapping[str, SemanticLevel]) -> tuple[dict[str, SemanticLevel], "Remembered"]:
        """The levels with ids for their tracks, and what to remember from now on.

        A Gaussian without a track keeps what it remembers, for a thing may be out of sight of its track for a while.
        """
        named, remembered, next_id = {}, {}, self.next_id
        for name, level in levels.items():
            track = level.track_of_gaussian.numpy(force=True)
            before = _padded(self.id_of_gaussian.get(name, _none(0)), len(track)).numpy()
            ids = inherited_ids(before, track, level.num_tracks)
            is_new = (ids == NONE) & (np.bincount(track[track != NONE], minlength=level.num_tracks) > 0)
            ids[is_new] = next_id + np.arange(np.count_nonzero(is_new))
            next_id += int(np.count_nonzero(is_new))
            named[name] = replace(level, id_of_track=torch.from_numpy(ids))
            now = np.where(track == NONE, before, np.append(ids, NONE)[track]).astype(np.int32)
            remembered[name] = torch.from_numpy(now)
        return named, Remembered(id_of_gaussian=remembered, next_id=next_id)


def named_gaussians(level: SemanticLevel) -> NDArray[np.int64]:
    """The id [N] of the thing that each Gaussian is part of, -1 none."""
    return np.append(level.ids.numpy(force=True), NONE)[level.track_of_gaussian.numpy(force=True)]


def inherited_ids(before: NDArray[np.integer], track: NDArray[np.integer], num_tracks: int) -> NDArray[np.int64]:
    """The id [T] that each track takes over, -1 where it is a new thing.

    A track is the thing most of which it holds. Where several things have become one track, the oldest of its large
    parts gives the id; where one thing has become several, the largest keeps it.

    Args:
        before: [N] the id that each Gaussian remembers, -1 none.
        track: [N] the track that it has now, -1 none.
    """
    ids = np.full(num_tracks, NONE, dtype=np.int64)
    id, new, shared = _overlaps(before, track, num_tracks)
    if len(id) == 0:
        return ids
    size_before = np.bincount(before[before != NONE])
    left = np.bincount(id, weights=shared)
    size_now = np.bincount(track[track != NONE], minlength=num_tracks)
    carries_on = (shared >= STILL_THERE * size_before[id]) | (shared >= LARGE_IN_TRACK * size_now[new])
    is_thing = carries_on & (shared > SAME_THING * left[id])
    largest = np.zeros(num_tracks)
    np.maximum.at(largest, new[is_thing], shared[is_thing])
    gives = is_thing & (shared >= LARGE_PART * largest[new])
    heir = np.full(num_tracks, np.iinfo(np.int64).max)
    np.minimum.at(heir, new[gives], id[gives])
    is_heir = heir < np.iinfo(np.int64).max
    ids[is_heir] = heir[is_heir]
    taken = set(heir[is_heir].tolist())
    for place in np.lexsort((id, -shared)).tolist():  # things that fell apart: the largest first
        if carries_on[place] and ids[new[place]] == NONE and int(id[place]) not in taken:
            ids[new[place]] = id[place]
            taken.add(int(id[place]))
    return ids


def _overlaps(
    before: NDArray[np.integer], track: NDArray[np.integer], num_tracks: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Ids [P], tracks [P], and how many Gaussians remember the one and have the other [P]."""
    known = (before != NONE) & (track != NONE)
    if not known.any():
        none = np.zeros(0, np.int64)
        return none, none, none
    ids, row = np.unique(before[known], return_inverse=True)
    ones = np.ones(len(row), np.int64)
    table = csr_array((ones, (row, track[known])), shape=(len(ids), num_tracks)).tocoo()
    id, new = (np.asarray(places, np.int64) for places in table.coords)
    return ids[id].astype(np.int64), new, np.asarray(table.data, np.int64)


def _padded(ids: Tensor, count: int) -> Tensor:
    return ids if len(ids) >= count else torch.cat([ids, _none(count - len(ids))])


def _none(count: int) -> Tensor:
    return torch.full((count,), NONE, dtype=torch.int32)
