# SPDX-License-Identifier: Apache-2.0
"""Protocols on labelled points: OpenGaussian's on ScanNet, and Dr. Splat's, which weighs Gaussians by their volume.

Sources: OpenGaussian (Wu et al., NeurIPS 2024), as its published evaluation computes it; Dr. Splat (Jun-Seong et al.,
CVPR 2025), volume-aware IoU.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ccl_lgs_ros.evaluation.peer_scores import PeerUnit

NYU40 = {
    1: "wall",
    2: "floor",
    3: "cabinet",
    4: "bed",
    5: "chair",
    6: "sofa",
    7: "table",
    8: "door",
    9: "window",
    10: "bookshelf",
    11: "picture",
    12: "counter",
    14: "desk",
    16: "curtain",
    24: "refrigerator",
    28: "shower curtain",
    33: "toilet",
    34: "sink",
    36: "bathtub",
}
CLASS_SETS = {
    19: tuple(NYU40),
    15: (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 33, 34),
    10: (1, 2, 4, 5, 6, 7, 8, 9, 10, 33),
}  # NYU40 labels that are asked for, by how many they are

MIN_OPACITY = 0.1  # under which a Gaussian shows nothing
SAME_PLACE = 1e-3  # metres; Gaussians that lie nearer to their vertices than this are one per vertex
MAX_DISTANCE = 0.05  # metres; a Gaussian farther from every labelled vertex has no true class
UNKNOWN = -1


class PointSubject(Protocol):
    """What is scored: Gaussians with a class each."""

    @property
    def means(self) -> NDArray[np.floating]: ...  # [N, 3] metres
    @property
    def scales(self) -> NDArray[np.floating]: ...  # [N, 3] metres
    @property
    def opacities(self) -> NDArray[np.floating]: ...  # [N]

    def classes_of_gaussians(self, names: Sequence[str]) -> NDArray[np.integer]:
        """The index [N] of the name whose text each Gaussian's language vector is nearest to; -1 without one."""
        ...


def scannet_points(
    subject: PointSubject, points: NDArray[np.floating], labels: NDArray[np.integer], num_classes: int = 19
) -> tuple[PeerUnit, ...]:
    """IoU and accuracy of each class present, over labelled vertices.

    Where the Gaussians are the vertices, one for each and in their order, vertices whose Gaussian is nearly
    transparent are left out; elsewhere a vertex has the class of the nearest Gaussian that is not.

    Args:
        points: [V, 3] metres, the vertices in the map's frame.
        labels: [V] NYU40, 0 unlabelled.
        num_classes: 19, 15 or 10.
    """
    truth = class_indices(labels, CLASS_SETS[num_classes])
    of_gaussian = np.asarray(subject.classes_of_gaussians(_names(num_classes)))
    is_opaque = np.asarray(subject.opacities) >= MIN_OPACITY
    means = np.asarray(subject.means)
    if len(means) == len(points) and (np.abs(means - points) < SAME_PLACE).all():
        return class_units(np.where(is_opaque, truth, UNKNOWN), of_gaussian, _names(num_classes))
    if not is_opaque.any():
        return class_units(truth, np.full(len(points), UNKNOWN), _names(num_classes))
    _, nearest = KDTree(means[is_opaque]).query(points)
    return class_units(truth, of_gaussian[is_opaque][nearest], _names(num_classes))


def volume_weighted(
    subject: PointSubject, points: NDArray[np.floating], labels: NDArray[np.integer], num_classes: int = 19
) -> tuple[PeerUnit, ...]:
    """IoU and accuracy of each class present, over Gaussians, each weighing as much as its volume times its opacity.

    A Gaussian's true class is that of the nearest vertex, if that is labelled and within MAX_DISTANCE; the paper does
    not say how Gaussians get theirs in detail.

    Args:
        points, labels, num_classes: as in `scannet_points`.
    """
    distance, nearest = KDTree(points).query(np.asarray(subject.means))
    truth = np.where(distance <= MAX_DISTANCE, class_indices(labels, CLASS_SETS[num_classes])[nearest], UNKNOWN)
    weight = np.prod(np.asarray(subject.scales, dtype=np.float64), axis=1) * np.asarray(subject.opacities)
    of_gaussian = np.asarray(subject.classes_of_gaussians(_names(num_classes)))
    return class_units(truth, of_gaussian, _names(num_classes), weight)


def class_units(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    names: Sequence[str],
    weight: NDArray[np.floating] | None = None,
) -> tuple[PeerUnit, ...]:
    """IoU and accuracy (recall) of each class that occurs in the truth [n]; what has none (-1) counts nowhere.

    Args:
        predicted: [n] indices of names, -1 for none, which is wrong wherever there is a truth.
        weight: [n] how much each counts; all the same if not given.
    """
    weight = np.ones(len(truth)) if weight is None else weight
    is_known = truth != UNKNOWN
    truth, predicted, weight = truth[is_known], predicted[is_known], weight[is_known]
    units = []
    for index, name in enumerate(names):
        is_true, is_predicted = truth == index, predicted == index
        if weight[is_true].sum() > 0:
            shared = float(weight[is_true & is_predicted].sum())
            iou = shared / float(weight[is_true | is_predicted].sum())
            accuracy = shared / float(weight[is_true].sum())
            units.append(PeerUnit(prompt=name, values={"iou": iou, "accuracy": accuracy}))
    return tuple(units)


def class_indices(labels: NDArray[np.integer], ids: Sequence[int]) -> NDArray[np.int64]:
    """The place [V] of each label among the ids; -1 where it is none of them."""
    table = np.full(max(int(labels.max(initial=0)), max(ids)) + 1, UNKNOWN, dtype=np.int64)
    table[list(ids)] = np.arange(len(ids))
    return table[labels]


def _names(num_classes: int) -> list[str]:
    return [NYU40[label] for label in CLASS_SETS[num_classes]]
