# SPDX-License-Identifier: Apache-2.0
"""Where the floor is, and which of its cells are free, occupied or unknown."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.grid import FREE, OCCUPIED, UNKNOWN, Grid
from ccl_lgs_ros.navigation.columns import MIN_OPACITY, SLICE, Columns, axes_of
from ccl_lgs_ros.structures import Gaussians

LEVEL = 0.9  # cosine between up and the normal of a level surface
BIN = 0.02  # metres of height
MIN_FLOOR_AREA = 1.5  # square metres: more than a table top
MIN_FLOOR_SHARE = 0.2  # of the largest level surface; a ceiling may be larger than what was seen of the floor


def floor_height(gaussians: Gaussians, up: NDArray[np.floating]) -> float | None:
    """The height along `up` [3] of the lowest large level surface; None where there is none."""
    scales = gaussians.scales.numpy(force=True)
    opacity = gaussians.opacities.numpy(force=True)
    up = (np.asarray(up) / np.linalg.norm(up)).astype(np.float32)
    thin = scales.argmin(1)
    normal = np.take_along_axis(axes_of(gaussians), thin[:, None, None], axis=2)[:, :, 0]
    is_level = (np.abs(normal @ up) > LEVEL) & (opacity >= MIN_OPACITY)
    height = gaussians.means.numpy(force=True)[is_level] @ up
    area = (np.pi * np.sort(scales[is_level], axis=1)[:, 1:].prod(1) * opacity[is_level]).clip(max=1.0)
    if not len(height):
        return None
    place = np.floor(height / BIN).astype(np.int64)
    histogram = np.bincount(place - place.min(), weights=area)
    near = np.convolve(histogram, np.ones(3), mode="same")
    large = np.flatnonzero(near >= max(MIN_FLOOR_AREA, MIN_FLOOR_SHARE * near.max()))
    if not len(large):
        return None
    first = large[0]
    peak = first + near[first : first + 3].argmax() + place.min()
    chosen = np.abs(place - peak) <= 1
    order = np.argsort(height[chosen])
    weight = np.cumsum(area[chosen][order])
    return float(height[chosen][order][np.searchsorted(weight, weight[-1] / 2)])


def occupancy(columns: Columns, robot_height: float, narrow: float) -> Grid:
    """Cells with something in the robot's band of height are occupied, others where floor was seen are free.

    Everything else is unknown, and unknown is not free. So are gaps in what is occupied, for they may just not have
    been seen: a table top whose rim something on it hides, the slats of a bench. A single cell between cells of floor
    is floor.

    Args:
        columns: what stands where.
        robot_height: metres above the floor up to which things are in the way.
        narrow: metres; where no disc of this radius fits is a gap.
    """
    slices = int(np.ceil(round((robot_height - columns.min_height) / SLICE, 6)))
    band = np.uint64(((1 << (max(slices, 0) + 1)) - 2) & (2**64 - 1))
    is_occupied = (columns.bits & band) != 0
    is_floor = ((columns.bits & np.uint64(1)) != 0) & ~is_occupied
    cells = np.full(columns.bits.shape, UNKNOWN, np.int8)
    cells[_rounded(is_floor, narrow / columns.resolution) & ~is_occupied] = FREE
    cells[is_occupied] = OCCUPIED
    return columns.grid(cells)


def _rounded(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """A mask [R, C] with its single holes closed, as far as a disc of a radius in cells fits in it."""
    if not mask.size:
        return mask
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, cross)
    reach = int(radius + 1e-6)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x**2 + y**2 <= (radius + 1e-6) ** 2).astype(np.uint8)
    return cv2.morphologyEx(closed, cv2.MORPH_OPEN, disc) > 0
