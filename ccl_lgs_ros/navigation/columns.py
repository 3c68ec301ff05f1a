# SPDX-License-Identifier: Apache-2.0
"""What stands over each cell of the floor: the opaque Gaussians of a map, sorted into slices of height."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import invert_rigid, level_axes, rigid, transform_points
from ccl_lgs_ros.grid import Grid, looked_up
from ccl_lgs_ros.structures import Gaussians

SLICE = 0.05  # metres
NUM_SLICES = 64  # of a column, the bits of its word: 3 m and more
MIN_OPACITY = 0.3  # a Gaussian under it is haze
REACH = 1.0  # standard deviations: more makes walls thick, less leaves holes in floors seen from afar
MAX_REACH = 0.25  # metres; what is larger is background
LEVEL = 0.7  # cosine between up and the normal of what lies flat
MAX_CELLS = 64_000_000
BLOCK = 500_000  # Gaussians that are sampled at once; bounds memory


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

    def middles_of(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """[..., 3] the middles of the places, each a slice of a column, in which points [..., 3] in the world are."""
        local = transform_points(invert_rigid(self.world_from_grid), points)
        local[..., :2] = (np.floor(local[..., :2] / self.resolution) + 0.5) * self.resolution
        local[..., 2] = (slices_of(local[..., 2], self.min_height) - 0.5) * SLICE + self.min_height
        return transform_points(self.world_from_grid, local)

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
    places = gaussians.means.numpy(force=True) @ axes.T.astype(np.float32)
    places[:, 2] -= np.float32(floor)
    is_near = (places[:, 2] > -min_height - MAX_REACH) & (places[:, 2] < min_height + NUM_SLICES * SLICE)
    kept = np.flatnonzero(is_near & (gaussians.opacities.numpy(force=True) >= MIN_OPACITY))
    low, high = _extent(places[kept, :2], resolution)
    columns, rows = (high - low).tolist()
    if rows * columns > MAX_CELLS:
        raise ValueError(f"a grid of {rows} x {columns} cells is too large; choose a coarser resolution")
    bits = np.zeros(rows * columns, np.uint64)
    spacing = min(resolution, SLICE)
    is_small = 2 * REACH * gaussians.scales.amax(dim=1).numpy(force=True)[kept] <= spacing
    small, large = kept[is_small], kept[~is_small]
    spread = (
        _samples(gaussians.select(torch.from_numpy(block)), places[block], axes, spacing, min_height)
        for block in np.array_split(large, len(large) // BLOCK + 1)
    )
    for points, slot in chain([(places[small], slices_of(places[small, 2], min_height))], spread):
        is_held = (slot >= 0) & (slot < NUM_SLICES)
        cell = np.floor(points[is_held, :2] / np.float32(resolution)).astype(np.int64) - low
        np.bitwise_or.at(bits, cell[:, 1] * columns + cell[:, 0], np.uint64(1) << slot[is_held].astype(np.uint64))
    return Columns(
        bits=bits.reshape(rows, columns),
        resolution=resolution,
        world_from_grid=rigid(axes.T, np.array([*(low * resolution), floor]) @ axes),
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


def _extent(places: NDArray[np.floating], resolution: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first cell [2] (x, y) that Gaussians at places [n, 2] may reach, and the first behind the last."""
    if not len(places):
        return np.zeros(2, np.int64), np.zeros(2, np.int64)
    low = np.floor((places.min(0) - MAX_REACH) / resolution).astype(np.int64)
    return low, np.ceil((places.max(0) + MAX_REACH) / resolution).astype(np.int64) + 1


def _samples(
    gaussians: Gaussians,
    places: NDArray[np.floating],
    axes: NDArray[np.float64],
    spacing: float,
    min_height: float,
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Points [n, 3] spread over the two larger axes of Gaussians at places [N, 3] over the floor, and their slices [n].

    What lies flat on the floor is all floor, also where it is tilted a little.
    """
    scales = gaussians.scales.numpy(force=True)
    order = np.argsort(scales, axis=1)
    turned = np.einsum("ij,njk->nik", axes.astype(np.float32), axes_of(gaussians))
    normal, middle, long = (np.take_along_axis(turned, order[:, None, i : i + 1], 2)[..., 0] for i in range(3))
    reach = np.minimum(REACH * np.take_along_axis(scales, order, 1), MAX_REACH)
    across, along = np.maximum(np.ceil(2 * reach[:, 1:] / spacing).astype(np.int64), 1).T
    total = across * along
    owner = np.repeat(np.arange(len(total)), total)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(total) - total, total)
    points = places[owner]
    for place, count, end in (
        (number % along[owner], along, long * reach[:, 2:]),
        (number // along[owner], across, middle * reach[:, 1:2]),
    ):
        points += ((2 * place + 1) / count[owner] - 1).astype(np.float32)[:, None] * end[owner]
    slot = slices_of(points[:, 2], min_height)
    is_flat = (np.abs(places[:, 2]) < min_height) & (np.abs(normal[:, 2]) > LEVEL)
    slot[is_flat[owner]] = 0
    return points, slot
