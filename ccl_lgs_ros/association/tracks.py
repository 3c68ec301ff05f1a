# SPDX-License-Identifier: Apache-2.0
"""What is known of each track, as segments join it and tracks join each other."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.structures import NONE, Segments, Tracks, Votes, VoteTable


def extended(tracks: Tracks, segments: Segments, votes: Votes, track_of_segment: Tensor) -> Tracks:
    """The tracks with one keyframe's segments added, as `track_of_segment` [M] says; new tracks at the end.

    A track's feature is the running mean of its segments' features, weighted by rendering weight and quality. A view
    that disagrees with what is known counts by its cosine squared, so that an outlier (glare, occlusion) moves little.
    """
    is_used = track_of_segment != NONE
    track = track_of_segment[is_used]
    count = max(len(tracks), int(track.max()) + 1 if len(track) else 0)
    known = _padded(tracks, count, segments.features.shape[1])
    support = summed_by(votes.label, votes.weight, len(segments))[is_used]
    features = segments.features[is_used]
    agreement = (features * known.features[track]).sum(dim=1).clamp(0.0, 1.0)
    trust = torch.where(known.num_segments[track] > 0, agreement.square(), 1.0)
    influence = (support * segments.quality[is_used] * trust).to(features.dtype)
    total = known.features * known.weight[:, None]
    total = total.index_add(0, track, features * influence[:, None])
    is_seen = torch.zeros(count, dtype=torch.int64, device=track.device)
    is_seen[track] = 1
    return Tracks(
        features=_unit_or(total, known.features),
        weight=known.weight.index_add(0, track, support.to(known.weight.dtype)),
        num_segments=known.num_segments + is_seen,
    )


def merged(tracks: Tracks, table: VoteTable, root: Tensor) -> tuple[Tracks, VoteTable]:
    """Tracks and votes after each track became part of its root [T] (an associator's `merge`), numbered without gaps.

    Surviving tracks keep their order. A merged track was seen in at least as many keyframes as its most seen part.
    """
    survivors, track_of_old = torch.unique(root, return_inverse=True)
    count = len(survivors)
    total = torch.zeros(count, tracks.features.shape[1], dtype=tracks.features.dtype, device=root.device)
    total.index_add_(0, track_of_old, tracks.features * tracks.weight[:, None])
    num_segments = torch.zeros(count, dtype=torch.int64, device=root.device)
    num_segments.scatter_reduce_(0, track_of_old, tracks.num_segments, reduce="amax")
    weight = torch.zeros(count, dtype=tracks.weight.dtype, device=root.device)
    weight.index_add_(0, track_of_old, tracks.weight)
    joined = Tracks(features=_unit_or(total, tracks.features[survivors]), weight=weight, num_segments=num_segments)
    return joined, relabelled_table(table, track_of_old)


def relabelled(votes: Votes, track_of_segment: Tensor) -> Votes:
    """Votes for segments as votes for their tracks [M]; segments without a track (-1) lose theirs."""
    label = track_of_segment[votes.label]
    is_kept = label != NONE
    gaussian, label, weight = votes.gaussian[is_kept], label[is_kept], votes.weight[is_kept]
    span = int(label.max()) + 1 if len(label) else 1
    keys, inverse = torch.unique(gaussian * span + label, return_inverse=True)
    summed = torch.zeros(len(keys), dtype=weight.dtype, device=weight.device).index_add_(0, inverse, weight)
    return Votes(gaussian=keys // span, label=keys % span, weight=summed, visibility=votes.visibility)


def relabelled_table(table: VoteTable, track_of_old: Tensor) -> VoteTable:
    """A table whose tracks [T] are renamed; votes of a Gaussian for tracks that become one are added up.

    The bound `lost` grows by the number of tracks that became one, as each may have lost that much.
    """
    track = (
        torch.where(table.track == NONE, NONE, track_of_old[table.track.clamp_min(0).long()].to(torch.int32))
        if len(track_of_old)
        else table.track
    )
    weight = table.weight.clone()
    for slot in range(1, track.shape[1]):  # the first slot with a name gathers what later slots hold under it
        same = (track[:, :slot] == track[:, slot, None]) & (track[:, slot, None] != NONE)
        row = torch.nonzero(same.any(dim=1))[:, 0]
        weight[row, same[row].int().argmax(dim=1)] += weight[row, slot]
        weight[row, slot] = 0.0
        track[row, slot] = NONE
    order = weight.argsort(dim=1, descending=True, stable=True)
    largest = int(torch.bincount(track_of_old).max()) if len(track_of_old) else 1
    return replace(
        table, track=track.gather(1, order), weight=weight.gather(1, order), lost=table.lost * max(largest, 1)
    )


def summed_by(place: Tensor, weight: Tensor, count: int) -> Tensor:
    """The weights [E] added up by their places [E] in 0 to count - 1, [count] float64."""
    return torch.zeros(count, dtype=torch.float64, device=weight.device).index_add_(0, place, weight.double())


def _padded(tracks: Tracks, count: int, dim: int) -> Tracks:
    more = count - len(tracks)
    features = tracks.features if len(tracks) else tracks.features.new_zeros(0, dim)
    return Tracks(
        features=torch.cat([features, features.new_zeros(more, dim)]),
        weight=torch.cat([tracks.weight, tracks.weight.new_zeros(more)]),
        num_segments=torch.cat([tracks.num_segments, tracks.num_segments.new_zeros(more)]),
    )


def _unit_or(rows: Tensor, otherwise: Tensor) -> Tensor:
    """Rows of unit length; where a row has no direction, the other one."""
    length = rows.norm(dim=1, keepdim=True)
    return torch.where(length > 0, normalize(rows, dim=1), otherwise)
