# SPDX-License-Identifier: Apache-2.0
"""The cameras that saw the map, and which of them shows a thing best. numpy only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera

MOST_POINTS = 64  # of a thing that are looked at, evenly spread: enough to tell how much of it a view shows
MARGIN = 0.02  # of a picture's sides: what lies there is cut off
LARGE = 0.1  # share of a picture; a thing that fills more is not shown better
BEHIND = 0.05, 0.03  # metres, and share of its depth, that a point may lie behind what was measured, and be seen
LEAST_SEEN = 0.3  # share of a thing; a view that shows less does not show it
LOOKED_UP = 12  # views whose depth is looked up for one thing
EDGE_ON = 0.2  # what a surface counts for that is seen from behind

Depth = NDArray[np.floating]  # [h, w] metres along z, coarse; NaN or 0 where unknown


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewedFrom:
    """The keyframes of a map without their pixels."""

    keyframe_ids: NDArray[np.int64]  # [V]
    cameras: Sequence[Camera]  # [V]
    world_from_camera: NDArray[np.float64]  # [V, 4, 4]
    sharpness: NDArray[np.float64] | None = None  # [V]; None = all alike
    depth_of: Callable[[int], Depth | None] | None = None  # of the view at a place; None = nothing is known to hide

    def __post_init__(self) -> None:
        count = len(self.keyframe_ids)
        if len(self.cameras) != count or self.world_from_camera.shape != (count, 4, 4):
            raise ValueError(
                f"expected {count} cameras and poses [{count}, 4, 4], got {len(self.cameras)} and "
                f"{self.world_from_camera.shape}"
            )

    def __len__(self) -> int:
        return len(self.keyframe_ids)

    @property
    def positions(self) -> NDArray[np.float64]:  # [V, 3] metres, world
        """Where the cameras were."""
        return self.world_from_camera[:, :3, 3]

    def pose_of(self, keyframe_id: int) -> NDArray[np.float64]:
        """world_from_camera [4, 4] of a keyframe by its id."""
        return self.world_from_camera[int(np.flatnonzero(self.keyframe_ids == keyframe_id)[0])]

    def best(
        self, points: NDArray[np.floating], normals: NDArray[np.floating] | None = None, count: int = 5
    ) -> NDArray[np.int64]:
        """The ids of the keyframes that show points [n, 3] best, best first: large, whole, unhidden, central, sharp.

        Args:
            normals: [n, 3] unit, outwards; a view of the back is worth less.
            count: ids at most; fewer where fewer views show the points.
        """
        if len(self) == 0 or len(points) == 0:
            return np.zeros(0, np.int64)
        spread = np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).astype(np.int64)
        points = points[spread].astype(np.float64)
        pixels, depth = self._projected(points)
        seen = self._inside(pixels, depth)
        merit = self._merit(pixels, seen) * self._facing(points, None if normals is None else normals[spread])
        order = np.argsort(-merit, kind="stable")
        order = order[merit[order] > 0.0][: max(LOOKED_UP, count)]
        unhidden = np.array([self._unhidden(v, pixels[v], depth[v], seen[v]) for v in order])
        shown = unhidden * seen[order].mean(axis=1) >= LEAST_SEEN
        rank = np.argsort(-(merit[order] * unhidden)[shown], kind="stable")
        return self.keyframe_ids[order[shown][rank][:count]]

    def _projected(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points [n, 3] in all views as shares of width and height [V, n, 2], and their depths [V, n] in metres."""
        turn, position = self.world_from_camera[:, :3, :3], self.positions
        local = np.einsum("vji,vnj->vni", turn, points[None] - position[:, None])
        depth = local[..., 2]
        # Focal lengths and centres as shares of the sides.
        inner = np.array([[c.fx / c.width, c.fy / c.height, c.cx / c.width, c.cy / c.height] for c in self.cameras])
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = local[..., :2] / depth[..., None] * inner[:, None, :2] + inner[:, None, 2:]
        return pixels, depth

    @staticmethod
    def _inside(pixels: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which points lie in which picture [V, n]."""
        return (depth > 0.0) & (np.abs(pixels - 0.5) < 0.5 - MARGIN).all(axis=-1)

    def _merit(self, pixels: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How well each view [V] shows the points, what hides them left out."""
        whole = seen.mean(axis=1)
        low = np.where(seen[..., None], pixels, np.inf).min(axis=1)
        high = np.where(seen[..., None], pixels, -np.inf).max(axis=1)
        low, high = np.where(whole[:, None] > 0.0, (low, high), 0.5)
        size, off_centre = np.prod(high - low, axis=1), np.linalg.norm((low + high) / 2.0 - 0.5, axis=1)
        merit = whole**2 * np.sqrt(np.minimum(size, LARGE) / LARGE) * (1.0 - off_centre / 2.0)
        if self.sharpness is not None and np.median(self.sharpness) > 0.0:
            merit = merit * np.clip(self.sharpness / np.median(self.sharpness), 0.1, 1.0) ** 0.5
        return merit

    def _facing(self, points: NDArray[np.float64], normals: NDArray[np.floating] | None) -> NDArray[np.float64]:
        """How much of the surface faces each view [V], from EDGE_ON to 1."""
        if normals is None:
            return np.ones(len(self))
        towards = self.positions[:, None] - points[None]
        is_facing = np.einsum("vni,ni->vn", towards, normals) > 0.0
        return EDGE_ON + (1.0 - EDGE_ON) * is_facing.mean(axis=1)

    def _unhidden(
        self, view: int, pixels: NDArray[np.float64], depth: NDArray[np.float64], seen: NDArray[np.bool_]
    ) -> float:
        """The share of the points in a picture that nothing hides."""
        measured = self.depth_of(view) if self.depth_of else None
        if measured is None:
            return 1.0
        height, width = measured.shape
        column, row = (pixels[seen] * (width, height)).astype(np.int64).T
        there = np.nan_to_num(measured[row, column], nan=0.0)
        margin = BEHIND[0] + BEHIND[1] * depth[seen]
        return float(((there <= 0.0) | (depth[seen] <= there + margin)).mean())
