# SPDX-License-Identifier: Apache-2.0
"""Centres of groups of unit vectors: their mean, and one that a few bad views do not move."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

ROUNDS = 12  # of reweighting; the centre moves by less than 1e-3 in the last of them
NEAREST = 1e-3  # distance below which a view gains no more influence
OUTLIER_Z = -3.0  # deviations below the mean agreement at which a view is dropped (ReLaGS)


def means(features: Tensor, group: Tensor, weight: Tensor, count: int) -> Tensor:
    """The weighted mean [count, D] of each group, of unit length; arguments as of `medians`."""
    rows, share = features.double(), shares(weight, group, count)
    return normalize(_sums(rows * share[:, None], group, count), dim=1).to(features.dtype)


def medians(features: Tensor, group: Tensor, weight: Tensor, count: int) -> Tensor:
    """The spherical median of each group, without the views that agree with it far less than the others do.

    Args:
        features: [B, D] unit rows.
        group: [B] 0 to count - 1; no group is empty.
        weight: [B] >= 0; a group whose weights are all 0 counts its features equally.
        count: the number of groups.

    Returns:
        [count, D] unit rows.

    Source: VALA (2025) for the cosine median, here by the iteration of Weiszfeld (1937) on chords; ReLaGS (2026) for
    the views dropped, whose deviations it measures on the mean, we on the median.
    """
    rows, share = features.double(), shares(weight, group, count)
    centre = _medians(rows, group, share, count)
    agreement = (rows * centre[group]).sum(dim=1)
    is_kept = _z_scores(agreement, group, count) >= OUTLIER_Z
    is_kept |= (_sums((share * is_kept)[:, None], group, count) == 0)[group, 0]  # whose others weigh nothing
    has_outlier = torch.bincount(group[~is_kept], minlength=count) > 0
    if bool(has_outlier.any()):
        again = has_outlier[group]
        kept_share = (share * is_kept)[again]
        centre = torch.where(has_outlier[:, None], _medians(rows[again], group[again], kept_share, count), centre)
    return centre.to(features.dtype)


def shares(weight: Tensor, group: Tensor, count: int) -> Tensor:
    """The weights [B] float64 as shares of their group's sum; equal shares where all are 0."""
    total = _sums(weight.double()[:, None], group, count)[group, 0]
    size = torch.bincount(group, minlength=count)[group]
    return torch.where(total > 0, weight.double() / total.clamp_min(torch.finfo(torch.float64).tiny), 1.0 / size)


def _medians(rows: Tensor, group: Tensor, share: Tensor, count: int) -> Tensor:
    """Unit vectors [count, D] of the least sum of distances to the rows, weighted by share [B]."""
    centre = normalize(_sums(rows * share[:, None], group, count), dim=1)
    for _ in range(ROUNDS):
        distance = (rows - centre[group]).norm(dim=1).clamp_min(NEAREST)
        centre = normalize(_sums(rows * (share / distance)[:, None], group, count), dim=1)
    return centre


def _z_scores(value: Tensor, group: Tensor, count: int) -> Tensor:
    """Each value [B] in standard deviations from the mean of its group; 0 where the group does not vary."""
    size = torch.bincount(group, minlength=count).double()[:, None]
    offset = value - (_sums(value[:, None], group, count) / size)[group, 0]
    deviation = (_sums(offset.square()[:, None], group, count) / size).sqrt()[group, 0]
    return torch.where(deviation > torch.finfo(torch.float32).eps, offset / deviation.clamp_min(1e-12), 0.0)


def _sums(rows: Tensor, group: Tensor, count: int) -> Tensor:
    return rows.new_zeros(count, rows.shape[1]).index_add_(0, group, rows)
