# SPDX-License-Identifier: Apache-2.0
"""A grid that tells a planner to keep out of things, whether or not anything there is in its way."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.grid import FREE, OCCUPIED, Grid
from ccl_lgs_ros.navigation.free_space import distance_to


def keep_out(grid: Grid, things: list[NDArray[np.floating]], margin: float) -> Grid:
    """A mask in the place of a grid: occupied on and around things, free elsewhere.

    Args:
        grid: where; its values do not matter.
        things: [n, 3] points of each in the world; what their outlines enclose is kept out of.
        margin: metres around them.
    """
    covered = np.zeros(grid.cells.shape, np.uint8)
    for points in things:
        cells = np.unique(grid.cells_of(points), axis=0)
        if len(cells):
            hull = cv2.convexHull(cells[:, ::-1].astype(np.int32))
            cv2.fillConvexPoly(covered, hull, 1)
    is_near = distance_to(covered > 0, grid.resolution, beyond=False) <= margin if covered.any() else covered > 0
    return grid.with_cells(np.where(is_near, OCCUPIED, FREE).astype(np.int8))
