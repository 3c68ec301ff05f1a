# SPDX-License-Identifier: Apache-2.0
"""Depth of one camera carried into another: every depth pixel is lifted to 3D and drawn, near before far."""

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.ingest.rectify import Lens

# A depth pixel covers this much more than its share, so that a surface seen more squarely than by the depth camera
# shows no cracks. Much more would widen what is in front.
FOOTPRINT_MARGIN = 1.1
MAX_HALF_FOOTPRINT = 16.0  # pixels; points almost in the camera's plane would cover all of it


def register_depth(
    depth: NDArray[np.float32],
    depth_lens: Lens,
    camera: Camera,
    camera_from_depth: NDArray[np.float64],
    rays: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Depth as `camera` sees it, [H, W] metres along its z; NaN where no depth pixel lands.

    A depth pixel is drawn as the rectangle that it covers, so that a coarser depth image leaves no holes.

    Args:
        depth: [h, w] metres, NaN unknown, as the lens took it (distorted).
        depth_lens: the depth camera.
        camera: the undistorted colour camera.
        camera_from_depth: [4, 4] between the optical frames.
        rays: depth_lens.rays(), where the caller keeps them.
    """
    rays = depth_lens.rays() if rays is None else rays
    is_known = np.isfinite(depth)
    z_depth = depth[is_known]
    xy = rays[is_known] * z_depth[:, None]
    rotation, translation = camera_from_depth[:3, :3].astype(np.float32), camera_from_depth[:3, 3].astype(np.float32)
    points = np.column_stack([xy, z_depth]) @ rotation.T + translation
    in_front = points[:, 2] > 0
    points, z_depth = points[in_front], z_depth[in_front]
    z = points[:, 2]
    u = camera.fx * points[:, 0] / z + camera.cx
    v = camera.fy * points[:, 1] / z + camera.cy
    half = 0.5 * FOOTPRINT_MARGIN * z_depth / z
    half_width = np.minimum(half * (camera.fx / depth_lens.fx), MAX_HALF_FOOTPRINT)
    half_height = np.minimum(half * (camera.fy / depth_lens.fy), MAX_HALF_FOOTPRINT)
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
