# SPDX-License-Identifier: Apache-2.0
"""Where a robot stands well to deal with a thing, as people and programs read it: a table, JSON, a floor plan."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.boxes_in_pictures import DrawnBox
from ccl_lgs_ros.floor_plan import FloorPlan, Image
from ccl_lgs_ros.geometry import quat_from_rotation
from ccl_lgs_ros.navigating import Surroundings
from ccl_lgs_ros.navigation.approach import Approach, Approaches
from ccl_lgs_ros.pictures import captioned
from ccl_lgs_ros.showing import asked_text


def approaches_text(found: Answer, stands: Sequence[Approaches], axes: NDArray[np.float64]) -> str:
    """A short table: positions in the map, yaw from the first of the level axes [3, 3] towards the second."""
    lines = [f'"{asked_text(found)}": {found.message}']
    for item, stand in zip(found.instances, stands, strict=True):
        x, y, z = item.box.center
        lines.append(f"id {item.id} (score {item.score:.2f}) at ({x:.2f}, {y:.2f}, {z:.2f}) m: {stand.message}")
        if stand.poses:
            lines.append(f"{'score':>7}  {'x y z (m)':<24} {'yaw (deg)':>9} {'distance (m)':>12} {'clearance (m)':>13}")
        for pose in stand.poses:
            place = " ".join(f"{value:7.3f}" for value in pose.world_from_base[:3, 3])
            yaw = np.degrees(yaw_of(pose, axes))
            lines.append(f"{pose.score:>7.2f}  {place:<24} {yaw:>9.0f} {pose.distance:>12.2f} {pose.clearance:>13.2f}")
    return "\n".join(lines)


def approaches_json(found: Answer, stands: Sequence[Approaches], axes: NDArray[np.float64]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "prompt": asked_text(found),
        "message": found.message,
        "map_version": found.map_version,
        "instances": [
            {
                "id": item.id,
                "score": round(float(item.score), 4),
                "message": stand.message,
                "places": stand.places,
                "refused": dict(stand.refused),
                "approaches": [_pose_json(pose, axes) for pose in stand.poses],
            }
            for item, stand in zip(found.instances, stands, strict=True)
        ],
    }


def approaches_picture(
    found: Answer, stands: Sequence[Approaches], around: Surroundings, world_from_camera: NDArray[np.floating]
) -> Image:
    """A floor plan with the path of the cameras [n, 4, 4], what was found, and where to stand for it."""
    points = np.concatenate([world_from_camera[:, :3, 3], *(item.box.center[None] for item in found.instances)])
    plan = FloorPlan(around.space.grid, points)
    if len(world_from_camera):
        plan.draw_cameras(world_from_camera)
    for item, stand in zip(found.instances, stands, strict=True):
        plan.draw_robots([pose.world_from_base for pose in stand.poses], around.space.robot.inner_radius)
        plan.draw_box(DrawnBox(item.box, f"{asked_text(found)} {item.score:.2f}"))
    return captioned(plan.finished(), f'where to stand for "{asked_text(found)}": {found.message}')


def yaw_of(pose: Approach, axes: NDArray[np.float64]) -> float:
    """The heading of a pose in radians, from the first of the level axes [3, 3] towards the second."""
    forward = axes @ pose.world_from_base[:3, 0]
    return float(np.arctan2(forward[1], forward[0]))


def _pose_json(pose: Approach, axes: NDArray[np.float64]) -> dict[str, Any]:
    quat = quat_from_rotation(pose.world_from_base[:3, :3])
    return {
        "position": [round(float(value), 5) for value in pose.world_from_base[:3, 3]],
        "quaternion_xyzw": [round(float(value), 5) for value in np.roll(quat, -1)],
        "yaw": round(yaw_of(pose, axes), 5),
        "distance": round(pose.distance, 4),
        "clearance": round(pose.clearance, 4),
        "score": round(pose.score, 4),
    }
