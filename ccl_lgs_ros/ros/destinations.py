# SPDX-License-Identifier: Apache-2.0
"""Where the robot drives to for the things of an answer, and the topics that say so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from geometry_msgs.msg import PoseArray, PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import Header

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.navigating import Surroundings, find_approaches
from ccl_lgs_ros.ros.conversions import pose_message
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides
from ccl_lgs_ros.ros.questions import Reply
from ccl_lgs_ros.ros.requests import Question


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Destinations:
    """Poses of the robot's base for the instances of an answer, in their order."""

    poses: tuple[tuple[NDArray[np.float64], ...], ...] = ()  # [I][up to max_approaches] world_from_base, best first
    message: str = ""  # why the best instance has none

    @property
    def best(self) -> tuple[NDArray[np.float64], ...]:
        """Those of the best instance that has any."""
        return next((poses for poses in self.poses if poses), ())


def destinations(reply: Reply, question: Question, around: Surroundings, config: MapConfig) -> Destinations:
    """Where to drive to for the instances of an answer, at the standoff that the question asks for."""
    options = config.navigation
    standoff = options.standoff if question.standoff is None else question.standoff
    count = max(question.num_approaches, options.max_approaches)
    config = replace(config, navigation=replace(options, standoff=standoff, max_approaches=count))
    near = None if reply.world_from_asker is None else reply.world_from_asker[:3, 3]
    found = [find_approaches(instance, around, config, near) for instance in reply.answer.instances]
    return Destinations(
        poses=tuple(tuple(pose.world_from_base for pose in item.poses) for item in found),
        message=f"; {found[0].message}" if found and not found[0].poses else "",
    )


def with_destinations(reply: Reply, found: Destinations, note: str = "") -> Reply:
    """The answer whose sentence says where there is no place to drive to."""
    said = f"{reply.message}{found.message}"
    return replace(reply, message=f"{said}; {note}" if note and reply.answer.instances else said)


class DestinationTopics:
    """Publishes `query/goal_pose` and `query/approach_poses` in the map frame; node is whose topics they are."""

    def __init__(self, node: Node) -> None:
        self._goal = node.create_publisher(PoseStamped, "query/goal_pose", **with_overrides(LATCHED))
        self._all = node.create_publisher(PoseArray, "query/approach_poses", **with_overrides(LATCHED))

    def publish(self, poses: Sequence[NDArray[np.float64]], header: Header) -> None:
        """The poses for one thing, best first; without any the goal stays that of an earlier answer."""
        messages = [pose_message(pose) for pose in poses]
        self._all.publish(PoseArray(header=header, poses=messages))
        if messages:
            self._goal.publish(PoseStamped(header=header, pose=messages[0]))


def poses_of(instances: Sequence[Instance], found: Destinations, count: int) -> list[tuple[NDArray[np.float64], ...]]:
    """The poses that a response lists for each instance."""
    return [poses[:count] for poses in found.poses] if found.poses else [()] * len(instances)
