# SPDX-License-Identifier: Apache-2.0
"""A map from posed cameras, live or from a recording, that can be asked in words: the three nodes, RViz on request.

ros2 launch ccl_lgs_ros mapping.launch.py image_topic:=/camera/color/image_raw depth_topic:=/camera/depth/image_rect_raw
ros2 launch ccl_lgs_ros mapping.launch.py bag:=path/to/bag
ros2 service call /semantic_query ccl_lgs_ros/srv/SemanticQuery "{prompt: 'red mug'}"
"""

from launch.actions import LogInfo

from ccl_lgs_ros.ros.launch_arguments import (
    MAP_PATH,
    METHOD_ARGUMENTS,
    NODES,
    RECORDING,
    RVIZ,
    VIEWER,
    Argument,
    of_parameter,
    switch,
)
from ccl_lgs_ros.ros.launching import Values, described, our_node, rviz, viewer
from launch import LaunchDescription

ARGUMENTS = (
    of_parameter("bag", "bag_path"),
    of_parameter("bag_mode"),
    of_parameter("bag_rate"),
    of_parameter("bag_start"),
    MAP_PATH,
    of_parameter("camera_names"),
    *RECORDING,
    of_parameter("depth_info_topic"),
    of_parameter("qos"),
    *METHOD_ARGUMENTS,
    of_parameter("keyframe_transport"),
    switch("capture", True, "Run keyframe_node, which takes in images; false where another host sends keyframes."),
    switch("train", True, "Run training_node, which builds the map."),
    switch("query", True, "Run query_node, which answers questions."),
    Argument(
        name="use_sim_time",
        default="auto",
        description="Take time from /clock; auto = while a recording is played.",
        choices=("auto", "true", "false"),
    ),
    *NODES,
    *RVIZ,
    *VIEWER,
)


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return described(ARGUMENTS, start)


def start(values: Values) -> list:
    """The nodes, and a player that begins when they are ready."""
    is_played = bool(values["bag"]) and values["bag_mode"] == "play"
    use_sim_time = is_played if values["use_sim_time"] == "auto" else values["use_sim_time"] == "true"
    executables = ["keyframe_node"] if values["capture"] == "true" else []
    executables += ["training_node"] if values["train"] == "true" else []
    executables += ["query_node"] if values["query"] == "true" else []
    nodes = [our_node(name, ARGUMENTS, values, use_sim_time=use_sim_time) for name in executables]
    if is_played:
        nodes.append(our_node("bag_player", ARGUMENTS, values, wait_for=executables))
    how = {True: "played", False: "read directly"}[is_played]
    what = f"{values['bag']}, {how}" if values["bag"] else "live topics"
    what = what if "keyframe_node" in executables else "keyframes as they come"
    return [LogInfo(msg=f"mapping {what}"), *nodes, *rviz(values), *viewer(values)]
