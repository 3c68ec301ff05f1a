# SPDX-License-Identifier: Apache-2.0
"""Things as MoveIt has what an arm must not hit, where moveit_msgs is present; without it nothing else is missing."""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose
from numpy.typing import NDArray
from std_msgs.msg import Header

from ccl_lgs_ros.answers import Box, Instance
from ccl_lgs_ros.geometry import invert_rigid, rigid
from ccl_lgs_ros.ros.conversions import pose_message

GRASP = "grasp"  # the subframe at the surface: z out of it, x level


def moveit_messages() -> Any | None:
    """The messages of MoveIt that are used, by name; None where they are not installed."""
    try:
        moveit, shapes = import_module("moveit_msgs.msg"), import_module("shape_msgs.msg")
        names = ("CollisionObject", "PlanningScene", "PlanningSceneWorld", "RobotState")
        return SimpleNamespace(**{name: getattr(moveit, name) for name in names}, SolidPrimitive=shapes.SolidPrimitive)
    except (ImportError, AttributeError):
        return None


def object_id(prompt: str, instance: Instance) -> str:
    """A name that stays with the thing: ccl_lgs_red_mug_12."""
    return f"ccl_lgs_{re.sub(r'[^a-z0-9]+', '_', prompt.lower()).strip('_')}_{instance.id}"


def scene_message(moveit: Any, things: Mapping[str, Instance], gone: Sequence[str], header: Header) -> Any:
    """A PlanningScene that changes these things and leaves everything else as it is.

    Args:
        moveit: of `moveit_messages`.
        things: by id; one that MoveIt knows already is put in its place.
        gone: ids of things to remove.
    """
    removed = [moveit.CollisionObject(header=header, id=id, operation=moveit.CollisionObject.REMOVE) for id in gone]
    present = [_object(moveit, id, instance, header) for id, instance in things.items()]
    return moveit.PlanningScene(
        robot_state=moveit.RobotState(is_diff=True),
        world=moveit.PlanningSceneWorld(collision_objects=[*removed, *present]),
        is_diff=True,
    )


def _object(moveit: Any, id: str, instance: Instance, header: Header) -> Any:
    box = instance.box
    shape = moveit.SolidPrimitive(type=moveit.SolidPrimitive.BOX, dimensions=[float(side) for side in box.size])
    result = moveit.CollisionObject(
        header=header,
        id=id,
        pose=pose_message(rigid(box.rotation, box.center)),
        primitives=[shape],
        primitive_poses=[Pose()],
        operation=moveit.CollisionObject.ADD,
    )
    if instance.surface_point is not None and instance.surface_normal is not None:
        result.subframe_names = [GRASP]
        result.subframe_poses = [pose_message(_grasp(box, instance.surface_point, instance.surface_normal))]
    return result


def _grasp(box: Box, point: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """box_from_grasp [4, 4]: at a point of the surface, z out of it, x across the box's own up axis."""
    z = normal / np.linalg.norm(normal)
    across = np.cross(box.rotation[:, 2], z)
    if np.linalg.norm(across) < 1e-3:  # a level surface
        across = np.cross(box.rotation[:, 1], z)
    x = across / np.linalg.norm(across)
    world_from_grasp = rigid(np.stack([x, np.cross(z, x), z], axis=1), point)
    return invert_rigid(rigid(box.rotation, box.center)) @ world_from_grasp
