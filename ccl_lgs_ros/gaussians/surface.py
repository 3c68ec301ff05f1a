# SPDX-License-Identifier: Apache-2.0
"""What a depth image says of the surface that it saw: without flying pixels, small holes closed, with normals.

numpy and OpenCV. Sparse sensors (projected dots, lidar) measure a grid of pixels; every window grows with the
distance between the measured ones.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

RELATIVE_STEP = 0.04  # of the depth; a neighbour farther off than this lies on another surface
DENSITY_WINDOW = 15  # pixels; over which the share of measured pixels is taken
MAX_SPACING = 8  # pixels between measured ones; what is sparser is not closed
MIN_SUPPORT = 0.34  # share of the measured neighbours that must lie on a pixel's surface
MAX_SLOPE = 0.97  # sine of the angle to the line of sight, from which a surface is seen edge-on


def spacing_of(depth: NDArray[np.float32]) -> int:
    """How many pixels apart the measured ones lie, 1 for a dense image, at most MAX_SPACING."""
    known = np.isfinite(depth)
    if not known.any():
        return 1
    density = cv2.blur(known.astype(np.float32), (DENSITY_WINDOW, DENSITY_WINDOW))
    return int(np.clip(np.rint(1.0 / np.sqrt(np.median(density[known]))), 1, MAX_SPACING))


def without_flying_pixels(depth: NDArray[np.float32], spacing: int) -> NDArray[np.float32]:
    """The depth with pixels unknown that few neighbours agree with: those between a near and a far surface."""
    known = np.isfinite(depth)
    filled = np.where(known, depth, 0.0).astype(np.float32)
    agreeing = np.zeros(depth.shape, np.float32)
    measured = np.zeros(depth.shape, np.float32)
    for dy, dx in _offsets(spacing):
        neighbour = _shifted(filled, dy, dx)
        is_known = neighbour > 0
        measured += is_known
        agreeing += is_known & (np.abs(neighbour - filled) < RELATIVE_STEP * filled)
    return np.where(known & (agreeing > MIN_SUPPORT * measured), depth, np.nan).astype(np.float32)


def closed(depth: NDArray[np.float32], spacing: int) -> NDArray[np.float32]:
    """The depth with small holes closed where all that is measured around them lies on one surface."""
    known = np.isfinite(depth)
    window = (2 * spacing + 1, 2 * spacing + 1)
    kernel = np.ones(window, np.uint8)
    nearest = cv2.erode(np.where(known, depth, np.inf).astype(np.float32), kernel)
    farthest = cv2.dilate(np.where(known, depth, -np.inf).astype(np.float32), kernel)
    weight = cv2.GaussianBlur(known.astype(np.float32), window, 0.5 * spacing + 0.5)
    total = cv2.GaussianBlur(np.where(known, depth, 0.0).astype(np.float32), window, 0.5 * spacing + 0.5)
    # A hole is closed from both sides only, so that surfaces do not grow at their rims.
    surrounded = cv2.erode(cv2.dilate(known.astype(np.uint8), kernel), kernel) > 0
    with np.errstate(invalid="ignore", over="ignore"):  # windows without anything measured
        is_one_surface = (farthest - nearest) < 2.0 * RELATIVE_STEP * nearest
    can_close = ~known & surrounded & (weight > 0) & is_one_surface
    mean = total / np.maximum(weight, np.finfo(np.float32).tiny)
    return np.where(can_close, mean, depth).astype(np.float32)


def normals_of(points: NDArray[np.float32], spacing: int) -> NDArray[np.float32]:
    """Unit normals [H, W, 3] towards the camera of points [H, W, 3] in its frame; NaN where the surface is unclear."""
    across = _shifted(points, 0, spacing) - _shifted(points, 0, -spacing)
    down = _shifted(points, spacing, 0) - _shifted(points, -spacing, 0)
    normals = np.cross(down, across)
    size = np.linalg.norm(normals, axis=-1, keepdims=True)
    ray = points / np.linalg.norm(points, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        normals = normals / size
        normals *= -np.sign((normals * ray).sum(-1, keepdims=True))
        step = np.maximum(np.abs(across[..., 2]), np.abs(down[..., 2]))
        cosine = np.abs((normals * ray).sum(-1))
        is_clear = (step < 2.0 * RELATIVE_STEP * points[..., 2]) & (cosine > np.sqrt(1.0 - MAX_SLOPE**2))
    return np.where(is_clear[..., None], normals, np.nan).astype(np.float32)


def _offsets(spacing: int) -> list[tuple[int, int]]:
    reach = range(-spacing, spacing + 1)
    return [(dy, dx) for dy in reach for dx in reach if (dy, dx) != (0, 0)]


def _shifted(image: NDArray[np.float32], dy: int, dx: int) -> NDArray[np.float32]:
    """The image's value dy rows below and dx columns to the right of each pixel; 0 or NaN-free edges repeat."""
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) + dy, 0, height - 1)
    columns = np.clip(np.arange(width) + dx, 0, width - 1)
    return image[rows][:, columns]
