# SPDX-License-Identifier: Apache-2.0
"""A synthetic room that is driven through more than once: things go and move, or the robot loses its way."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.pipeline import create_encoder, query_map
from ccl_lgs_ros.structures import SemanticMap
from ccl_lgs_ros.synthetic.room import Room
from ccl_lgs_ros.synthetic.scene import Scene, make_room_scene

WIDTH, NUM_KEYFRAMES = 160, 40
DRIFT, DRIFT_TURN = 0.5, np.radians(10)  # metres and radians at the end of a drive
CONFIG = updated(
    MapConfig(),
    {
        "gaussians.image_width": WIDTH,
        "gaussians.iterations": 60,
        "masks.min_area_px": 40,
        "association.min_votes": 2.5,
    },
)


@lru_cache
def scene() -> Scene:
    return make_room_scene(3, width=WIDTH, height=WIDTH * 3 // 4)


@lru_cache
def first_drive() -> tuple[Keyframe, ...]:
    return drive(scene(), 0)


def drive(through: Scene, start: int) -> tuple[Keyframe, ...]:
    """The keyframes of a drive, numbered from `start` on."""
    return tuple(frame.keyframe(start + index) for index, frame in enumerate(through.frames(NUM_KEYFRAMES)))


def changed(gone: str, moved: str) -> Scene:
    """The room without one thing, and another one in its place."""
    room = scene().room
    lost, other = (next(item for item in room.objects if item.category == name) for name in (gone, moved))
    put = replace(other, x=lost.x, y=lost.y, z=lost.z)
    objects = tuple(put if item is other else item for item in room.objects if item is not lost)
    return replace(scene(), room=replace(room, objects=objects))


def drifted(keyframes: Sequence[Keyframe]) -> list[Keyframe]:
    """The keyframes as an odometry that drifts steadily has them."""
    return [
        replace(keyframe, world_from_camera=drift(index / (len(keyframes) - 1)) @ keyframe.world_from_camera)
        for index, keyframe in enumerate(keyframes)
    ]


def drift(share: float) -> NDArray[np.float64]:
    """[4, 4] by how much the map is off after a share of the drive."""
    turn = Rotation.from_rotvec([0.0, 0.0, share * DRIFT_TURN]).as_matrix()
    return rigid(turn, np.array([share * DRIFT, 0.0, 0.0]))


def answers(semantic_map: SemanticMap, prompt: str) -> list[NDArray[np.float64]]:
    """The centroids [3] of what a prompt finds."""
    found = query_map(semantic_map, prompt, CONFIG, create_encoder(semantic_map, CONFIG))
    return [np.asarray(instance.centroid, np.float64) for instance in found.instances]


def errors(semantic_map: SemanticMap, room: Room) -> NDArray[np.float64]:
    """Metres from every object to the nearest answer of its prompt; infinite where there is none."""
    found = {prompt: answers(semantic_map, prompt) for prompt in room.categories}
    return np.array(
        [
            min((float(np.linalg.norm(point - item.centroid)) for point in found[item.category]), default=np.inf)
            for item in room.objects
        ]
    )
