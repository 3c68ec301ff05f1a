# SPDX-License-Identifier: Apache-2.0
"""Flat grids of what is free, occupied or unknown, as planners know them. numpy only."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import check_rigid, invert_rigid, transform_points

# The values of nav_msgs/OccupancyGrid. Between free and inscribed a costmap says how near an obstacle is.
UNKNOWN, FREE, INSCRIBED, OCCUPIED = -1, 0, 99, 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Cells on the floor; x runs along the columns, y along the rows, z is up."""

    cells: NDArray[np.int8]  # [R, C] -1 unknown, 0 free, 99 no place for the middle of a robot, 100 occupied
    resolution: float  # metres along the side of a cell
    world_from_grid: NDArray[np.float64]  # [4, 4] the origin is the outer corner of cell (0, 0), at floor height

    def __post_init__(self) -> None:
        if self.cells.ndim != 2 or self.cells.dtype != np.int8:
            raise ValueError(f"cells: expected int8 [R, C], got {self.cells.dtype} {self.cells.shape}")
        if not self.resolution > 0:
            raise ValueError(f"resolution: expected metres > 0, got {self.resolution}")
        check_rigid(self.world_from_grid)

    @property
    def is_free(self) -> NDArray[np.bool_]:
        """[R, C] where a part of a robot may be."""
        return (self.cells >= FREE) & (self.cells < OCCUPIED)

    def cells_of(self, points: NDArray[np.floating]) -> NDArray[np.int64]:
        """[..., 2] row and column of points [..., 3] in the world, which may lie outside."""
        local = transform_points(invert_rigid(self.world_from_grid), points)
        return np.floor(local[..., 1::-1] / self.resolution).astype(np.int64)

    def at(self, points: NDArray[np.floating]) -> NDArray[np.int8]:
        """[...] the values under points [..., 3] in the world; unknown outside."""
        return looked_up(self.cells, self.cells_of(points), np.int8(UNKNOWN))

    def world_of(self, cells: NDArray[np.integer]) -> NDArray[np.floating]:
        """[..., 3] the middles of cells [..., 2] (row, column), in the world."""
        local = np.zeros((*cells.shape[:-1], 3))
        local[..., :2] = (cells[..., ::-1] + 0.5) * self.resolution
        return transform_points(self.world_from_grid, local)

    def centers(self) -> NDArray[np.floating]:
        """[R, C, 3] the middles of all cells, in the world."""
        return self.world_of(np.moveaxis(np.indices(self.cells.shape), 0, -1))

    def with_cells(self, cells: NDArray[np.int8]) -> "Grid":
        """Other values in the same place."""
        return replace(self, cells=cells)


def looked_up(table: NDArray[Any], cells: NDArray[np.integer], outside: Any) -> NDArray[Any]:
    """The values [...] of a table [R, C] at cells [..., 2] (row, column)."""
    row, column = cells[..., 0], cells[..., 1]
    inside = (row >= 0) & (column >= 0) & (row < table.shape[0]) & (column < table.shape[1])
    if not table.size:
        return np.full(inside.shape, outside, table.dtype)
    return np.where(inside, table[np.where(inside, row, 0), np.where(inside, column, 0)], outside).astype(table.dtype)
