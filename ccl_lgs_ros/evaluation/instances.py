# SPDX-License-Identifier: Apache-2.0
"""Instances held against true objects, Gaussian by Gaussian: the average precision of ScanNet at an IoU of 0.5.

As on ScanNet's vertices, an instance is a set of points and so is a true object; the points are the Gaussians of the
map. A Gaussian belongs to the object on whose surface the nearest true point lies, if that is within MAX_DISTANCE; what
the map never saw of an object is in neither set. Differences to ScanNet's script: the true points are samples of the
surfaces, not vertices that people labelled, and the smallest instances count as well.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.evaluation.metrics import average_precision
from ccl_lgs_ros.evaluation.points import MAX_DISTANCE, UNKNOWN

MIN_IOU = 0.5  # that an instance must exceed to have found an object


def owners(
    means: NDArray[np.floating], points: NDArray[np.floating], object_of_point: NDArray[np.integer]
) -> NDArray[np.int64]:
    """The object [N] that each Gaussian lies on, -1 where no surface is near.

    Args:
        means: [N, 3] metres.
        points: [V, 3] metres, dense on the true surfaces of the objects and of what is around them.
        object_of_point: [V] which object a point lies on.
    """
    _, nearest = KDTree(points).query(np.asarray(means), distance_upper_bound=MAX_DISTANCE)
    return np.append(np.asarray(object_of_point, np.int64), UNKNOWN)[nearest]


def gaussian_ious(
    instances: Sequence[Instance], ids: Sequence[int], owner: NDArray[np.integer]
) -> NDArray[np.float64]:  # [n, m]
    """The IoU of each instance [n] with each object [m], over Gaussians.

    Args:
        owner: [N] the object of each Gaussian of the map.
    """
    ious = np.zeros((len(instances), len(ids)))
    for row, instance in enumerate(instances):
        inside = owner[instance.gaussian_ids.numpy(force=True)]
        for column, number in enumerate(ids):
            shared = int((inside == number).sum())
            ious[row, column] = shared / max(1, len(inside) + int((owner == number).sum()) - shared)
    return ious


def ap50(instances: Sequence[Instance], ids: Sequence[int], owner: NDArray[np.integer]) -> float | None:
    """The average precision of a prompt's instances, ranked by score, on the objects that it names; None without any.

    An object that the map never saw counts, and is missed.
    """
    if not ids:
        return None
    ious = gaussian_ious(instances, ids, owner)
    return average_precision([instance.score for instance in instances], ious, MIN_IOU)


def objects_found(instances: Sequence[Instance], owner: NDArray[np.integer]) -> list[int]:
    """The object that most Gaussians of each instance lie on, -1 for none."""
    found = []
    for instance in instances:
        ids, count = np.unique(owner[instance.gaussian_ids.numpy(force=True)], return_counts=True)
        found.append(int(ids[count.argmax()]) if len(ids) else UNKNOWN)
    return found


def union_iou(
    instances: Sequence[Instance], is_true: NDArray[np.bool_], weight: NDArray[np.floating] | None = None
) -> float:
    """The IoU of all instances together with the Gaussians [N] that are truly meant.

    Args:
        weight: [N] how much each Gaussian counts, as `bulk` has it; all the same if not given.
    """
    weight = np.ones(len(is_true)) if weight is None else weight
    is_found = np.zeros_like(is_true)
    for instance in instances:
        is_found[instance.gaussian_ids.numpy(force=True)] = True
    either = float(weight[is_found | is_true].sum())
    return float(weight[is_found & is_true].sum()) / either if either > 0 else 0.0


def bulk(scales: NDArray[np.floating], opacities: NDArray[np.floating]) -> NDArray[np.float64]:  # [N]
    """The volume of Gaussians with scales [N, 3] times their opacities [N]: many small ones outweigh no large one.

    Source: Dr. Splat (Jun-Seong et al., CVPR 2025), volume-aware IoU.
    """
    return np.prod(np.asarray(scales, dtype=np.float64), axis=1) * np.asarray(opacities)
