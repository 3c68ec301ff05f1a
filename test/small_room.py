# SPDX-License-Identifier: Apache-2.0
"""A synthetic room as keyframes in memory, small enough that a whole session takes seconds."""

from functools import lru_cache

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.synthetic.scene import Scene, make_room_scene

NUM_KEYFRAMES = 6
SMALL = {
    "gaussians.iterations": 8,
    "gaussians.seed_stride": 4,
    "gaussians.image_width": 96,
    "masks.min_area_px": 20,
    "association.min_votes": 2.0,
    "field.batch_px": 256,
}


@lru_cache
def room() -> Scene:
    return make_room_scene(3, width=96, height=72)


@lru_cache
def keyframes() -> list[Keyframe]:
    """Frames that follow each other closely, near the middle of the drive."""
    moments = room().moments(60)[30 : 30 + NUM_KEYFRAMES]
    frames = [room().frame(float(seconds)) for seconds in moments]
    return [frame.keyframe(index) for index, frame in enumerate(frames)]


def small_config(**changes: object) -> MapConfig:
    """Options for this room; changes by dotted name, with __ for the point."""
    return updated(MapConfig(), {**SMALL, **{name.replace("__", "."): value for name, value in changes.items()}})
