# SPDX-License-Identifier: Apache-2.0
"""Association by a 3D memory bank: a segment joins the group that has most of the Gaussians in front in it.

Neither features nor the order of views are asked, so views may be unordered, far apart, or lit differently.
"""

import torch
from torch import Tensor

from ccl_lgs_ros.association.tracks import summed_by
from ccl_lgs_ros.structures import NONE, Segments, Tracks, Votes, VoteTable


class MemoryBankAssociator:
    """Joins each segment to the group that remembers most of its front Gaussians, or lets it start a group.

    Several segments of one view may join one group, and groups are never joined: so published. As a Gaussian is of
    one segment of a view at most, the segments of a view may be looked at all at once.

    Args:
        min_overlap: share of a segment's front Gaussians that a group must hold to take it.
        min_votes: rendering weight under which a segment has no 3D support and is left out.
        front_share: share of a segment's rendering weight that its front Gaussians carry, the heaviest of them.

    Source: Gaga (Lyu et al., 2024), section 3.2. There, a segment's Gaussians are those whose centres fall into it, and
    in front are the nearest 20 % within each of 32 x 32 patches of the image. Here rendering weights say both: a
    Gaussian is of the segment that shows more than half of what is seen of it, and what is hidden carries no weight.
    There, a Gaussian stays with the group that had it first; here with the group that has most of its votes, which
    later views can put right.
    """

    def __init__(self, *, min_overlap: float, min_votes: float, front_share: float) -> None:
        self.min_overlap = min_overlap
        self.min_votes = min_votes
        self.front_share = front_share

    def associate(self, segments: Segments, votes: Votes, table: VoteTable, tracks: Tracks) -> Tensor:
        """The group [M] int64 of each segment: known, -1 none, or len(tracks) and up for new ones."""
        support = summed_by(votes.label, votes.weight, len(segments))
        group, share = self._remembered(votes, table, len(segments))
        is_supported = support >= self.min_votes
        is_new = is_supported & ((group == NONE) | (share < self.min_overlap))
        group = torch.where(is_supported, group, NONE)
        group[is_new] = len(tracks) + torch.arange(int(is_new.sum()), device=group.device)
        return group

    def merge(self, table: VoteTable, tracks: Tracks) -> Tensor:
        """Every group [T] int64 stands alone."""
        return torch.arange(len(tracks), device=table.track.device)

    def _remembered(self, votes: Votes, table: VoteTable, num_segments: int) -> tuple[Tensor, Tensor]:
        """The group [M] that holds most front Gaussians of each segment, -1 none, and their share [M] of them."""
        gaussian, segment = front_gaussians(votes, num_segments, self.front_share)
        total = torch.bincount(segment, minlength=num_segments)
        group = table.track[gaussian, 0].long()
        is_known = group != NONE
        known, column = torch.unique(group[is_known], return_inverse=True)
        if not len(known):
            return torch.full_like(total, NONE), torch.zeros_like(total, dtype=torch.float64)
        cell = segment[is_known] * len(known) + column
        shared = torch.bincount(cell, minlength=num_segments * len(known)).reshape(num_segments, len(known))
        most, best = shared.max(dim=1)
        return torch.where(most > 0, known[best], NONE), most.double() / total.clamp_min(1)


def front_gaussians(votes: Votes, num_segments: int, front_share: float) -> tuple[Tensor, Tensor]:
    """The Gaussians [F] int64 in front in each segment of a view, and the segment [F] of each.

    A segment's own Gaussians are those that it shows more than half of; in front are the heaviest of them, as many as
    it takes to carry `front_share` of their weight, one at least.
    """
    is_own = votes.weight > 0.5 * votes.visibility[votes.gaussian]
    gaussian, segment, weight = votes.gaussian[is_own], votes.label[is_own], votes.weight[is_own].double()
    order = weight.argsort(descending=True, stable=True)
    order = order[segment[order].argsort(stable=True)]
    gaussian, segment, weight = gaussian[order], segment[order], weight[order]
    total = summed_by(segment, weight, num_segments)
    before = weight.cumsum(0) - weight - (total.cumsum(0) - total)[segment]
    is_front = before < front_share * total[segment]
    return gaussian[is_front], segment[is_front]
