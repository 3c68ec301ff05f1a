# SPDX-License-Identifier: Apache-2.0
"""What stands over each cell of the floor: the opaque Gaussians of a map, sorted into slices of height."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import invert_rigid, level_axes, rigid, transform_points
from ccl_lgs_ros.grid import Grid, looked_up
from ccl_lgs_ros.structures import Gaussians

SLICE = 0.05  # metres
NUM_SLICES = 64  # of a column, the bits of its word: 3 m and more
MIN_OPACITY = 0.3  # a Gaussian under it is haze
REACH = 1.4  # standard deviations at which one of the usual opacity fades to MIN_OPACITY
MAX_REACH = 0.25  # metres; what is larger is background
MAX_CELLS = 64_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """A word of 64 bits over each cell: bit 0 is the floor, bit k a slice of height above it."""

    bits: NDArray[np.uint64]  # [R, C]
    resolution: float  # metres along the side of a cell
    world_from_grid: NDArray[np.float64]  # [4, 4] as of a Grid
    min_height: float  # metres above the floor at which slice 1 begins; the floor reaches as far below it

    def hold(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """[...] whether something opaque other than floor is in the place of points [..., 3] in the world."""
        local = transform_points(invert_rigid(self.world_from_grid), points)
        word = looked_up(self.bits, np.floor(local[..., 1::-1] / self.resolution).astype(np.int64), np.uint64(0))
        slot = slices_of(local[..., 2], self.min_height)
        is_over = (slot >= 1) & (slot < NUM_SLICES)
        return is_over & ((word >> np.where(is_over, slot, 0).astype(np.uint64)) & np.uint64(1)).astype(bool)

    def grid(self, cells: NDArray[np.int8]) -> Grid:
        """A grid in the same place."""
        return Grid(cells=cells, resolution=self.resolution, world_from_grid=self.world_from_grid)


def columns_of(
    gaussians: Gaussians, up: NDArray[np.floating], floor: float, *, resolution: float, min_height: float
) -> Columns:
    """The columns over a floor at a height along `up` [3], as far as the map goes; cells of maps at one place align.

    Raises:
        ValueError: if there would be too many cells.
    """
    axes = level_axes(up)
    points = _samples(gaussians, resolution) @ axes.T.astype(np.float32)
    slot = slices_of(points[:, 2] - np.float32(floor), min_height)
    points, slot = points[(slot >= 0) & (slot < NUM_SLICES), :2], slot[(slot >= 0) & (slot < NUM_SLICES)]
    cell = np.floor(points / np.float32(resolution)).astype(np.int64)
    low = cell.min(0) if len(cell) else np.zeros(2, np.int64)
    columns, rows = (cell.max(0) - low + 1).tolist() if len(cell) else (0, 0)
    if rows * columns > MAX_CELLS:
        raise ValueError(f"a grid of {rows} x {columns} cells is too large; choose a coarser resolution")
    bits = np.zeros(rows * columns, np.uint64)
    np.bitwise_or.at(
        bits, (cell[:, 1] - low[1]) * columns + cell[:, 0] - low[0], np.uint64(1) << slot.astype(np.uint64)
    )
    origin = np.array([*(low * resolution), floor]) @ axes
    return Columns(
        bits=bits.reshape(rows, columns),
        resolution=resolution,
        world_from_grid=rigid(axes.T, origin),
        min_height=min_height,
    )


def slices_of(height: NDArray[np.floating], min_height: float) -> NDArray[np.int64]:
    """Which slice each height above the floor is in: 0 is floor, negative under it."""
    above = np.floor((height - min_height) / SLICE).astype(np.int64) + 1
    return np.where(np.abs(height) < min_height, 0, np.where(height < 0, -1, above))


def axes_of(gaussians: Gaussians) -> NDArray[np.float32]:
    """[N, 3, 3] the rotations of Gaussians."""
    w, x, y, z = (gaussians.quats / gaussians.quats.norm(dim=1, keepdim=True)).numpy(force=True).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def _samples(gaussians: Gaussians, spacing: float) -> NDArray[np.float32]:
    """[n, 3] points spread over the two larger axes of each opaque Gaussian, no further apart than a spacing."""
    gaussians = gaussians.select(gaussians.opacities >= MIN_OPACITY)
    scales = gaussians.scales.numpy(force=True)
    means = gaussians.means.numpy(force=True)
    reach = np.minimum(REACH * scales, MAX_REACH)
    count = np.ceil(2 * reach / spacing).astype(np.int64)
    np.put_along_axis(count, scales.argmin(1)[:, None], 1, axis=1)
    count = np.maximum(count, 1)
    total = count.prod(1)
    owner = np.repeat(np.arange(len(total)), total)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(total) - total, total)
    place = np.empty((len(owner), 3), np.float32)
    for axis in range(3):
        n = count[owner, axis]
        place[:, axis] = ((2 * (number % n) + 1) / n - 1) * reach[owner, axis]
        number //= n
    return means[owner] + np.einsum("nij,nj->ni", axes_of(gaussians)[owner], place)
