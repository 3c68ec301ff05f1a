# SPDX-License-Identifier: Apache-2.0
"""Whose left is left: the place and direction from which a request is meant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.geometry import level_axes, rigid
from ccl_lgs_ros.query.placed import Placed
from ccl_lgs_ros.query.viewed_from import ViewedFrom

LEAST_DIRECTION = 0.2  # of a unit vector, along the ground; a camera that looks steeper has its top edge ahead


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Viewpoint:
    """A viewer in a frame whose z is up."""

    position: NDArray[np.float64]  # [3] metres
    forward: NDArray[np.float64]  # [2] unit, on the ground
    said: str  # "as seen from keyframe 12"

    def bearing(self, point: NDArray[np.float64]) -> float:
        """How far to the right of straight ahead a point [3] is seen, radians in (-pi, pi]."""
        x, y = point[:2] - self.position[:2]
        ahead, right = self.forward @ (x, y), self.forward @ (-y, x)
        return float(np.arctan2(right, ahead))

    def ahead_at(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """The direction [2] on the ground of the line of sight to a point [3]; straight ahead where it is overhead."""
        sight = point[:2] - self.position[:2]
        length = float(np.linalg.norm(sight))
        return sight / length if length > 1e-6 else self.forward


Where = Callable[[Sequence[Placed]], Viewpoint]  # the viewpoint for a request about some things


def where_from(
    up: NDArray[np.floating],
    means: Tensor,
    seen_from: NDArray[np.float64] | None,
    views: ViewedFrom | None,
) -> Where:
    """What decides on the viewpoint: whoever asks, else the best view of the things, else the middle of the map.

    Args:
        up: [3] in the world.
        means: [N, 3] of the map's Gaussians.
        seen_from: [4, 4] world_from_viewer, axes of a camera.
    """
    level = level_axes(up)

    def where(things: Sequence[Placed]) -> Viewpoint:
        if seen_from is not None:
            return _viewer(level, seen_from, "as seen from where it was asked")
        around = np.concatenate([thing.points for thing in things])
        best = views.best(around @ level) if views else np.zeros(0, np.int64)
        if views and len(best):
            return _viewer(level, views.pose_of(int(best[0])), f"as seen from keyframe {best[0]}")
        stand, towards = level @ np.median(means.numpy(force=True), axis=0), around.mean(axis=0)
        sight = (towards - stand)[:2]
        length = float(np.linalg.norm(sight))
        forward = sight / length if length > 1e-6 else np.array([1.0, 0.0])
        return Viewpoint(position=stand, forward=forward, said="as seen from the middle of the map")

    return where


def standing_at(position: NDArray[np.floating], yaw: float, up: NDArray[np.floating]) -> NDArray[np.float64]:
    """world_from_viewer [4, 4], axes of a camera, of who stands at [3] metres and looks ahead.

    Args:
        yaw: radians from the first to the second direction of `level_axes(up)`: from x to y where z is up.
    """
    x, y, z = level_axes(up)
    forward, right = np.cos(yaw) * x + np.sin(yaw) * y, np.sin(yaw) * x - np.cos(yaw) * y
    return rigid(np.stack([right, -z, forward], axis=1), position)


def _viewer(level: NDArray[np.float64], world_from_viewer: NDArray[np.float64], said: str) -> Viewpoint:
    """The viewpoint of a camera [4, 4]."""
    turn = level @ world_from_viewer[:3, :3]
    look, top = turn[:2, 2], -turn[:2, 1]
    forward = look if np.linalg.norm(look) > LEAST_DIRECTION else top * (-1.0 if turn[2, 2] > 0.0 else 1.0)
    return Viewpoint(position=level @ world_from_viewer[:3, 3], forward=forward / np.linalg.norm(forward), said=said)
