# SPDX-License-Identifier: Apache-2.0
"""A striped wall with a box before it, seen exactly by ray casting: image and depth for any camera."""

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import Gaussians

CAMERA = Camera(width=64, height=48, fx=60.0, fy=60.0, cx=32.0, cy=24.0)
WALL, FRONT = 2.0, 1.2  # metres from the first camera, along z
HALF = 0.2  # metres; half the width of the box's front, a square that hangs before the wall


def view(
    index: int = 0, x: float = 0.0, *, camera: Camera = CAMERA, has_box: bool = True, gain: float = 1.0
) -> Keyframe:
    """What a camera that was moved x metres to the right sees."""
    world_from_camera = rigid(np.eye(3), np.array([x, 0.0, 0.0]))
    rays = camera.unproject(np.ones((camera.height, camera.width), np.float32)).astype(np.float64)
    on_front = rays * FRONT + world_from_camera[:3, 3]
    is_box = has_box & (np.abs(on_front[..., :2]) < HALF).all(axis=2)
    depth = np.where(is_box, FRONT, WALL)
    points = rays * depth[..., None] + world_from_camera[:3, 3]
    color = np.where(is_box[..., None], [0.8, 0.2, 0.15], _stripes(points[..., 0]))
    return Keyframe(
        id=index,
        stamp_ns=index * 10**8,
        camera=camera,
        world_from_camera=world_from_camera,
        image=np.clip(np.rint(color * gain * 255), 0, 255).astype(np.uint8),
        depth=depth.astype(np.float32),
    )


def drive(count: int = 9, **options) -> list[Keyframe]:
    """Keyframes from left to right."""
    return [view(i, x, **options) for i, x in enumerate(np.linspace(-0.3, 0.3, count))]


def seeded(keyframes: list[Keyframe]) -> Gaussians:
    """A map without colour learnt: each keyframe adds what those before it did not show."""
    gaussians = Gaussians.empty()
    for keyframe in keyframes:
        seen = NumbaRasterizer().render(gaussians, keyframe.camera, keyframe.world_from_camera)
        gaussians = gaussians.joined(seed_gaussians(keyframe, seen))
    return gaussians


def _stripes(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """A wall whose colour changes smoothly from side to side."""
    wave = 0.5 + 0.3 * np.sin(6.0 * x)
    return np.stack([0.3 + 0.0 * wave, wave, 0.9 - wave], axis=-1)
