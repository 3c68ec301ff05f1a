# SPDX-License-Identifier: Apache-2.0
"""Where the floor is, and which of its cells are free, occupied or unknown."""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import level_axes
from ccl_lgs_ros.grid import FREE, OCCUPIED, UNKNOWN, Grid
from ccl_lgs_ros.navigation.columns import MIN_OPACITY, SLICE, Columns, axes_of
from ccl_lgs_ros.structures import Gaussians

ROUNDING = 1e-6  # cells
LEVEL = 0.9  # cosine between up and the normal of a level surface
HALF_SLAB = 0.03  # metres: a floor is told apart in slabs of twice this height, as it is measured with noise
PATCH = 0.1  # metres: the area of a surface is that of the squares of this size in which it was seen
MIN_FLOOR_AREA = 1.5  # square metres: more than a table top
ENOUGH = 200_000  # Gaussians, evenly chosen, tell where the floor is
MIN_FLOOR_SHARE = 0.2  # of the largest level surface; a ceiling may be larger than what was seen of the floor


def floor_height(gaussians: Gaussians, up: NDArray[np.floating]) -> float | None:
    """The height along `up` [3] of the lowest large level surface; None where there is none."""
    gaussians = gaussians.select(torch.arange(0, len(gaussians), len(gaussians) // ENOUGH + 1))
    axes = level_axes(up).astype(np.float32)
    thin = gaussians.scales.numpy(force=True).argmin(1)
    normal = np.take_along_axis(axes_of(gaussians), thin[:, None, None], axis=2)[:, :, 0]
    is_level = (np.abs(normal @ axes[2]) > LEVEL) & (gaussians.opacities.numpy(force=True) >= MIN_OPACITY)
    places = gaussians.means.numpy(force=True)[is_level] @ axes.T
    if not len(places):
        return None
    slot = np.floor(places[:, 2] / HALF_SLAB).astype(np.int64)
    lowest = slot.min() - 1
    patch = np.floor(places[:, :2] / PATCH).astype(np.int64)
    both = np.concatenate([np.column_stack([slot, patch]), np.column_stack([slot - 1, patch])])  # slabs overlap by half
    area = np.bincount(np.unique(both, axis=0)[:, 0] - lowest) * PATCH**2
    large = np.flatnonzero(area >= max(MIN_FLOOR_AREA, MIN_FLOOR_SHARE * area.max()))
    if not len(large):
        return None
    peak = large[0] + area[large[0] : large[0] + 3].argmax() + lowest
    return float(np.median(places[(slot == peak) | (slot == peak + 1), 2]))


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
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    is_floor = _shaped(is_floor, cv2.MORPH_CLOSE, cross) & ~is_occupied
    cells = np.full(columns.bits.shape, UNKNOWN, np.int8)
    cells[_shaped(is_floor, cv2.MORPH_OPEN, _disc(narrow / columns.resolution))] = FREE
    cells[is_occupied] = OCCUPIED
    return columns.grid(cells)


def _shaped(mask: NDArray[np.bool_], operation: int, kernel: NDArray[Any]) -> NDArray[np.bool_]:
    """A mask [R, C] opened or closed with a kernel; all outside is False."""
    if not mask.size:
        return mask
    margin = len(kernel)
    shaped = cv2.morphologyEx(np.pad(mask, margin).astype(np.uint8), operation, kernel)
    return shaped[margin:-margin, margin:-margin] > 0


def _disc(radius: float) -> NDArray[np.uint8]:
    """The cells whose middles are within a radius, in cells, of the middle one's."""
    reach = int(radius + ROUNDING)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return (x**2 + y**2 <= (radius + ROUNDING) ** 2).astype(np.uint8)
