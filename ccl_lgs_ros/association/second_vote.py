# SPDX-License-Identifier: Apache-2.0
"""Two associators as one: tracks of the first are joined where the second saw one thing; none is ever split."""

from collections import Counter, defaultdict
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.structures import NONE

# Two tracks are one when more than this share of the shorter one's segments was followed from or to the other ...
MIN_CONNECTED = 0.5
# ... which takes so many segments of each at least, as one may be a slip of the video model ...
MIN_SEGMENTS = 2
# ... and no more than this share of the shorter one's keyframes show both, as segmenters cut a thing now and then.
MAX_TOGETHER = 0.1


def agreed(
    first: Tensor,
    second: Tensor,
    keyframe: Tensor,
    features: Tensor,
    weight: Tensor,
    *,
    min_agreement: float,
    fill: bool = True,
) -> Tensor:
    """The track [B] int64 of each segment by two votes, -1 none, numbered without gaps in the order of `first`.

    Tracks of the first become one where tracks of the second connect them, their features agree, and they hardly ever
    show in one keyframe: a thing that was left and found again elsewhere in the map, or whose 3D support did not
    overlap. Strong connections come first, and what has become one is asked as one.

    Args:
        first: [B] int64 tracks that are kept together, -1 none.
        second: [B] int64 tracks that may connect them, -1 none.
        keyframe: [B] int64 of each segment.
        features: [B, D] unit rows.
        weight: [B] >= 0, of the features in the mean of a track.
        min_agreement: cosine of mean features under which two tracks are two things.
        fill: give a segment without a track the one that most of its second track has, unless its keyframe has it.

    Raises:
        ValueError: if the rows differ in number.
    """
    if len({len(rows) for rows in (first, second, keyframe, features, weight)}) != 1:
        sizes = [len(rows) for rows in (first, second, keyframe, features, weight)]
        raise ValueError(f"first, second, keyframe, features, weight: expected equally many rows, got {sizes}")
    groups = _Groups(first, keyframe, features, weight)
    for _, a, b in sorted(_connections(first, second), key=lambda link: (-link[0], link[1], link[2])):
        groups.join(a, b, min_agreement)
    track = groups.track_of(first)
    if fill:
        track = _filled(track, second, keyframe, features, weight, min_agreement)
    result = torch.full_like(track, NONE)
    _, result[track != NONE] = torch.unique(track[track != NONE], return_inverse=True)
    return result


def _connections(first: Tensor, second: Tensor) -> list[tuple[float, int, int]]:
    """Pairs of first tracks with the share of the shorter one's followed segments that the other matches."""
    is_both = (first != NONE) & (second != NONE)
    count = Counter(zip(first[is_both].tolist(), second[is_both].tolist(), strict=True))
    length: Counter[int] = Counter()
    of_second: dict[int, list[int]] = defaultdict(list)
    for (a, t), rows in count.items():
        length[a] += rows
        of_second[t].append(a)
    common: Counter[tuple[int, int]] = Counter()
    for t, tracks in of_second.items():
        for a, b in combinations(sorted(tracks), 2):
            common[a, b] += min(count[a, t], count[b, t])
    shares = [(rows / min(length[a], length[b]), a, b) for (a, b), rows in common.items() if rows >= MIN_SEGMENTS]
    return [link for link in shares if link[0] > MIN_CONNECTED]


class _Groups:
    """First tracks that have become one: their root, their keyframes, and the sum of their features."""

    def __init__(self, first: Tensor, keyframe: Tensor, features: Tensor, weight: Tensor) -> None:
        is_used = first != NONE
        count = int(first.max()) + 1 if len(first) else 0
        self._root = list(range(count))
        self._sum = _summed(first[is_used], features[is_used], weight[is_used], count)
        self._keyframes: list[set[int]] = [set() for _ in range(count)]
        for track, index in zip(first[is_used].tolist(), keyframe[is_used].tolist(), strict=True):
            self._keyframes[track].add(index)

    def join(self, a: int, b: int, min_agreement: float) -> None:
        """Make two tracks one, unless they look different or show together."""
        a, b = sorted((self._root_of(a), self._root_of(b)))
        if a == b:
            return
        shorter = min(len(self._keyframes[a]), len(self._keyframes[b]))
        together = len(self._keyframes[a] & self._keyframes[b])
        agreement = float(normalize(self._sum[a], dim=0) @ normalize(self._sum[b], dim=0))
        if together <= MAX_TOGETHER * shorter and agreement >= min_agreement:
            self._root[b] = a
            self._keyframes[a] |= self._keyframes[b]
            self._sum[a] += self._sum[b]

    def track_of(self, first: Tensor) -> Tensor:
        """The root [B] of each row's track."""
        return torch.tensor([self._root_of(t) for t in range(len(self._root))] + [NONE], dtype=torch.int64)[first]

    def _root_of(self, track: int) -> int:
        while self._root[track] != track:
            track = self._root[track]
        return track


def _filled(
    track: Tensor, second: Tensor, keyframe: Tensor, features: Tensor, weight: Tensor, min_agreement: float
) -> Tensor:
    """The tracks with free segments given to the track that more than half of their second track's segments have."""
    known: dict[int, Counter[int]] = defaultdict(Counter)
    for t, s in zip(track.tolist(), second.tolist(), strict=True):
        if t != NONE and s != NONE:
            known[s][t] += 1
    is_used = track != NONE
    count = int(track.max()) + 1 if len(track) else 0
    mean = normalize(_summed(track[is_used], features[is_used], weight[is_used], count), dim=1)
    taken = set(zip(keyframe[is_used].tolist(), track[is_used].tolist(), strict=True))
    result = track.clone()
    free = torch.nonzero((track == NONE) & (second != NONE))[:, 0]
    for row in free[weight[free].argsort(descending=True, stable=True)].tolist():
        votes = known[int(second[row])]
        if not votes:
            continue
        best, rows = votes.most_common(1)[0]
        is_sure = rows >= MIN_SEGMENTS and 2 * rows > votes.total()
        sight = (int(keyframe[row]), best)
        if is_sure and sight not in taken and float(features[row] @ mean[best]) >= min_agreement:
            result[row] = best
            taken.add(sight)
    return result


def _summed(track: Tensor, features: Tensor, weight: Tensor, count: int) -> Tensor:
    """The sum [count, D] of features by track, by weight; rows that weigh nothing count a little."""
    share = weight.to(features.dtype).clamp_min(torch.finfo(features.dtype).eps)
    return features.new_zeros(count, features.shape[1]).index_add_(0, track, features * share[:, None])
