# SPDX-License-Identifier: Apache-2.0
"""The arguments of the launch files. Most set a parameter of the nodes and are described as that parameter is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ccl_lgs_ros.config import MapConfig, checked, options
from ccl_lgs_ros.ros.bag_player_options import BagPlayerOptions
from ccl_lgs_ros.ros.demo_options import DemoOptions
from ccl_lgs_ros.ros.keyframe_options import KeyframeNodeOptions
from ccl_lgs_ros.ros.query_options import QueryNodeOptions
from ccl_lgs_ros.ros.training_options import TrainingNodeOptions

# What each executable takes. All of them take, or pass over, every option of the method.
GROUPS: dict[str, Any] = {
    "keyframe_node": KeyframeNodeOptions(),
    "training_node": TrainingNodeOptions(),
    "query_node": QueryNodeOptions(),
    "bag_player": BagPlayerOptions(),
    "demo_camera": DemoOptions(),
}
METHOD = MapConfig()
TRUE_FALSE = ("true", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """An argument of a launch file."""

    name: str
    description: str
    default: str | None = None  # None = it must be given
    choices: tuple[str, ...] = ()
    parameter: str = ""  # that it sets where it is not ''; '' = none


def of_parameter(name: str, parameter: str = "") -> Argument:
    """The argument that sets a parameter, of the same name if none is given; left alone, the parameter stays."""
    parameter = parameter or name
    f, default = _known(parameter)
    kind, own = f.metadata["choices"], f.metadata["doc"].rstrip(".")
    if isinstance(default, bool):
        kind = TRUE_FALSE
    if isinstance(default, tuple):
        own += "; several with commas between"
    choices = ("", *kind) if kind else ()
    if default not in ("", ()):
        own += f"; '' = as in params_file, else {str(default).lower() if isinstance(default, bool) else default}"
    return Argument(name=name, default="", description=f"{own}.", choices=choices, parameter=parameter)


def switch(name: str, default: bool, description: str) -> Argument:
    """An argument that is true or false."""
    return Argument(name=name, default=str(default).lower(), description=description, choices=TRUE_FALSE)


def with_default(argument: Argument, default: str) -> Argument:
    """The same argument with another value where it is not given."""
    choices = argument.choices if default in argument.choices or not argument.choices else (*argument.choices, default)
    return replace(argument, default=default, choices=choices)


def parameters_for(executable: str, arguments: Iterable[Argument], values: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of an executable that arguments were given for.

    Raises:
        ConfigError: naming a parameter that a value does not fit, and what it accepts.
    """
    own = {name: (f, default) for name, f, default in (*options(METHOD), *options(GROUPS[executable]))}
    given = {}
    for argument in arguments:
        text = values[argument.name]
        if argument.parameter in own and text:
            f, default = own[argument.parameter]
            value: Any = [part.strip() for part in text.split(",")] if isinstance(default, tuple) else text
            value = checked(argument.parameter, f, default, value)
            given[argument.parameter] = list(value) if isinstance(value, tuple) else value
    return given


def _known(parameter: str) -> tuple[Any, Any]:
    for group in (*GROUPS.values(), METHOD):
        for name, f, default in options(group):
            if name == parameter:
                return f, default
    raise KeyError(parameter)


MAP_PATH = of_parameter("map_path")
NODES = (  # of every launch file that starts nodes
    Argument(
        name="params_file", default="", description="Options of all nodes: a changed copy of config/default.yaml."
    ),
    Argument(name="namespace", default="", description="Namespace of nodes, topics and services, one for each robot."),
    switch("namespaced_tf", False, "Listen to tf and tf_static of the namespace, as Nav2 has it, instead of /tf."),
    Argument(
        name="log_level",
        default="info",
        description="What the nodes say at least.",
        choices=("debug", "info", "warn", "error", "fatal"),
    ),
)
RVIZ = (
    switch("rviz", False, "Show the map and the answers in RViz."),
    Argument(name="rviz_config", default="", description="Display settings of RViz; '' = those that come along."),
)
VIEWER = (
    switch("viewer", False, "Show the map in the browser, where it can be asked: ccl-lgs view."),
    Argument(name="viewer_port", default="8080", description="Port of the viewer's page."),
    Argument(
        name="viewer_host",
        default="127.0.0.1",
        description="Address that the viewer listens on; 0.0.0.0 = whoever reaches this computer sees the map.",
    ),
)
RECORDING = tuple(
    of_parameter(name) for name in ("image_topic", "depth_topic", "camera_info_topic", "pose_topic", "label_topic")
)
RECIPE = of_parameter("recipe")
METHOD_ARGUMENTS = (
    RECIPE,
    of_parameter("use_depth", "ingest.use_depth"),
    of_parameter("pose_source", "ingest.pose_source"),
    of_parameter("map_frame", "frames.map_frame"),
    of_parameter("device"),
)
