# SPDX-License-Identifier: Apache-2.0
"""Tracks as a second vote on instances: what views followed as several things is split, what as one thing is joined."""

import torch
from torch import Tensor

from ccl_lgs_ros.structures import NONE

SHARE = 0.2  # of an instance's Gaussians that a track must have to split them off; fewer are the seam


def voted_instances(instance: Tensor, track: Tensor) -> Tensor:
    """The instance [N] of each Gaussian, -1 none, after tracks [N] of Gaussians, -1 none, had a vote.

    A track that holds a good share of an instance takes that part of it, with what it has of all others. Gaussians
    whose track holds little of their instance go with the track that holds most. Where none has a share, nothing
    changes.
    """
    member = torch.nonzero(instance != NONE)[:, 0]
    if len(member) == 0:
        return instance
    own, voted = instance[member], track[member].long()
    count, width = int(own.max()) + 1, int(voted.max().clamp_min(0)) + 1
    has_track = voted != NONE
    pairs, size = torch.unique(own[has_track] * width + voted[has_track], return_counts=True)
    of_pair, track_of_pair = pairs // width, pairs % width
    is_part = size >= SHARE * torch.bincount(own, minlength=count)[of_pair]
    of_pair, track_of_pair, size, pairs = of_pair[is_part], track_of_pair[is_part], size[is_part], pairs[is_part]
    main = torch.full((count,), NONE)
    order = size.argsort(stable=True)  # the largest last
    main[of_pair[order]] = track_of_pair[order]
    is_taken = has_track & torch.isin(own * width + voted.clamp_min(0), pairs)
    followed = torch.where(is_taken, voted, main[own])
    found = instance.clone()
    found[member] = torch.where(followed == NONE, width + own, followed)
    return found
