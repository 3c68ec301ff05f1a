# SPDX-License-Identifier: Apache-2.0
"""Where in a grid the robot fits, and which of these places it can drive between."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.grid import FREE, INSCRIBED, OCCUPIED, UNKNOWN, Grid, looked_up
from ccl_lgs_ros.navigation.robot import Robot

NONE = 0  # region of a cell in which the robot does not fit
MIN_REGION = 0.25  # square metres for the middle of the robot; what is smaller is a gap in something
HALF_DIAGONAL = 0.7072  # of a cell


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FreeSpace:
    """How far each cell is from what is in the way, and the connected regions for the middle of the robot."""

    grid: Grid
    robot: Robot
    clearance: NDArray[np.float32]  # [R, C] metres from the middle of a cell to the nearest that is not free, at least
    region: NDArray[np.int32]  # [R, C] 0 none, otherwise a number
    largest: int  # the number of the largest region; 0 if there is none

    def region_near(self, point: NDArray[np.floating] | None) -> int:
        """The region nearest to a point [3] in the world, or the largest; 0 if there is none."""
        cells = np.argwhere(self.region != NONE)
        if point is None or not len(cells):
            return self.largest
        here = self.grid.cells_of(np.asarray(point, dtype=np.float64))
        row, column = cells[((cells - here) ** 2).sum(1).argmin()]
        return int(self.region[row, column])

    def regions_at(self, cells: NDArray[np.integer]) -> NDArray[np.int32]:
        """[...] the regions of cells [..., 2], which may lie outside."""
        return looked_up(self.region, cells, np.int32(NONE))


def free_space(grid: Grid, robot: Robot) -> FreeSpace:
    """The places of a grid in which the largest circle that the robot fills is free; beyond the grid is unknown."""
    clearance = distance_to(~grid.is_free, grid.resolution, beyond=True)
    fits = (clearance >= robot.inner_radius) & (grid.cells >= FREE) & (grid.cells < INSCRIBED)
    _, labels = cv2.connectedComponents(np.pad(fits, 1).astype(np.uint8), connectivity=4)
    region = labels[1:-1, 1:-1].astype(np.int32)
    area = np.bincount(region.ravel(), minlength=1) * grid.resolution**2
    area[NONE] = 0.0
    region = np.where(area[region] < MIN_REGION, NONE, region).astype(np.int32)
    largest = int(area.argmax()) if area.max() >= MIN_REGION else NONE
    return FreeSpace(grid=grid, robot=robot, clearance=clearance, region=region, largest=largest)


def distance_to(marked: NDArray[np.bool_], resolution: float, *, beyond: bool) -> NDArray[np.float32]:
    """[R, C] metres from the middle of each cell to the nearest marked cell, or a little less, at least 0.

    Args:
        marked: [R, C].
        beyond: whether all cells outside are marked.
    """
    padded = np.pad(marked, 1, constant_values=beyond)
    if not padded.any():
        return np.full(marked.shape, np.inf, np.float32)
    distance = cv2.distanceTransform((~padded).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.maximum(distance[1:-1, 1:-1] - HALF_DIAGONAL, 0.0).astype(np.float32) * np.float32(resolution)


def with_costmap(grid: Grid, costmap: Grid) -> Grid:
    """A costmap in its own cells, where also all is occupied that is so in the grid.

    What the costmap does not know stays unknown: what plans with it cannot go there.
    """
    cells = costmap.cells.copy()
    centers = costmap.centers()
    cells[(grid.at(centers) == OCCUPIED) & (cells != UNKNOWN)] = OCCUPIED
    place = costmap.cells_of(grid.world_of(np.argwhere(grid.cells == OCCUPIED)))
    place = place[((place >= 0) & (place < cells.shape)).all(1)]
    place = place[cells[tuple(place.T)] != UNKNOWN]
    cells[tuple(place.T)] = OCCUPIED
    return costmap.with_cells(cells)
