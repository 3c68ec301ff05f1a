# SPDX-License-Identifier: Apache-2.0
"""A map as planners ask it: its grid, where to stand to deal with a thing, what to keep out of."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.grid import Grid
from ccl_lgs_ros.navigation.approach import Approaches, approaches
from ccl_lgs_ros.navigation.columns import Columns, columns_of
from ccl_lgs_ros.navigation.free_space import FreeSpace, free_space, with_costmap
from ccl_lgs_ros.navigation.keep_out import keep_out
from ccl_lgs_ros.navigation.occupancy import floor_height, occupancy
from ccl_lgs_ros.navigation.robot import Robot, outline_from_text
from ccl_lgs_ros.structures import SemanticMap

NARROW = 0.15  # metres; a gap is no wider than the robot, and no wider than twice this

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surroundings:
    """What a version of a map says of the space around its things; keep it with a map that is asked often."""

    grid: Grid
    columns: Columns
    space: FreeSpace  # of the grid, and of the costmap where one was given
    floor: float  # metres along map_up
    is_floor_seen: bool

    def with_costmap(self, costmap: Grid) -> "Surroundings":
        """The same where a planner's costmap says where it can go."""
        space = free_space(with_costmap(self.grid, costmap), self.space.robot)
        return replace(self, space=space)


def surroundings(semantic_map: SemanticMap, config: MapConfig) -> Surroundings:
    """The surroundings of a map's things for the robot of the options.

    Raises:
        ConfigError: if an option of the robot or the floor cannot be read.
    """
    options = config.navigation
    up = np.asarray(semantic_map.map_up, dtype=np.float64)
    floor, is_seen = _floor(semantic_map, up / np.linalg.norm(up), options.floor_z)
    columns = columns_of(
        semantic_map.gaussians, up, floor, resolution=options.resolution, min_height=options.min_height
    )
    robot = robot_of(config)
    grid = occupancy(columns, options.robot_height, min(robot.inner_radius, NARROW))
    space = free_space(grid, robot)
    return Surroundings(grid=grid, columns=columns, space=space, floor=floor, is_floor_seen=is_seen)


def map_grid(semantic_map: SemanticMap, config: MapConfig) -> Grid:
    """The slice of a map through which the robot drives."""
    return surroundings(semantic_map, config).grid


def find_approaches(
    instance: Instance, around: Surroundings, config: MapConfig, near: NDArray[np.floating] | None = None
) -> Approaches:
    """Where the robot stands well to deal with a thing; `near` [3] is where it is now, in the map."""
    options = config.navigation
    found = approaches(
        instance,
        around.space,
        around.columns,
        standoff=options.standoff,
        tolerance=options.tolerance,
        max_approaches=options.max_approaches,
        near=near,
    )
    if found.poses or around.is_floor_seen:
        return found
    return replace(found, message="no pose: no floor was seen; set navigation.floor_z if you know it, or map the floor")


def keep_out_grid(semantic_map: SemanticMap, instances: Iterable[Instance], grid: Grid, config: MapConfig) -> Grid:
    """The mask, in the place of a grid, that keeps a planner out of some things."""
    means = semantic_map.gaussians.means
    things = [means[item.gaussian_ids].numpy(force=True) for item in instances]
    return keep_out(grid, things, config.navigation.keep_out_margin)


def robot_of(config: MapConfig) -> Robot:
    """The robot that the options describe.

    Raises:
        ConfigError: if its footprint cannot be read.
    """
    options = config.navigation
    try:
        outline = outline_from_text(options.footprint)
    except ValueError as error:
        raise ConfigError(f"option 'navigation.footprint': {error}") from error
    return Robot(
        radius=options.robot_radius,
        outline=outline,
        sensor_height=options.sensor_height,
    )


def _floor(semantic_map: SemanticMap, up: NDArray[np.float64], floor_z: str) -> tuple[float, bool]:
    """The height of the floor along `up`, and whether it was seen or named."""
    if floor_z != "auto":
        try:
            return float(floor_z), True
        except ValueError:
            raise ConfigError(
                f"option 'navigation.floor_z' must be auto or a number of metres; got '{floor_z}'"
            ) from None
    floor = floor_height(semantic_map.gaussians, up)
    if floor is not None:
        return floor, True
    logger.warning("no floor was seen in the map, so that no place is free; set navigation.floor_z if you know it")
    heights = semantic_map.gaussians.means.numpy(force=True) @ up
    return float(heights.min()) if len(heights) else 0.0, False
