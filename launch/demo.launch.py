# SPDX-License-Identifier: Apache-2.0
"""The whole system at work: a camera drives through a synthetic room, and the map is asked for things of it.

ros2 launch ccl_lgs_ros demo.launch.py

Needs no data, no GPU and no weights. The answers are logged beside the truth; the exit code is 0 where all are right.
"""

import tempfile

from launch.actions import LogInfo

from ccl_lgs_ros.ros.launch_arguments import MAP_PATH, NODES, RECIPE, RVIZ, VIEWER, of_parameter, switch
from ccl_lgs_ros.ros.launching import Values, described, ends_launch, our_node, rviz, viewer
from launch import LaunchDescription

ARGUMENTS = (
    of_parameter("seed"),
    of_parameter("num_frames"),
    of_parameter("image_width"),
    of_parameter("iterations"),
    MAP_PATH,
    RECIPE,
    switch("stay", False, "Go on after the answers, so that the map can be asked for more."),
    *NODES,
    *RVIZ,
    *VIEWER,
)


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return described(ARGUMENTS, start)


def start(values: Values) -> list:
    """The three nodes and the camera, with which the launch ends."""
    map_path = values["map_path"] or tempfile.mkdtemp(prefix="ccl_lgs_demo_")
    values = {**values, "map_path": map_path}
    nodes = [
        our_node("keyframe_node", ARGUMENTS, values, qos="reliable"),
        our_node("training_node", ARGUMENTS, values, refine_idle=0.0, refine_every=0),
        our_node("query_node", ARGUMENTS, values),
        our_node("demo_camera", ARGUMENTS, values, on_exit=[] if values["stay"] == "true" else ends_launch("the demo")),
    ]
    return [LogInfo(msg=f"the map is in {map_path}"), *nodes, *rviz(values), *viewer(values)]
