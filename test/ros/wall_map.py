# SPDX-License-Identifier: Apache-2.0
"""A map directory with keyframes of the fake camera's wall, and options that build it in a second or two."""

from pathlib import Path

import numpy as np
from ros.fake_camera import FOCAL, HEIGHT, MAX_STEPS, START_NS, STEP, STEP_PX, WIDTH, plane, wall

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

BUILD = 120.0  # seconds that a build of the small map may take on a busy machine
ENDLESS = 1_000_000  # iterations
TRAIN = {
    "niceness": 0,
    "refine_idle": 0.0,
    "gaussians__iterations": 10,
    "gaussians__image_width": 80,
    "gaussians__seed_stride": 1,
    "codebook__iterations": 20,
    "rendering__rasterizer": "numba_cpu",
    "device": "cpu",
}
ON_DEMAND = {**TRAIN, "train": False}


def wall_map(path: Path, count: int = 8) -> Path:
    """A map directory that holds keyframes and nothing else."""
    camera = Camera(width=WIDTH, height=HEIGHT, fx=FOCAL, fy=FOCAL, cx=WIDTH / 2, cy=HEIGHT / 2)
    with KeyframeStore(MapDirectory.create(path), writable=True) as store:
        for index in range(count):
            step = MAX_STEPS // 2 - count // 2 + index
            store.append(
                Keyframe(
                    id=index,
                    stamp_ns=START_NS + index,
                    camera=camera,
                    world_from_camera=rigid(np.eye(3), np.array([step * STEP, 0.0, 0.0])),
                    image=np.ascontiguousarray(wall()[:, step * STEP_PX : step * STEP_PX + WIDTH]),
                    depth=plane(),
                )
            )
    return path
