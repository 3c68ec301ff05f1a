# SPDX-License-Identifier: Apache-2.0
"""Boxes that stand upright around points, and do not mind a few strays."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.geometry import level_axes

ROUNDING = 1e-9  # metres
STRAY_SHARE = 0.01  # of the points, at either end of each axis, that may lie outside the box


def upright_box(points: NDArray[np.floating], up: NDArray[np.floating]) -> Box:
    """The box of least ground area around points [n, 3], n >= 1, whose z axis is `up` [3].

    Its x axis runs along the longer side on the ground. A box around few points may be flat: sizes can be 0.
    """
    axes = level_axes(up)
    local = axes @ points.T.astype(np.float64)
    core = _without_strays(local[:2])
    _, _, degrees = cv2.minAreaRect((core - core.mean(axis=1, keepdims=True)).T.astype(np.float32))
    turn = np.array([[np.cos(a := np.radians(degrees)), np.sin(a), 0.0], [-np.sin(a), np.cos(a), 0.0], [0.0, 0.0, 1.0]])
    axes, local = turn @ axes, turn @ local
    low, high = quantiles(local, STRAY_SHARE, 1.0 - STRAY_SHARE)
    if high[1] - low[1] > high[0] - low[0]:
        axes = np.stack([axes[1], -axes[0], axes[2]])
        low, high = np.array([low[1], -high[0], low[2]]), np.array([high[1], -low[0], high[2]])
    return Box(center=(low + high) / 2.0 @ axes, rotation=axes.T, size=high - low)


def is_inside(box: Box, points: NDArray[np.floating], margin: float = 0.0) -> NDArray[np.bool_]:
    """Which of points [n, 3] lie in a box grown by a margin in metres on every side."""
    local = np.abs(box.rotation.T @ points.T - (box.center @ box.rotation)[:, None])
    x, y, z = local <= (box.size / 2.0 + margin)[:, None]
    return x & y & z


def share_inside(box: Box, points: NDArray[np.floating], margin: float) -> float:
    """The share of points [n, 3] that lie in a box grown by a margin in metres on every side."""
    return float(np.count_nonzero(is_inside(box, points, margin)) / len(points))


def overlap(box: Box, other: Box) -> bool:
    """Whether two boxes have a point in common; touching counts.

    They have none where a plane lies between them, and if any does, then one along the faces of either, or along an
    edge of each (separating axis theorem).
    """
    edges = np.cross(box.rotation.T[:, None], other.rotation.T[None]).reshape(9, 3)  # 0 where edges are parallel
    axes = np.concatenate([box.rotation.T, other.rotation.T, edges])
    reach = np.abs(axes @ box.rotation) @ box.size + np.abs(axes @ other.rotation) @ other.size
    return bool((np.abs(axes @ (other.center - box.center)) <= reach / 2.0 + ROUNDING).all())


def quantiles(values: NDArray[np.floating], *shares: float) -> NDArray[np.float64]:
    """The quantiles [q, d] of each row of values [d, n], n >= 1, linear between neighbours.

    As np.quantile has them, which takes a quarter of a millisecond before it looks at the values.
    """
    last = values.shape[1] - 1
    below = [int(share * last) for share in shares]
    above = [min(place + 1, last) for place in below]
    ranked = np.partition(values, sorted({*below, *above}), axis=1)
    low, high = ranked[:, below].T.astype(np.float64), ranked[:, above].T.astype(np.float64)
    between = [[share * last - place] for share, place in zip(shares, below, strict=True)]
    return low + (high - low) * between


def _without_strays(ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [2, n] but for those at the far ends of their two main directions."""
    centred = ground - quantiles(ground, 0.5).T
    _, directions = np.linalg.eigh(centred @ centred.T)
    local = directions.T @ centred
    (low_x, low_y), (high_x, high_y) = quantiles(local, STRAY_SHARE, 1.0 - STRAY_SHARE)
    x, y = local
    is_core = (x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y)
    return ground.compress(is_core, axis=1) if is_core.any() else ground
