# SPDX-License-Identifier: Apache-2.0
"""Gaussians that stand where cameras look through: what moved, and pixels that flew."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.gaussians.surface import spacing_of
from ccl_lgs_ros.geometry import transform_points

TOLERANCE = 0.05  # of the depth; nearer than this to the measured surface counts as on it
WINDOW = 1  # pixels around a projected centre, times the spacing of the depth image, against slight misalignment


class FreeSpace:
    """Counts, keyframe by keyframe, who saw each Gaussian on a surface and who looked through it.

    Args:
        means: [N, 3] centres in the world.
    """

    def __init__(self, means: Tensor) -> None:
        self._means = means.detach().cpu().numpy().astype(np.float64)
        self._confirmed = np.zeros(len(self._means), np.int32)
        self._contradicted = np.zeros(len(self._means), np.int32)

    def add(self, keyframe: Keyframe) -> None:
        """Compare the Gaussians with what a keyframe's depth measured."""
        confirmed, contradicted = compared(self._means, keyframe)
        self._confirmed += confirmed
        self._contradicted += contradicted

    def is_empty(self) -> Tensor:
        """[N] bool: no fewer keyframes looked through the Gaussian than saw it.

        What one keyframe showed and one other contradicts is more often something that moved, or a pixel that flew,
        than a surface; a map that lacks it is better than one whose cameras look into it.
        """
        return torch.from_numpy((self._contradicted > 0) & (self._contradicted >= self._confirmed))


def compared(means: NDArray[np.floating], keyframe: Keyframe) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which centres [N, 3] a keyframe's depth shows on a surface [N], and which it looks through [N].

    The others are hidden, outside of the image, or where nothing was measured.
    """
    confirmed, contradicted = np.zeros(len(means), bool), np.zeros(len(means), bool)
    if keyframe.depth is None:
        return confirmed, contradicted
    points = transform_points(keyframe.camera_from_world, means)
    nearest, farthest = _measured_range(keyframe.depth)
    seen, rows, columns = _pixels(points, keyframe.camera)
    z, near, far = points[seen, 2], nearest[rows, columns], farthest[rows, columns]
    is_measured = far > 0
    is_before = z < (1.0 - TOLERANCE) * near
    contradicted[seen] = is_measured & is_before
    confirmed[seen] = is_measured & ~is_before & (z <= (1.0 + TOLERANCE) * far)
    return confirmed, contradicted


def _measured_range(depth: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The nearest and the farthest depth measured around each pixel; infinite and 0 where nothing was."""
    reach = WINDOW * spacing_of(depth)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    known = np.isfinite(depth)
    nearest = cv2.erode(np.where(known, depth, np.inf).astype(np.float32), kernel)
    farthest = cv2.dilate(np.where(known, depth, 0.0).astype(np.float32), kernel)
    return np.where(farthest > 0, nearest, np.inf).astype(np.float32), np.asarray(farthest, np.float32)


def _pixels(
    points: NDArray[np.floating], camera: Camera
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Which points [N, 3] of the camera's frame fall into the image, and the row and column of each."""
    pixels = camera.project(points)
    with np.errstate(invalid="ignore"):
        is_seen = (pixels >= 0).all(axis=1) & (pixels[:, 0] < camera.width) & (pixels[:, 1] < camera.height)
    seen = np.nonzero(is_seen)[0]
    columns, rows = np.floor(pixels[seen]).astype(np.int64).T
    return seen, rows, columns
