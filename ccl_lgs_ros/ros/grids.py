# SPDX-License-Identifier: Apache-2.0
"""Grids as planners publish and read them."""

from array import array

import numpy as np
from nav_msgs.msg import MapMetaData, OccupancyGrid
from numpy.typing import NDArray
from std_msgs.msg import Header

from ccl_lgs_ros.grid import Grid
from ccl_lgs_ros.ros.conversions import pose_message, transform_of


def grid_message(grid: Grid, header: Header) -> OccupancyGrid:
    """A grid of the world as an OccupancyGrid; the header's frame is the world."""
    rows, columns = grid.cells.shape
    info = MapMetaData(
        map_load_time=header.stamp,
        resolution=grid.resolution,
        width=columns,
        height=rows,
        origin=pose_message(grid.world_from_grid),
    )
    return OccupancyGrid(header=header, info=info, data=array("b", np.ascontiguousarray(grid.cells).tobytes()))


def grid_of(message: OccupancyGrid, world_from_frame: NDArray[np.floating]) -> Grid:
    """An OccupancyGrid as a grid of the world.

    Args:
        world_from_frame: [4, 4] of the frame that it is published in.

    Raises:
        ValueError: if its cells are not as many as it says, or it lies nowhere.
    """
    info, cells = message.info, np.frombuffer(memoryview(message.data), np.int8)
    if len(cells) != info.width * info.height:
        raise ValueError(f"a grid of {info.width}x{info.height} cells came with {len(cells)}; fix its publisher")
    return Grid(
        cells=cells.reshape(info.height, info.width),
        resolution=float(info.resolution),
        world_from_grid=world_from_frame @ transform_of(info.origin),
    )
