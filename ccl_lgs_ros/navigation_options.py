# SPDX-License-Identifier: Apache-2.0
"""The options of what planners are told: the robot that goes there, and the grid that it plans in."""

from dataclasses import dataclass

from ccl_lgs_ros.option_field import option


@dataclass(frozen=True, slots=True, kw_only=True)
class NavigationOptions:
    resolution: float = option(0.05, "Metres along the side of a cell of the grid.", low=0.005, high=1)
    floor_z: str = option("auto", "Height of the floor along map_up in metres; auto = the lowest large level surface.")
    min_height: float = option(0.06, "Metres above the floor under which nothing is in the way.", low=0)
    robot_height: float = option(1.2, "Metres above the floor over which nothing is in the way.", low=0.01)
    robot_radius: float = option(0.25, "Metres around the middle of the robot, where footprint is empty.", low=0)
    footprint: str = option(
        "", "Outline of the robot as nav2 has it, [[x, y], ...] metres around base_frame; empty = robot_radius."
    )
    sensor_height: float = option(1.0, "Metres above the floor from which the robot must see the thing.", low=0)
    standoff: float = option(0.7, "Metres from the middle of the robot to the near side of the thing.", low=0)
    tolerance: float = option(0.3, "Metres by which the standoff may be missed.", low=0)
    max_approaches: int = option(5, "Poses that are proposed for one thing.", low=1, high=1000)
    keep_out_margin: float = option(0.3, "Metres around a thing to keep out of.", low=0)
