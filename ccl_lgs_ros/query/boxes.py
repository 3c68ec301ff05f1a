# SPDX-License-Identifier: Apache-2.0
"""Boxes that stand upright around points, and do not mind a few strays."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box

STRAY_PERCENT = 1.0  # of the points, at either end of each axis, that may lie outside the box


def upright_box(points: NDArray[np.floating], up: NDArray[np.floating]) -> Box:
    """The box of least ground area around points [n, 3], n >= 1, whose z axis is `up` [3].

    Its x axis runs along the longer side on the ground. A box around few points may be flat: sizes can be 0.
    """
    axes = level_axes(up)
    local = points.astype(np.float64) @ axes.T
    core = _without_strays(local[:, :2])
    _, _, degrees = cv2.minAreaRect((core - core.mean(axis=0)).astype(np.float32))
    turn = np.array([[np.cos(a := np.radians(degrees)), np.sin(a), 0.0], [-np.sin(a), np.cos(a), 0.0], [0.0, 0.0, 1.0]])
    axes, local = turn @ axes, local @ turn.T
    low, high = np.percentile(local, [STRAY_PERCENT, 100.0 - STRAY_PERCENT], axis=0)
    if high[1] - low[1] > high[0] - low[0]:
        axes = np.stack([axes[1], -axes[0], axes[2]])
        low, high = np.array([low[1], -high[0], low[2]]), np.array([high[1], -low[0], high[2]])
    return Box(center=(low + high) / 2.0 @ axes, rotation=axes.T, size=high - low)


def share_inside(box: Box, points: NDArray[np.floating], margin: float) -> float:
    """The share of points [n, 3] that lie in a box grown by a margin in metres on every side."""
    local = (points - box.center) @ box.rotation
    return float((np.abs(local) <= box.size / 2.0 + margin).all(axis=1).mean())


def level_axes(up: NDArray[np.floating]) -> NDArray[np.float64]:
    """A right-handed frame [3, 3] as rows: two directions on the ground, then up. For up = +z it is x, y, z."""
    z = np.asarray(up, dtype=np.float64) / np.linalg.norm(up)
    helper = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x = helper - z * (helper @ z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def _without_strays(ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [n, 2] but for those at the far ends of their two main directions."""
    centred = ground - np.median(ground, axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    local = centred @ directions
    low, high = np.percentile(local, [STRAY_PERCENT, 100.0 - STRAY_PERCENT], axis=0)
    is_core = ((local >= low) & (local <= high)).all(axis=1)
    return ground[is_core] if is_core.any() else ground
