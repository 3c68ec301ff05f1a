# SPDX-License-Identifier: Apache-2.0
"""A recording becomes a refined map: read directly, nothing is lost, and the launch ends with the map on the disk.

ros2 launch ccl_lgs_ros offline.launch.py bag:=path/to/bag map_path:=path/to/map

The exit code is 0 where the map is there, and 1 where it is not.
"""

from dataclasses import replace

from launch.actions import ExecuteProcess
from launch_ros.substitutions import ExecutableInPackage

from ccl_lgs_ros.resources import PACKAGE
from ccl_lgs_ros.ros.launch_arguments import MAP_PATH, METHOD_ARGUMENTS, RECORDING, VIEWER, Argument, of_parameter
from ccl_lgs_ros.ros.launching import Values, described, ends_launch, viewer
from launch import LaunchDescription

ARGUMENTS = (
    Argument(name="bag", description="Recording to map: a rosbag2 folder, an .mcap or a .db3 file."),
    replace(MAP_PATH, default="map", description="Map directory; made if there is none, extended if there is one."),
    of_parameter("budget", "gaussians.budget"),
    *RECORDING,
    *METHOD_ARGUMENTS,
    Argument(name="params_file", default="", description="Options: a changed copy of config/default.yaml."),
    *VIEWER,
)


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return described(ARGUMENTS, start)


def start(values: Values) -> list:
    """One process, with which the launch ends, and the viewer."""
    command = [ExecutableInPackage("ccl-lgs", PACKAGE), "map", values["bag"], "-o", values["map_path"]]
    command += ["--config", values["params_file"]] if values["params_file"] else []
    for argument in ARGUMENTS:
        value = values[argument.name]
        if value and argument in RECORDING:
            command += [f"--{argument.name.replace('_', '-')}", value]
        elif value and argument.parameter and argument.name != "map_path":
            command += ["--set", f"{argument.parameter}={value}"]
    mapping = ExecuteProcess(cmd=command, name="ccl-lgs", output="screen", on_exit=ends_launch("mapping"))
    return [mapping, *viewer(values)]
