# SPDX-License-Identifier: Apache-2.0
"""Writes docs/interface.md from the nodes themselves: `python scripts/write_interface.py > docs/interface.md`.

The nodes are made, but not spun, and asked what they publish, listen to, serve and are configured by. What a topic of
a standard type means is said here; what a message of ours means is the first line of its file.
"""

import itertools
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
NODES = ("keyframe_node", "training_node", "query_node")
OTHERS = ("bag_player", "demo_camera")  # they begin to work when they are made
CLASSES = {"keyframe_node": "KeyframeNode", "training_node": "TrainingNode", "query_node": "QueryNode"}
OWN_HEADS = ("parameter", "default", "range", "changeable", "what")
OF_ROS = ("rcl_interfaces/", "lifecycle_msgs/", "type_description_interfaces/")
HEAD = """\
# The ROS interface

<!-- Written by scripts/write_interface.py from the nodes; do not edit. -->

Names are relative to the namespace of the nodes, but for /tf, /tf_static, /clock and /diagnostics. Every topic takes
`qos_overrides.<topic>.<publisher or subscription>.<policy>` parameters. *latched* is reliable and transient local: who
joins late gets the last message.

Frames: everything is in `frames.map_frame` (default `map`; `odom` where nothing publishes map), in metres, with the
axes of REP 103. Camera poses are those of the optical frame (z forward, x right, y down), which is the `frame_id` of
the images, or `frames.camera_frame`. The nodes never publish tf.

`training_node` and `query_node` are lifecycle nodes that configure and activate themselves unless `autostart` is
false. Their lifecycle services and the parameter services of every node are ROS's own and not listed.
"""
MEANINGS = {
    "/clock": "time of a recording that is played, with use_sim_time",
    "/diagnostics": "what `status` says, for rqt_robot_monitor and diagnostic_aggregator",
    "/tf": "where the camera is at each image; for queries in other frames",
    "/tf_static": "how the camera is mounted",
    "corrected_path": "poses after a loop closure: keyframes with these stamps move, and the map with them",
    "gaussian_cloud": "centres of the Gaussians with their colours, thinned to viz_max_points",
    "keyframe_markers": "the cameras of the keyframes, for RViz",
    "keyframe_path": "poses of the keyframes",
    "costmap": "where a planner can go, set by `costmap_topic`: poses to drive to respect it",
    "label_info": "the names of the vocabulary and their numbers",
    "occupancy": "where the robot can drive, as far as the map knows: with publish_occupancy, for each version",
    "planning_scene": "the things of `collision_prompts` for MoveIt, as boxes; where moveit_msgs is installed",
    "preview": "the map as drawn from the newest keyframe",
    "query/approach_poses": "where to drive to for the best thing of the last answer, best first; empty = nowhere",
    "query/detections": "the things of the last answer as 3D detections; where vision_msgs is installed",
    "query/goal_pose": "the best of `query/approach_poses`, of the last answer that had one, for nav2",
    "query/keepout": "a mask of the things of `keepout_prompts`, for nav2's keepout filter",
    "query/keepout_info": "what that mask is for; where nav2_msgs is installed",
    "query/markers": "boxes, centres, names and poses to drive to of the last answer, for RViz",
    "query/mask": "the last answer as a mask in the newest keyframe's view",
    "query/overlay": "the last answer painted into the newest keyframe's view",
    "query/points": "the Gaussians of the last answer: x y z rgb score instance id",
    "query_text": "a prompt; the answer comes on the topics query/*",
    "semantic_cloud": "centres of the Gaussians, a colour for each thing, thinned to viz_max_points",
    "capture_now": "the next image becomes a keyframe whatever it shows",
    "pause_capture": "true: images are left out; false: capture goes on",
    "pause_training": "true: the map stays as it is while keyframes come; false: it goes on growing",
    "publish_map": "the whole map on `semantic_gaussians`, once",
    "keyframe_node/reset": "forget what waits and the counts; the stored keyframes stay",
    "training_node/reset": "forget Gaussians and language, build them anew from the keyframes",
}


def main() -> int:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "OFF"
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(page(Path(folder))), end="")
        sys.stdout.flush()
    return 0


def page(folder: Path) -> Iterator[str]:
    import rclpy

    # With these every topic is there; a node takes what it knows of them.
    given = {"map_path": folder / "map", "autostart": "false", "keyframe_transport": "topic", "vocabulary": "mug"}
    given["costmap_topic"] = "costmap"
    arguments = ["--ros-args", "--log-level", "fatal", "--disable-rosout-logs"]
    logging.disable()
    for name, value in given.items():
        arguments += ["-p", f"{name}:={value}"]
    rclpy.init(args=arguments)
    nodes = {name: made(name) for name in NODES}
    yield HEAD
    for name, node in nodes.items():
        yield f"## {name}\n\n{first_sentence(name)}\n"
        yield from table("Topics it listens to", ("topic", "type", "QoS", "what"), listened(node))
        yield from table("Topics it publishes", ("topic", "type", "QoS", "what"), published(node))
        yield from table("Services", ("service", "type", "what"), services(node))
        yield from table("Actions", ("action", "type", "what"), actions(node))
    for name in OTHERS:
        yield f"## {name}\n\n{first_sentence(name)}\n"
    yield from parameters(nodes)
    for node in nodes.values():
        node.close()
        node.destroy_node()
    rclpy.shutdown()


def made(name: str) -> Any:
    return getattr(import_module(f"ccl_lgs_ros.ros.{name}"), CLASSES[name])()


def first_sentence(name: str) -> str:
    return (import_module(f"ccl_lgs_ros.ros.{name}").__doc__ or "").split("\n")[0]


def table(title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A table below its title; nothing where it has no rows."""
    rows = sorted(set(rows))
    if rows:
        yield f"{title}:\n"
        for row in (heads, ("---",) * len(heads), *rows):
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
        yield ""


def listened(node: Any) -> Iterator[tuple[str, ...]]:
    inputs = getattr(getattr(node, "subscriptions_to", None), "inputs", ())
    for source in inputs:
        topic = plain(source.topics[0])
        parameter = f", set by `{source.parameter}`" if source.parameter else ""
        types = " or ".join(f"`{kind}`" for kind in source.types)
        yield f"`{topic}`", types, qos_text(source.qos), f"{MEANINGS.get(topic, source.role)}{parameter}"
    for subscription in node.subscriptions:
        topic = plain(subscription.topic_name)
        what = meaning(topic, subscription.msg_type)
        yield f"`{topic}`", type_text(subscription.msg_type), qos_text(subscription.qos_profile), what


def published(node: Any) -> Iterator[tuple[str, ...]]:
    for publisher in node.publishers:
        if not type_name(publisher.msg_type).startswith(OF_ROS) and "transition_event" not in publisher.topic_name:
            topic = plain(publisher.topic_name)
            what = meaning(topic, publisher.msg_type)
            yield f"`{topic}`", type_text(publisher.msg_type), qos_text(publisher.qos_profile), what


def services(node: Any) -> Iterator[tuple[str, ...]]:
    for service in node.services:
        if not type_name(service.srv_type).startswith(OF_ROS):
            name = plain(service.service_name)
            short = name.replace(f"{node.get_name()}/", "~/")
            yield f"`{short}`", type_text(service.srv_type), meaning(name, service.srv_type)


def actions(node: Any) -> Iterator[tuple[str, ...]]:
    from rclpy.action import get_action_server_names_and_types_by_node

    for name, types in get_action_server_names_and_types_by_node(node, node.get_name(), node.get_namespace()):
        package, folder, kind = types[0].split("/")
        action = getattr(import_module(f"{package}.{folder}"), kind)
        yield f"`{plain(name)}`", type_text(action), meaning(plain(name), action)


def parameters(nodes: dict[str, Any]) -> Iterator[str]:
    """A table for what each node has of its own, and one for the options of the method."""
    from ccl_lgs_ros.config import MapConfig, options
    from ccl_lgs_ros.ros.camera_options import CameraOptions
    from ccl_lgs_ros.ros.launch_arguments import GROUPS

    yield "## Parameters\n"
    yield "*changeable* parameters may be set while the node runs; the others say that they are read-only.\n"
    for name, group in GROUPS.items():
        yield from table(f"Of `{name}`", OWN_HEADS, (own_row(*option, nodes.get(name)) for option in options(group)))
    cameras = ((f"cameras.<name>.{name}", f, default) for name, f, default in options(CameraOptions()))
    yield from table("Of `keyframe_node`, for each of `camera_names`", OWN_HEADS, (own_row(*c, None) for c in cameras))
    yield "Of the method; the defaults are in [config/default.yaml](../config/default.yaml):\n"
    rows = []
    for name, f, _ in options(MapConfig()):
        users = {user.removesuffix("_node"): node for user, node in nodes.items() if node.has_parameter(name)}
        changers = [user for user, node in users.items() if not node.describe_parameter(name).read_only]
        rows.append((f"`{name}`", limits(f), ", ".join(users), ", ".join(changers), f.metadata["doc"]))
    yield from list(table("", ("parameter", "range", "nodes", "changeable in", "what"), rows))[1:]


def own_row(name: str, f: Any, default: Any, node: Any) -> tuple[str, ...]:
    is_changeable = node is not None and not node.describe_parameter(name).read_only
    text = json.dumps(default) if isinstance(default, bool | tuple) else str(default) or "''"
    return f"`{name}`", f"`{text}`", limits(f), "yes" if is_changeable else "", f.metadata["doc"]


def limits(f: Any) -> str:
    from ccl_lgs_ros.ros import options_file

    return options_file.limits(f.metadata).strip(" []")


def plain(name: str) -> str:
    """A name as a node in any namespace has it."""
    return name if name in ("/tf", "/tf_static", "/clock", "/diagnostics") else name.lstrip("/")


def type_name(kind: type) -> str:
    package, folder = kind.__module__.split(".")[:2]
    return f"{package}/{folder}/{kind.__name__}"


def type_text(kind: type) -> str:
    return f"`{type_name(kind)}`"


def meaning(name: str, kind: type) -> str:
    """What a topic, service or action is for."""
    package, folder, short = type_name(kind).split("/")
    if package == "ccl_lgs_ros":
        lines = (ROOT / folder / f"{short}.{folder}").read_text().splitlines()
        comment = itertools.takewhile(lambda line: line.startswith("#"), lines[1:])
        return re.split(r"(?<=[.?:;]) ", " ".join(line.lstrip("# ") for line in comment))[0].rstrip(".:;")
    return MEANINGS.get(name) or MEANINGS[name.rpartition("/")[2]]


def qos_text(qos: Any) -> str:
    if qos.durability.name == "TRANSIENT_LOCAL" and qos.reliability.name == "RELIABLE":
        return f"latched, depth {qos.depth}"
    return f"{qos.reliability.name.lower().replace('_', ' ')}, depth {qos.depth}"


if __name__ == "__main__":
    sys.exit(main())
