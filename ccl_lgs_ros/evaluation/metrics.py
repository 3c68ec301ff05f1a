# SPDX-License-Identifier: Apache-2.0
"""The figures that maps are compared by, each a function of plain arrays.

A unit is one prompt in one view. Sources: LangSplat (Qin et al., 2024) for the 2D figures; view consistency is ours.
"""

from collections.abc import Sequence
from itertools import permutations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import invert_rigid, transform_points

Mask = NDArray[np.bool_]

SMOOTHING_SHARE = 0.03  # of the image width: the window of the mean filter (30 pixels at about 1000 in LangSplat)
DEPTH_TOLERANCE = 0.02  # relative difference of depth up to which a pixel of one view shows in the other
MIN_SHARED = 0.25  # share of a mask that the other view must show too for the pair to say anything about it
MIN_PAIR_OVERLAP = 0.1  # share of a view's pixels that another must show for the two to be a pair


def mask_iou(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks; 0 where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0


def mean_iou(ious: Sequence[float]) -> float:
    """The mean over units: query-weighted within a scene."""
    return float(np.mean(ious))


def scene_macro(scores: Sequence[Sequence[float]]) -> float:
    """The mean over scenes of each scene's mean over units, so that a scene with many labels does not weigh more."""
    return float(np.mean([np.mean(units) for units in scores]))


def query_weighted(scores: Sequence[Sequence[float]]) -> float:
    """The mean over the units of all scenes together."""
    return float(np.mean(np.concatenate([np.asarray(units) for units in scores])))


def accuracy_at(ious: Sequence[float], threshold: float) -> float:
    """The share of units whose IoU is above a threshold."""
    return float((np.asarray(ious) > threshold).mean())


def is_localised(relevancy: NDArray[np.floating], boxes: NDArray[np.floating]) -> bool:
    """Whether the peak of the smoothed relevancy [H, W] lies in any of the boxes [n, 4] (left, top, right, bottom).

    Any of several equal peaks counts; a map that is zero everywhere has no peak.
    """
    size = max(1, round(SMOOTHING_SHARE * relevancy.shape[1]))
    smooth = cv2.blur(np.asarray(relevancy, dtype=np.float64), (size, size))
    if smooth.max() <= 0:
        return False
    rows, columns = np.nonzero(smooth >= smooth.max() * (1 - 1e-9))
    left, top, right, bottom = boxes.T[..., None]
    return bool(((columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)).any())


def false_alarm_rate(is_answered: Sequence[bool]) -> float:
    """The share of prompts for absent things that got any answer."""
    return float(np.mean(is_answered))


class ViewPairs:
    """Which pixel of one view shows the same point as which pixel of another, by true depth.

    Args:
        cameras, poses, depths: of each view; depth [H, W] in metres along z, NaN unknown.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        poses: Sequence[NDArray[np.floating]],
        depths: Sequence[NDArray[np.floating]],
    ) -> None:
        self._pairs: list[tuple[int, int, NDArray[np.int64], NDArray[np.int64]]] = []
        points = [
            transform_points(pose, camera.unproject(depth)).reshape(-1, 3)
            for camera, pose, depth in zip(cameras, poses, depths, strict=True)
        ]
        for i, j in permutations(range(len(cameras)), 2):
            here, there = _correspondences(points[i], cameras[j], invert_rigid(poses[j]), depths[j])
            if len(here) > MIN_PAIR_OVERLAP * np.isfinite(depths[i]).sum():
                self._pairs.append((i, j, here, there))

    def __len__(self) -> int:
        return len(self._pairs)

    def consistencies(self, masks: Sequence[Mask]) -> list[float]:
        """For each pair that sees the same part of a thing, the IoU of the one mask [H, W] with the other's.

        A pair says something where a share of the mask of either view lies on shared pixels. Without that rule, two
        views from opposite sides would be compared on the few background pixels around the thing that both see.
        """
        flat = [mask.ravel() for mask in masks]
        area = [int(mask.sum()) for mask in flat]
        found = []
        for i, j, here, there in self._pairs:
            first, second = flat[i][here], flat[j][there]
            shared = ((int(first.sum()), area[i]), (int(second.sum()), area[j]))
            if any(seen > MIN_SHARED * whole for seen, whole in shared):
                found.append(mask_iou(first, second))
        return found


def _correspondences(
    points: NDArray[np.floating], camera: Camera, camera_from_world: NDArray[np.floating], depth: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    seen = transform_points(camera_from_world, points)
    pixels = np.nan_to_num(np.floor(camera.project(seen)), nan=-1.0, posinf=-1.0, neginf=-1.0)
    u, v = pixels.T
    inside = np.flatnonzero((u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height))
    there = v[inside].astype(np.int64) * camera.width + u[inside].astype(np.int64)
    measured = depth.ravel()[there]
    agrees = np.abs(measured - seen[inside, 2]) <= DEPTH_TOLERANCE * seen[inside, 2]  # false where NaN
    return inside[agrees], there[agrees]


def matched(cost: NDArray[np.floating]) -> list[tuple[int, int]]:
    """The one-to-one pairs (row, column) of least total cost [n, m]; the surplus of the longer side stays unpaired."""
    rows, columns = linear_sum_assignment(cost)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def average_precision(scores: Sequence[float], ious: NDArray[np.floating], threshold: float) -> float:
    """The area under precision over recall of predictions [n] with IoUs [n, m] against m true things.

    Best score first, each prediction takes the free true thing that it overlaps most, if by more than the threshold.
    Precision is made monotonous first. 0 where there is a truth but no prediction; NaN without any truth.
    """
    n, m = ious.shape
    if m == 0:
        return float("nan")
    is_free, is_right = np.ones(m, dtype=bool), np.zeros(n, dtype=bool)
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    for rank, index in enumerate(order):
        best = int(np.argmax(np.where(is_free, ious[index], -1.0)))
        if is_free[best] and ious[index, best] > threshold:
            is_free[best], is_right[rank] = False, True
    hits = np.cumsum(is_right)
    precision = np.maximum.accumulate((hits / np.arange(1, n + 1))[::-1])[::-1]
    return float((precision * is_right).sum() / m)
