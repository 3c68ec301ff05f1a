# SPDX-License-Identifier: Apache-2.0
"""Which Gaussians of a thing are strays: alone where the others are many, or hardly there."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

NEIGHBOURS = 4
ALONE = 3.0  # times the usual distance to the fourth neighbour; what is farther from its own has strayed
FAINT = 0.1  # times the usual opacity
FEW = 12  # points have no usual distance
MOST_POINTS = 512  # that are looked at, evenly spread


def core_of(
    points: NDArray[np.floating], opacity: NDArray[np.floating], confidence: NDArray[np.floating]
) -> NDArray[np.floating]:
    """The points [k, 3] of [n, 3], n >= 1, that are no strays; of many, an even sample.

    Args:
        opacity: [n].
        confidence: [n] in (0, 1], that it belongs to the thing; what is doubtful is a stray sooner.
    """
    which = np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).astype(np.int64)
    which = which[opacity[which] >= FAINT * np.median(opacity[which])]
    points, doubt = points[which], np.median(confidence[which]) / confidence[which]
    if len(points) < FEW:
        return points
    tree = KDTree(points, balanced_tree=False, compact_nodes=False)
    distance = np.asarray(tree.query(points, NEIGHBOURS + 1)[0])[:, -1]  # the first is the point itself
    return points[distance * np.maximum(doubt, 1.0) <= ALONE * np.median(distance)]
