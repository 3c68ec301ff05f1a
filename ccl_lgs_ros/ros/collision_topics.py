# SPDX-License-Identifier: Apache-2.0
"""The things that an arm must not hit, kept up to date for MoveIt as the map and the last answer change."""

import torch
from rclpy.node import Node

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.ros.collision_objects import moveit_messages, object_id, scene_message
from ccl_lgs_ros.ros.conversions import header_message
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides
from ccl_lgs_ros.ros.standing import StandingAnswer
from ccl_lgs_ros.structures import SemanticMap

SAME = 0.5  # share of its Gaussians that a thing has in common with one that it is, or is a part of

Target = tuple[Instance, SemanticMap]  # with the map that it was found in


class CollisionTopics:
    """Publishes `planning_scene` where moveit_msgs is present; node is whose topic it is."""

    def __init__(self, node: Node) -> None:
        self._node, self._moveit = node, moveit_messages()
        self._scene = None
        if self._moveit is not None:
            self._scene = node.create_publisher(self._moveit.PlanningScene, "planning_scene", **with_overrides(LATCHED))
        self._standing: StandingAnswer | None = None
        self._target: Target | None = None
        self._present: set[str] = set()  # ids that MoveIt was told of
        self._is_due = False

    @property
    def is_possible(self) -> bool:
        """Whether there is a message for it."""
        return self._scene is not None

    def follow(self, standing: StandingAnswer) -> None:
        """What the map says now."""
        self._standing, self._is_due = standing, True

    def answered(self, semantic_map: SemanticMap, best: Instance | None) -> None:
        """The thing that was asked for last; None where nothing was found."""
        self._target = None if best is None else (best, semantic_map)
        self._is_due = self._standing is not None

    def look(self, is_target_kept: bool) -> None:
        """Publish what has changed."""
        if not self._is_due or self._standing is None or self._scene is None:
            return
        self._is_due = False
        target = None if is_target_kept else self._target
        things = collision_things(self._standing, target)
        gone = sorted(self._present - set(things))
        if things or gone:
            frame = self._standing.semantic_map.map_frame
            header = header_message(self._node.get_clock().now().nanoseconds, frame)
            self._scene.publish(scene_message(self._moveit, things, gone, header))
        self._present = set(things)


def collision_things(standing: StandingAnswer, target: Target | None) -> dict[str, Instance]:
    """The things by id, each once although several prompts name it, without the one that was asked for."""
    things: dict[str, Instance] = {}
    known: set[tuple[str, int]] = set()
    for prompt, instances in standing.things.items():
        for instance in instances:
            is_asked_for = target is not None and is_same(instance, standing.semantic_map, *target)
            if (instance.level, instance.id) not in known and not is_asked_for:
                known.add((instance.level, instance.id))
                things[object_id(prompt, instance)] = instance
    return things


def is_same(thing: Instance, its_map: SemanticMap, other: Instance, others_map: SemanticMap) -> bool:
    """Whether two instances are one thing, or one is a part of the other; of different versions, by their ids."""
    if (thing.level, thing.id) == (other.level, other.id):
        return True
    if (its_map.map_id, its_map.version) != (others_map.map_id, others_map.version):
        return False
    common = int(torch.isin(thing.gaussian_ids, other.gaussian_ids).sum())
    return common > SAME * min(len(thing.gaussian_ids), len(other.gaussian_ids))
