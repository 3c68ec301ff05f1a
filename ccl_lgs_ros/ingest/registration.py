# SPDX-License-Identifier: Apache-2.0
"""Depth of one camera carried into another: every depth pixel is lifted to 3D and drawn, near before far."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.ingest.rectify import Lens

# A depth pixel covers this much more than its share, so that a surface seen more squarely than by the depth camera
# shows no cracks. Much more would widen what is in front.
FOOTPRINT_MARGIN = 1.1
MAX_HALF_FOOTPRINT = 16.0  # pixels; points almost in the camera's plane would cover all of it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RayMap:
    """What each pixel of a lens sees, made once per lens."""

    directions: NDArray[np.float32]  # [H, W, 2] x/z and y/z of a pixel's centre
    spacing: NDArray[np.float32]  # [H, W, 2] how much of x/z and y/z a pixel covers

    @staticmethod
    def of(lens: Lens) -> "RayMap":
        """The rays of a lens; distortion makes pixels cover unequal shares."""
        rays = lens.rays()
        if not lens.distortion or min(rays.shape[:2]) < 2:
            even = np.array([1.0 / lens.fx, 1.0 / lens.fy], dtype=np.float32)
            return RayMap(directions=rays, spacing=np.broadcast_to(even, rays.shape))
        across, down = np.gradient(rays[..., 0], axis=1), np.gradient(rays[..., 1], axis=0)
        return RayMap(directions=rays, spacing=np.abs(np.stack([across, down], axis=-1)))


def register_depth(
    depth: NDArray[np.float32], rays: RayMap, camera: Camera, camera_from_depth: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Depth as `camera` sees it, [H, W] metres along its z; NaN where no depth pixel lands.

    A depth pixel is drawn as the rectangle that it covers, so that a coarser depth image leaves no holes.

    Args:
        depth: [h, w] metres, NaN unknown, as the lens took it (distorted).
        rays: of the depth camera's lens.
        camera: the undistorted colour camera.
        camera_from_depth: [4, 4] between the optical frames.
    """
    is_known = np.isfinite(depth)
    z_depth = depth[is_known]
    xy = rays.directions[is_known] * z_depth[:, None]
    rotation, translation = camera_from_depth[:3, :3].astype(np.float32), camera_from_depth[:3, 3].astype(np.float32)
    points = np.column_stack([xy, z_depth]) @ rotation.T + translation
    in_front = points[:, 2] > 0
    points, reach = points[in_front], (rays.spacing[is_known] * z_depth[:, None])[in_front]
    z = points[:, 2]
    u = camera.fx * points[:, 0] / z + camera.cx
    v = camera.fy * points[:, 1] / z + camera.cy
    half = 0.5 * FOOTPRINT_MARGIN * reach / z[:, None]
    half_width = np.minimum(half[:, 0] * camera.fx, MAX_HALF_FOOTPRINT)
    half_height = np.minimum(half[:, 1] * camera.fy, MAX_HALF_FOOTPRINT)
    return _drawn(u, v, half_width, half_height, z.astype(np.float32), camera.width, camera.height)


def _drawn(
    u: NDArray, v: NDArray, half_width: NDArray, half_height: NDArray, z: NDArray[np.float32], width: int, height: int
) -> NDArray[np.float32]:
    """The least z per pixel whose centre lies in a rectangle about (u, v)."""
    is_near = (u + half_width > 0) & (u - half_width < width) & (v + half_height > 0) & (v - half_height < height)
    u, v, half_width, half_height, z = (x[is_near] for x in (u, v, half_width, half_height, z))
    left, right = np.ceil(u - half_width - 0.5).astype(np.int64), np.ceil(u + half_width - 0.5).astype(np.int64)
    top, bottom = np.ceil(v - half_height - 0.5).astype(np.int64), np.ceil(v + half_height - 0.5).astype(np.int64)
    left, right = np.maximum(left, 0), np.minimum(right, width)  # columns left <= x < right
    top, bottom = np.maximum(top, 0), np.minimum(bottom, height)
    nearest = np.full(width * height, np.inf, dtype=np.float32)
    for dy in range(int((bottom - top).max(initial=0))):
        for dx in range(int((right - left).max(initial=0))):
            covers = (top + dy < bottom) & (left + dx < right)
            np.minimum.at(nearest, (top[covers] + dy) * width + left[covers] + dx, z[covers])
    nearest[np.isinf(nearest)] = np.nan
    return nearest.reshape(height, width)
