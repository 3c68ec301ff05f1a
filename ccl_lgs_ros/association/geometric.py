# SPDX-License-Identifier: Apache-2.0
"""Association by shared Gaussians: a segment shows the thing whose track its Gaussians already carry.

No video model is needed, and the order in which keyframes come matters little: a view that cuts a thing in pieces, or
runs two things together, makes its own track or joins the better one, and `merge` lets all views decide.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ccl_lgs_ros.association.tracks import summed_by
from ccl_lgs_ros.structures import NONE, Segments, Tracks, Votes, VoteTable

# A track whose visible part lies in one segment to this share is seen by it, however much is new in the segment.
MIN_COVERED = 0.5
# A segment that lies in a track, yet covers less of what is seen of it than this, is a speck of it and no rival.
MAX_SPECK = 0.2
# A fragment becomes part of a track that holds this share of its votes. Above 1/2, nothing is part of two things.
MIN_SHARED = 0.55


class GeometricAssociator:
    """Joins segments to tracks by the Gaussians that both show, where their features agree.

    Args:
        min_overlap: share of a segment's votes that a track must hold to take it.
        min_agreement: cosine of features under which segment and track are two things.
        min_votes: rendering weight under which a segment has no 3D support and is left out.

    Source: the idea of a 3D memory of masks is that of Gaga (Lyu et al., 2024); thresholds and rules are ours.
    """

    def __init__(self, *, min_overlap: float, min_agreement: float, min_votes: float) -> None:
        self.min_overlap = min_overlap
        self.min_agreement = min_agreement
        self.min_votes = min_votes

    def associate(self, segments: Segments, votes: Votes, table: VoteTable, tracks: Tracks) -> Tensor:
        """The track [M] int64 of each segment: known, -1 none, or len(tracks) and up for new ones.

        Segments and tracks are matched one to one, so that a thing cut in pieces does not swallow its neighbours and
        two things seen as one segment are not joined by it. Only specks inside a track join it besides its match.
        """
        support = summed_by(votes.label, votes.weight, len(segments))
        track_of_segment = torch.full((len(segments),), NONE, dtype=torch.int64, device=votes.label.device)
        known, held = held_by_tracks(votes, table, len(segments))
        if len(known):
            agreement = (segments.features @ tracks.features[known].T).double()
            column = self._matched(held, support, agreement)
            is_matched = column >= 0
            track_of_segment[is_matched] = known[column[is_matched]]
        is_new = (track_of_segment == NONE) & (support >= self.min_votes)
        track_of_segment[support < self.min_votes] = NONE
        track_of_segment[is_new] = len(tracks) + torch.arange(int(is_new.sum()), device=is_new.device)
        return track_of_segment

    def merge(self, table: VoteTable, tracks: Tracks) -> Tensor:
        """For each track [T] int64 the track that it turned out to be part of; itself when it stands alone.

        A lighter track is part of a heavier one when most of its votes fall on Gaussians that voted for the heavier
        at least as much, and their features agree. So a fragment joins the whole when about as many views show the
        whole; two things that few views ran together stay two. Roots keep their numbers: there are gaps.
        """
        count = len(tracks)
        root = torch.arange(count, device=table.track.device)
        light, heavy, shared = shared_votes(table, count)
        if len(light) == 0:
            return root
        agreement = (tracks.features[light] * tracks.features[heavy]).sum(dim=1)
        is_part = (shared >= MIN_SHARED) & (agreement >= self.min_agreement)
        light, heavy, shared = light[is_part], heavy[is_part], shared[is_part]
        best = torch.zeros(count, dtype=shared.dtype, device=shared.device)
        best.scatter_reduce_(0, light, shared, reduce="amax")
        is_best = shared == best[light]
        root.scatter_reduce_(0, light[is_best], heavy[is_best], reduce="amin", include_self=False)
        while True:  # a part of a part is part of the whole; parents are heavier, so there is no circle
            above = root[root]
            if torch.equal(above, root):
                return root
            root = above

    def _matched(self, held: Tensor, support: Tensor, agreement: Tensor) -> Tensor:
        """The column of `held` [M, C] that each segment is matched to, -1 none."""
        seen = held.sum(dim=0).clamp_min(torch.finfo(held.dtype).tiny)  # [C] of each track in this view
        explained = held.sum(dim=1, keepdim=True)  # [M, 1] of each segment by any track
        inside = held / support.clamp_min(torch.finfo(held.dtype).tiny)[:, None]
        is_seen = (held >= MIN_COVERED * seen) & (held >= self.min_overlap * explained)
        is_possible = (inside >= self.min_overlap) | (is_seen & (held >= self.min_overlap * self.min_votes))
        is_possible &= (agreement >= self.min_agreement) & (support >= self.min_votes)[:, None]
        iou = held / (explained + seen - held).clamp_min(torch.finfo(held.dtype).tiny)
        score = torch.where(is_possible, iou * agreement.clamp_min(0.0), 0.0)
        rows, columns = (torch.as_tensor(x) for x in linear_sum_assignment(score.cpu().numpy(), maximize=True))
        is_taken = score[rows, columns] > 0
        column = torch.full_like(support, NONE, dtype=torch.int64)
        column[rows[is_taken]] = columns[is_taken].to(column.device)
        is_speck = is_possible & (inside >= 0.5) & (held <= MAX_SPECK * seen)
        joins = (column == NONE) & is_speck.any(dim=1)
        column[joins] = torch.where(is_speck, held, 0.0)[joins].argmax(dim=1)
        return column


def held_by_tracks(votes: Votes, table: VoteTable, num_segments: int) -> tuple[Tensor, Tensor]:
    """How much of each segment's votes falls to each track that its Gaussians carry.

    A Gaussian's vote is shared among its tracks as their weights in the table are.

    Returns:
        tracks: [C] int64, those that any Gaussian of this view carries, ascending.
        held: [M, C] float64.
    """
    rows, weights = table.track[votes.gaussian], table.weight[votes.gaussian].double()
    total = weights.sum(dim=1, keepdim=True) + table.lost[votes.gaussian, None]
    vote, slot = torch.nonzero(rows != NONE, as_tuple=True)
    share = votes.weight[vote].double() * weights[vote, slot] / total[vote, 0]
    tracks, column = torch.unique(rows[vote, slot].long(), return_inverse=True)
    cell = votes.label[vote] * len(tracks) + column
    held = summed_by(cell, share, num_segments * len(tracks))
    return tracks, held.reshape(num_segments, len(tracks))


def shared_votes(table: VoteTable, num_tracks: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of tracks that share Gaussians, and how much of the lighter one's votes the heavier one shares.

    Returns:
        light, heavy: [P] int64; of equally heavy tracks the later one is light.
        shared: [P] float64 in (0, 1]: sum over Gaussians of the smaller vote, over all votes of the lighter track.
    """
    track, weight = table.track.long(), table.weight.double()
    total = summed_by(track[track != NONE], weight[track != NONE], num_tracks)
    is_mixed = (track >= 0).sum(dim=1) > 1
    track, weight = track[is_mixed], weight[is_mixed]
    first, second = torch.triu_indices(track.shape[1], track.shape[1], offset=1, device=track.device)
    row, pair = torch.nonzero(track[:, second] != NONE, as_tuple=True)  # rows are filled from the left
    a, b = track[row, first[pair]], track[row, second[pair]]
    keys, inverse = torch.unique(torch.minimum(a, b) * num_tracks + torch.maximum(a, b), return_inverse=True)
    smaller = torch.minimum(weight[row, first[pair]], weight[row, second[pair]])
    common = summed_by(inverse, smaller, len(keys))
    low, high = keys // max(num_tracks, 1), keys % max(num_tracks, 1)
    low_is_light = total[low] < total[high]
    light, heavy = torch.where(low_is_light, low, high), torch.where(low_is_light, high, low)
    return light, heavy, common / total[light].clamp_min(torch.finfo(total.dtype).tiny)
