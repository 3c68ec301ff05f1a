# SPDX-License-Identifier: Apache-2.0
"""A robot that turns in a small room for as long as one likes: every keyframe is stored, read back and mapped.

What is measured is the memory that the process holds as keyframes come; the room's own size is reached in the first
rounds, so what grows afterwards grows with the number of keyframes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from harness import resident_mb

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

WIDTH, HEIGHT = 48, 36  # pixels
HALF_SIDE = 2.0  # metres from the middle to a wall
TILES = 3  # to each side of a wall
ROUND = 25  # keyframes to one round
WARM_SHARE = 0.3  # of a mission, before which the slope is not taken
SAMPLES = 50
NOISE = 2  # grey values
OPTIONS = {
    "perception.segmenter": "topic",
    "perception.encoder": "builtin",
    "gaussians.image_width": WIDTH,
    "gaussians.seed_stride": 4,
    "masks.min_area_px": 8,
}


@dataclass(slots=True)
class Course:
    """How memory went over a mission."""

    keyframes: list[int] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    num_gaussians: int = 0
    vote_bytes: int = 0

    @property
    def slope(self) -> float:
        """Megabytes for a thousand keyframes, fitted to what comes after the warm-up."""
        first = int(WARM_SHARE * len(self.keyframes))
        return 1000 * float(np.polyfit(self.keyframes[first:], self.megabytes[first:], 1)[0])


def one_round() -> list[Keyframe]:
    """The keyframes of one round in the middle of a cube whose walls are tiled, each tile a thing of its own."""
    camera = Camera(width=WIDTH, height=HEIGHT, fx=WIDTH / 2, fy=WIDTH / 2, cx=WIDTH / 2, cy=HEIGHT / 2)
    return [_seen(camera, 2 * np.pi * turn / ROUND) for turn in range(ROUND)]


def _seen(camera: Camera, angle: float) -> Keyframe:
    """What a camera in the middle of the cube sees that is turned by an angle about the upright axis."""
    forward, right = (np.array([np.cos(a), np.sin(a), 0.0]) for a in (angle, angle - np.pi / 2))
    rotation = np.stack([right, [0.0, 0.0, -1.0], forward], axis=1)
    v, u = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1) @ rotation.T
    depth = HALF_SIDE / np.abs(rays).max(axis=-1)
    place = rays * depth[..., None]
    axis = np.abs(rays).argmax(axis=-1)[..., None]
    wall = (2 * axis + (np.take_along_axis(rays, axis, -1) > 0))[..., 0]
    cell = np.clip(np.floor((place / HALF_SIDE + 1) * TILES / 2), 0, TILES - 1).astype(np.int32)
    labels = (wall * TILES**3 + cell @ np.array([TILES**2, TILES, 1])).astype(np.int32) + 1
    colors = np.random.default_rng(0).integers(30, 226, (6 * TILES**3 + 1, 3))
    return Keyframe(
        id=0,
        stamp_ns=0,
        camera=camera,
        world_from_camera=rigid(rotation, np.zeros(3)),
        image=colors[labels].astype(np.uint8),
        depth=depth.astype(np.float32),
        labels=labels,
    )


def keyframes(count: int) -> Iterator[Keyframe]:
    """As many keyframes as one likes, no two with the same pixels."""
    known, random = one_round(), np.random.default_rng(0)
    for index in range(count):
        seen = known[index % ROUND]
        noise = random.integers(-NOISE, NOISE + 1, seen.image.shape)
        image = np.clip(seen.image + noise, 0, 255).astype(np.uint8)
        yield replace(seen, stamp_ns=1 + index * 10**8, image=image)


def drive(folder: Path, count: int, *, maps: bool = True) -> Course:
    """Store, read back and, unless `maps` is off, map so many keyframes."""
    directory, course = MapDirectory.create(folder / "map"), Course()
    session = MapSession(updated(MapConfig(), OPTIONS), directory)
    every = max(count // SAMPLES, 1)
    with KeyframeStore(directory, writable=True) as store:
        for index, keyframe in enumerate(keyframes(count)):
            store.append(keyframe)
            stored = store[index]
            if maps:
                session.add(stored)
            if (index + 1) % every == 0:
                course.keyframes.append(index + 1)
                course.megabytes.append(resident_mb())
    course.num_gaussians, course.vote_bytes = len(session.gaussians), session.live.num_bytes
    return course
