# SPDX-License-Identifier: Apache-2.0
"""A map from a posed camera, live or from a bag, that can be asked in words: the three nodes, and RViz on request.

ros2 launch ccl_lgs_ros mapping.launch.py image_topic:=/camera/color/image_raw depth_topic:=/camera/depth/image_rect_raw
ros2 launch ccl_lgs_ros mapping.launch.py bag:=path/to/bag
ros2 service call /semantic_query ccl_lgs_ros/srv/SemanticQuery "{prompt: 'red mug'}"
"""

import os

from launch.actions import DeclareLaunchArgument, ExecuteProcess, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

PACKAGE = "ccl_lgs_ros"
PLAY_DELAY = "3.0"  # seconds that the player leaves the nodes to subscribe before the first message
TRUE_FALSE = ["true", "false"]


def generate_launch_description() -> LaunchDescription:
    """The arguments, then the processes that they ask for."""
    share = FindPackageShare(PACKAGE)
    default_options = PathJoinSubstitution([share, "config", "default.yaml"])
    rviz_config = PathJoinSubstitution([share, "rviz", "ccl_lgs.rviz"])
    arguments = [
        DeclareLaunchArgument("bag", default_value="", description="Recording to map; '' = listen to live topics."),
        DeclareLaunchArgument(
            "bag_mode",
            default_value="direct",
            choices=["direct", "play"],
            description="direct reads the bag as fast as it is mapped and loses nothing; play runs ros2 bag play.",
        ),
        DeclareLaunchArgument("bag_rate", default_value="1.0", description="Speed of bag_mode:=play."),
        DeclareLaunchArgument(
            "image_topic", default_value="", description="Colour images; '' = image, or found by type in a bag."
        ),
        DeclareLaunchArgument(
            "depth_topic", default_value="", description="Depth images; '' = depth, or found by type in a bag."
        ),
        DeclareLaunchArgument(
            "camera_info_topic", default_value="", description="Intrinsics; '' = camera_info beside the images."
        ),
        DeclareLaunchArgument(
            "depth_info_topic", default_value="", description="Depth intrinsics; '' = camera_info beside the depth."
        ),
        DeclareLaunchArgument(
            "use_depth",
            default_value="",
            choices=["", *TRUE_FALSE],
            description="Use depth images; '' = as in params_file.",
        ),
        DeclareLaunchArgument(
            "pose_source",
            default_value="",
            choices=["", "auto", "tf", "topic"],
            description="Where camera poses come from; '' = as in params_file (auto prefers tf).",
        ),
        DeclareLaunchArgument("pose_topic", default_value="", description="Camera poses; '' = pose."),
        DeclareLaunchArgument(
            "label_topic", default_value="", description="Label images for perception.segmenter=topic; '' = none."
        ),
        DeclareLaunchArgument(
            "map_frame", default_value="", description="Frame of the map, e.g. odom; '' = as in params_file (map)."
        ),
        DeclareLaunchArgument(
            "map_path",
            default_value="~/.ros/ccl_lgs/map",
            description="Map directory; made if there is none, continued if there is one.",
        ),
        DeclareLaunchArgument(
            "qos",
            default_value="sensor_data",
            choices=["sensor_data", "reliable"],
            description="QoS of image subscriptions: sensor_data fits every camera, reliable loses nothing.",
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of nodes, topics and services."),
        DeclareLaunchArgument(
            "params_file", default_value=default_options, description="Options; a copy of config/default.yaml."
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="auto",
            choices=["auto", *TRUE_FALSE],
            description="Take time from /clock; auto = while a bag is played.",
        ),
        DeclareLaunchArgument(
            "train", default_value="true", choices=TRUE_FALSE, description="Run training_node, which builds the map."
        ),
        DeclareLaunchArgument(
            "query", default_value="true", choices=TRUE_FALSE, description="Run query_node, which answers questions."
        ),
        DeclareLaunchArgument(
            "rviz", default_value="false", choices=TRUE_FALSE, description="Show map and answers in RViz."
        ),
        DeclareLaunchArgument("rviz_config", default_value=rviz_config, description="Display settings of RViz."),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="What the nodes say at least.",
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=processes)])


def processes(context: LaunchContext) -> list:
    """What to start for the values of the arguments."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    bag = os.path.expanduser(value("bag"))
    is_played = bool(bag) and value("bag_mode") == "play"
    use_sim_time = is_played if value("use_sim_time") == "auto" else value("use_sim_time") == "true"
    common = {"use_sim_time": use_sim_time, "map_path": value("map_path"), **_options(value)}
    topics = {name: value(name) for name in TOPICS}
    depth_info = {"depth_info_topic": value("depth_info_topic")}
    if is_played:
        topics, depth_info = _topics_of_bag(bag, topics, depth_info, value("params_file"), common), {}
    capture = {**topics, **depth_info, "qos": value("qos"), "bag_path": "" if is_played else bag}

    def node(executable: str, parameters: dict) -> Node:
        return Node(
            package=PACKAGE,
            executable=executable,
            name=executable,
            namespace=value("namespace"),
            parameters=[value("params_file"), {**common, **parameters}],
            ros_arguments=["--log-level", value("log_level")],
            output="screen",
        )

    started = [node("keyframe_node", capture)]
    if value("train") == "true":
        started.append(node("training_node", {}))
    if value("query") == "true":
        started.append(node("query_node", {}))
    if value("rviz") == "true":
        started.append(
            Node(package="rviz2", executable="rviz2", arguments=["-d", value("rviz_config")], output="screen")
        )
    if is_played:
        play = ["ros2", "bag", "play", bag, "--clock", "--rate", value("bag_rate"), "--delay", PLAY_DELAY]
        started.append(ExecuteProcess(cmd=play, output="screen"))
    what = f"{bag} ({value('bag_mode')})" if bag else "live topics"
    return [LogInfo(msg=f"mapping {what} into {value('map_path')}"), *started]


def _options(value) -> dict:
    """The options that have an argument of their own, where it was given."""
    given = {name: value(argument) for argument, name in OPTION_ARGUMENTS.items()}
    options: dict = {name: text for name, text in given.items() if text}
    if "ingest.use_depth" in options:
        options["ingest.use_depth"] = options["ingest.use_depth"] == "true"
    return options


TOPICS = ("image_topic", "depth_topic", "camera_info_topic", "pose_topic", "label_topic")
OPTION_ARGUMENTS = {
    "use_depth": "ingest.use_depth",
    "pose_source": "ingest.pose_source",
    "map_frame": "frames.map_frame",
}


def _topics_of_bag(bag: str, named: dict, depth_info: dict, params_file: str, common: dict) -> dict:
    """All topics by name: the nodes cannot find them by type before they are played."""
    from ccl_lgs_ros.config import load_config, options, updated
    from ccl_lgs_ros.ros.bag_topics import topics_of_bag

    config = load_config(params_file)
    known = {name for name, _, _ in options(config)}
    config = updated(config, {name: text for name, text in common.items() if name in known})
    found = topics_of_bag(bag, config, **named)
    return {**found, **{name: text for name, text in depth_info.items() if text}}
