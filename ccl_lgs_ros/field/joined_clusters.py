# SPDX-License-Identifier: Apache-2.0
"""Clusters that place cut from one thing are made one again: those that touch, and differ less than one thing does."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from ccl_lgs_ros.field.two_level_codebook import Clusters

NEIGHBOURS = 8  # of each row, which it touches
TOUCHES = 3  # between the rows of two clusters, from which on they touch; fewer are stray rows


def joined(clusters: Clusters, features: Tensor, means: Tensor, spread: float) -> Clusters:
    """Clusters numbered without gaps, the nearest two that touch joined first, until all that touch differ.

    Args:
        features: [n, C] of rows, whose mean in a cluster is what the cluster is.
        means: [n, 3] where rows are.
        spread: squared distance of two clusters up to which they are one.

    Source: centroid linkage under a constraint of contiguity (Murtagh, 1985, "A survey of algorithms for
    contiguity-constrained clustering").
    """
    used, number = torch.unique(clusters.of_row, return_inverse=True)
    tight = Clusters(of_row=number, count=len(used))
    if len(used) < 2:
        return tight
    weight = torch.bincount(number).double().numpy()
    merged = _merged(tight.centres(features).double().numpy(), weight, _touches(number.numpy(), means), spread)
    ids, of_cluster = np.unique(merged, return_inverse=True)
    return Clusters(of_row=torch.from_numpy(of_cluster)[number], count=len(ids))


def _touches(number: NDArray[np.int64], means: Tensor) -> NDArray[np.int64]:
    """How many pairs of neighbouring rows two clusters share [k, k]."""
    count, width = int(number.max()) + 1, min(NEIGHBOURS + 1, len(number))
    points = means.numpy()
    _, near = KDTree(points).query(points, k=width)
    pairs = number.repeat(width) * count + number[near.ravel()]
    touches = np.bincount(pairs, minlength=count * count).reshape(count, count)
    return touches + touches.T


def _merged(
    centres: NDArray[np.float64], weight: NDArray[np.float64], touches: NDArray[np.int64], spread: float
) -> NDArray[np.int64]:
    """The cluster [k] that each one ends in, by centroid linkage of those that touch."""
    ends = np.arange(len(centres))
    squared = np.square(centres[:, None] - centres).sum(axis=2)
    is_open = (touches >= TOUCHES) & ~np.eye(len(centres), dtype=bool)
    while True:
        distance = np.where(is_open, squared, np.inf)
        kept, gone = sorted(np.unravel_index(distance.argmin(), distance.shape))
        if distance[kept, gone] > spread:
            return ends
        centres[kept] = np.average(centres[[kept, gone]], axis=0, weights=weight[[kept, gone]])
        weight[kept] += weight[gone]
        touches[kept] += touches[gone]
        touches[:, kept] = touches[kept]
        squared[kept] = squared[:, kept] = np.square(centres - centres[kept]).sum(axis=1)
        ends[ends == gone] = kept
        touches[gone] = touches[:, gone] = touches[kept, kept] = 0
        is_open[kept] = is_open[:, kept] = touches[kept] >= TOUCHES
        is_open[gone] = is_open[:, gone] = False
