# SPDX-License-Identifier: Apache-2.0
"""What the launch files are made of: declared arguments, our nodes with the parameters that were given, RViz."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, EmitEvent, ExecuteProcess, LogInfo, OpaqueFunction
from launch.events import Shutdown
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from ccl_lgs_ros.resources import PACKAGE, resource
from ccl_lgs_ros.ros.keyframe_options import DEFAULT_MAP_PATH
from ccl_lgs_ros.ros.launch_arguments import Argument, parameters_for
from launch import LaunchDescription

Values = Mapping[str, str]  # of the arguments, by name


def described(arguments: Sequence[Argument], start: Callable[[Values], list]) -> LaunchDescription:
    """A launch file of arguments and of what to start for their values."""
    declared = [
        DeclareLaunchArgument(a.name, default_value=a.default, description=a.description, **_choices(a))
        for a in arguments
    ]

    def started(context: Any) -> list:
        return start({a.name: context.launch_configurations[a.name] for a in arguments})

    return LaunchDescription([*declared, OpaqueFunction(function=started)])


def our_node(
    executable: str, arguments: Iterable[Argument], values: Values, on_exit: Sequence[Any] = (), **parameters: Any
) -> Node:
    """One of our nodes.

    Args:
        executable: its name, which becomes the node's.
        arguments: of the launch file; those that are this node's parameters are passed on.
        values: of the arguments.
        on_exit: what to do when it ends.
        parameters: more of them, which go before those of the arguments.
    """
    files = [os.path.expanduser(values["params_file"])] if values["params_file"] else []
    given = {**parameters_for(executable, arguments, values), **parameters}
    own_tf = [("/tf", "tf"), ("/tf_static", "tf_static")] if values["namespaced_tf"] == "true" else []
    return Node(
        package=PACKAGE,
        executable=executable,
        name=executable,
        namespace=values["namespace"],
        parameters=[*files, given] if given else files,
        remappings=own_tf,
        ros_arguments=["--log-level", values["log_level"]],
        output="screen",
        on_exit=list(on_exit) or None,  # launch takes no empty list
    )


def rviz(values: Values) -> list:
    """RViz where it is asked for; one line where it is not installed."""
    if values["rviz"] != "true":
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz2 is not installed, so nothing is shown; sudo apt install ros-$ROS_DISTRO-rviz2")]
    config = values["rviz_config"] or str(resource("rviz/ccl_lgs.rviz"))
    return [Node(package="rviz2", executable="rviz2", namespace=values["namespace"], arguments=["-d", config])]


def viewer(values: Values) -> list:
    """The page that shows the map, where it is asked for; it reads the map directory, which may not be there yet."""
    if values["viewer"] != "true":
        return []
    command = [ExecutableInPackage("ccl-lgs", PACKAGE), "view", values["map_path"] or DEFAULT_MAP_PATH, "--wait"]
    command += ["--port", values["viewer_port"], "--host", values["viewer_host"]]
    command += ["--config", os.path.expanduser(values["params_file"])] if values["params_file"] else []
    command += ["--recipe", values["recipe"]] if values["recipe"] else []
    return [ExecuteProcess(cmd=command, name="viewer", output="screen")]


def ends_launch(what: str) -> list:
    """On the exit of a process: everything ends with it, and `ros2 launch` returns 1 where it failed."""

    def end(context: Any) -> list:
        code = context.locals.event.returncode
        if code:
            raise RuntimeError(f"{what} failed with exit code {code}")  # this is how launch comes to return 1
        return [EmitEvent(event=Shutdown(reason=f"{what} is done"))]

    return [OpaqueFunction(function=end)]


def _choices(argument: Argument) -> dict[str, Any]:
    return {"choices": list(argument.choices)} if argument.choices else {}
