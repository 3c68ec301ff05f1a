# SPDX-License-Identifier: Apache-2.0
"""Ask a map that was made earlier: the query node and RViz. It needs neither a camera nor a GPU.

ros2 launch ccl_lgs_ros query.launch.py map_path:=path/to/map
ros2 service call /semantic_query ccl_lgs_ros/srv/SemanticQuery "{prompt: 'red mug'}"
"""

from ccl_lgs_ros.ros.launch_arguments import MAP_PATH, NODES, RECIPE, RVIZ, VIEWER, of_parameter, with_default
from ccl_lgs_ros.ros.launching import Values, described, ends_launch, our_node, rviz, viewer
from launch import LaunchDescription

SHOWN, RVIZ_CONFIG = RVIZ
ARGUMENTS = (
    MAP_PATH,
    RECIPE,
    of_parameter("threshold", "query.threshold"),
    of_parameter("max_instances", "query.max_instances"),
    of_parameter("viz_max_points"),
    of_parameter("device"),
    *NODES,
    with_default(SHOWN, "true"),
    RVIZ_CONFIG,
    *VIEWER,
)


def generate_launch_description() -> LaunchDescription:
    """Read by ros2 launch."""
    return described(ARGUMENTS, start)


def start(values: Values) -> list:
    """The node, with which the launch ends, and what shows the map."""
    node = our_node("query_node", ARGUMENTS, values, on_exit=ends_launch("query_node"))
    return [node, *rviz(values), *viewer(values)]
