# SPDX-License-Identifier: Apache-2.0
"""Labels of segments: a codebook is fitted to all features of a level, and every segment gets a track and a code."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.codebook.ordering import own_order
from ccl_lgs_ros.codebook.robust import means, medians, shares
from ccl_lgs_ros.labelling import LevelLabels, SegmentTable
from ccl_lgs_ros.protocols import CodebookFitter, Progress, no_progress
from ccl_lgs_ros.structures import NONE, Codebook

Centre = Callable[[Tensor, Tensor, Tensor, int], Tensor]
CENTRES: Mapping[str, Centre] = {"mean": means, "median": medians}
ASSIGNED_AT_ONCE = 4096  # features; bounds memory where a codebook has as many entries as there are features


def labels_of(
    table: SegmentTable,
    fitter: CodebookFitter,
    *,
    vote_codes: bool,
    track_feature: str,
    progress: Progress = no_progress,
) -> LevelLabels:
    """The label of each segment: the pair of its track and its code. Neither option is CCL-LGS as published.

    The order of the rows changes nothing.

    Args:
        table: the segments of all keyframes.
        fitter: makes the codebook.
        vote_codes: give all segments of a track the code that has most of their weight, the first at a tie.
        track_feature: "views" fits and codes every view by itself; "mean" and "median" one centre per track, with the
            track's weight, while segments without a track keep their own features.
        progress: told how far the codebook is.

    Returns:
        Labels by track, then code; segments of no track and equal codes share one.
    """
    order = own_order(table.features, table.track, table.weight)
    features, track, weight = table.features[order], table.track[order], table.weight[order]
    if track_feature in CENTRES:
        centred = _by_track(features, track, weight, CENTRES[track_feature])
        features, track_of_feature, weight_of_feature, feature_of_row = centred
    else:
        track_of_feature, weight_of_feature, feature_of_row = track, weight, torch.arange(len(track))
    codebook = fitter.fit(features, track_of_feature, weight_of_feature, None, progress)
    code = _assigned(codebook, features)[feature_of_row]
    if vote_codes:
        code = voted(code, track, weight)
    keys, label = torch.unique((track - NONE) * max(len(codebook), 1) + code, return_inverse=True)
    return LevelLabels(
        table=table,
        label_of_row=torch.empty_like(label).scatter_(0, order, label),
        track_of_label=keys // max(len(codebook), 1) + NONE,
        code_of_label=keys % max(len(codebook), 1),
        codebook=codebook,
    )


def voted(code: Tensor, track: Tensor, weight: Tensor) -> Tensor:
    """The codes [B] with those of each track made one: the code of most weight, the first at a tie.

    Rows of no track (-1) keep theirs. A track without any weight counts its rows.
    """
    code = code.clone()
    row = torch.nonzero(track != NONE)[:, 0]
    if len(row) == 0:
        return code
    tracks, group = torch.unique(track[row], return_inverse=True)
    size = int(code.max()) + 1
    pairs, pair = torch.unique(group * size + code[row], return_inverse=True)
    votes = torch.zeros(len(pairs), dtype=torch.float64, device=code.device)
    votes.index_add_(0, pair, shares(weight[row], group, len(tracks)))
    heaviest_last = votes.flip(0).argsort(stable=True)  # of equal votes the lower code comes later
    pairs = pairs.flip(0)[heaviest_last]
    pairs = pairs[(pairs // size).argsort(stable=True)]
    last = torch.searchsorted(pairs // size, torch.arange(len(tracks), device=code.device), right=True) - 1
    code[row] = (pairs[last] % size)[group]
    return code


def _by_track(features: Tensor, track: Tensor, weight: Tensor, centre: Centre) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features of tracks, then of the rows without one; their tracks and weights; and the feature of each row."""
    is_tracked = track != NONE
    tracks, group = torch.unique(track[is_tracked], return_inverse=True)
    centres = centre(features[is_tracked], group, weight[is_tracked], len(tracks))
    total = torch.zeros(len(tracks), dtype=torch.float64, device=weight.device)
    total.index_add_(0, group, weight[is_tracked].double())
    alone = ~is_tracked
    feature_of_row = torch.empty_like(track)
    feature_of_row[is_tracked] = group
    feature_of_row[alone] = len(tracks) + torch.arange(int(alone.sum()), device=track.device)
    return (
        torch.cat([centres, features[alone]]),
        torch.cat([tracks, track[alone]]),
        torch.cat([total.to(weight.dtype), weight[alone]]),
        feature_of_row,
    )


def _assigned(codebook: Codebook, features: Tensor) -> Tensor:
    """The code [B] of each feature [B, D]."""
    return torch.cat([codebook.assign(part) for part in features.split(ASSIGNED_AT_ONCE)])
