# SPDX-License-Identifier: Apache-2.0
"""What identities are learnt from: the track of each pixel, and that neighbours in space belong together."""

import math

import torch
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn.functional import cross_entropy


def identity_loss(evidence: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy of pixels with the evidence [B, K] for each class, whose classes are `target` [B].

    It is divided by log K, so that it is 1 where nothing is known yet, however many classes there are.

    Source: Gaussian Grouping (Ye et al., 2024), the 2D identity loss; the division is that of its code.
    """
    return cross_entropy(evidence, target) / math.log(max(evidence.shape[1], 2))


def neighbour_divergence(evidence: Tensor, of_neighbours: Tensor) -> Tensor:
    """The mean Kullback-Leibler divergence of what Gaussians believe of themselves from what their neighbours do.

    It is divided by the number of classes.

    Args:
        evidence: [m, K] for each class, of m Gaussians.
        of_neighbours: [m, k, K] the same of the k neighbours of each.

    Source: Gaussian Grouping (Ye et al., 2024), the 3D regularisation; the division by K is that of its code.
    """
    if of_neighbours.shape[0] * of_neighbours.shape[1] == 0:
        return evidence.sum() * 0.0
    own, theirs = evidence.log_softmax(dim=-1)[:, None, :], of_neighbours.log_softmax(dim=-1)
    return (own.exp() * (own - theirs)).sum(dim=-1).mean() / evidence.shape[-1]


def nearest_neighbours(points: Tensor, count: int) -> Tensor:
    """The nearest others [N, count] int64 of each of points [N, 3], nearest first; fewer where there are fewer."""
    count = min(count, len(points) - 1)
    if count < 1:
        return torch.zeros(len(points), 0, dtype=torch.int64)
    tree = KDTree(points.numpy(force=True))
    found = torch.from_numpy(tree.query(points.numpy(force=True), k=count + 1)[1].astype("int64"))
    is_self = found == torch.arange(len(points))[:, None]
    is_self[:, -1] |= ~is_self.any(dim=1)  # where many points coincide, a point need not be among its nearest
    return found[~is_self].view(len(points), count)
