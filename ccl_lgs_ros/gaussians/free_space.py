# SPDX-License-Identifier: Apache-2.0
"""Which Gaussians hang in space that depth images looked through: wrong edges of depth, and what has moved."""

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import transform_points
from ccl_lgs_ros.structures import Gaussians

WINDOW_PX = 5  # side of the window in which depth is compared, so that poses may err by some pixels
TOLERANCE = 0.05  # of the depth, by which depth images and poses may err
NEAREST = 0.05  # metres; what is nearer to a camera counts as behind it


def is_looked_through(gaussians: Gaussians, keyframes: Iterable[Keyframe]) -> Tensor:
    """Which Gaussians [N] bool more keyframes looked through than measured.

    A keyframe looks through a Gaussian that lies clearly in front of all depth measured about its pixel, and measures
    one that lies within the depths measured there. Where depth is unknown, a keyframe says nothing.
    """
    means = gaussians.means.detach().cpu().numpy().astype(np.float64)
    balance = np.zeros(len(means), dtype=np.int64)
    for keyframe in keyframes:
        if keyframe.depth is not None:
            seen, row, column, z = _pixels(keyframe.camera, transform_points(keyframe.camera_from_world, means))
            nearest, farthest = _depth_range(keyframe.depth)
            nearest, farthest = nearest[row, column], farthest[row, column]
            is_through = z < (1.0 - TOLERANCE) * nearest
            is_measured = ~is_through & (z <= (1.0 + TOLERANCE) * farthest)
            known = np.isfinite(nearest)
            np.add.at(balance, seen[known & is_through], 1)
            np.add.at(balance, seen[known & is_measured], -1)
    return torch.from_numpy(balance > 0).to(gaussians.means.device)


def _pixels(
    camera: Camera, points: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]:
    """Of points [n, 3] in the camera's frame, those in the image: which, their row, column and depth."""
    uv = camera.project(points)
    with np.errstate(invalid="ignore"):  # NaN behind the camera compares as false
        is_seen = (points[:, 2] > NEAREST) & (uv >= 0).all(axis=1) & (uv < [camera.width, camera.height]).all(axis=1)
    column, row = uv[is_seen].astype(np.int64).T
    return np.flatnonzero(is_seen), row, column, points[is_seen, 2]


def _depth_range(depth: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The least and the greatest depth [H, W] known about each pixel; infinite, of either sign, where none is."""
    window = np.ones((WINDOW_PX, WINDOW_PX), np.uint8)
    known = np.isfinite(depth)
    largest = float(np.finfo(np.float32).max)
    nearest = cv2.erode(np.where(known, depth, largest).astype(np.float32), window)
    farthest = cv2.dilate(np.where(known, depth, -largest).astype(np.float32), window)
    is_known = nearest < largest
    return np.where(is_known, nearest, np.inf), np.where(is_known, farthest, -np.inf)
