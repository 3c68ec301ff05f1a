# SPDX-License-Identifier: Apache-2.0
"""What hangs in space that depth images looked through."""

import numpy as np
import torch
from mini_scene import gaussians_at

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.gaussians.free_space import is_looked_through

CAMERA = Camera(width=32, height=24, fx=30.0, fy=30.0, cx=16.0, cy=12.0)


def keyframe(depth: float | np.ndarray | None) -> Keyframe:
    """A view from the origin along z."""
    if depth is not None:
        depth = np.broadcast_to(np.asarray(depth, np.float32), (24, 32)).copy()
    image = np.zeros((24, 32, 3), np.uint8)
    return Keyframe(id=0, stamp_ns=0, camera=CAMERA, world_from_camera=np.eye(4), image=image, depth=depth)


def looked_through(points: list[list[float]], *keyframes: Keyframe) -> list[bool]:
    return is_looked_through(gaussians_at(np.array(points)), keyframes).tolist()


def test_only_what_lies_clearly_before_the_measured_surface_is_looked_through():
    points = [[0, 0, 1.0], [0, 0, 1.95], [0, 0, 2.0], [0, 0, 3.0], [0, 0, -1.0], [9, 0, 1.0]]
    assert looked_through(points, keyframe(2.0)) == [True, False, False, False, False, False]


def test_views_that_measured_it_outweigh_views_that_looked_through():
    point = [[0, 0, 1.0]]
    assert looked_through(point, keyframe(1.0), keyframe(2.0)) == [False]
    assert looked_through(point, keyframe(1.0), keyframe(2.0), keyframe(2.0)) == [True]


def test_unknown_depth_says_nothing():
    assert looked_through([[0, 0, 1.0]], keyframe(np.nan), keyframe(None)) == [False]


def test_the_rim_of_a_near_thing_survives_a_pose_that_is_off_by_a_pixel():
    depth = np.full((24, 32), 3.0)
    depth[:, :16] = 1.0
    just_off, far_off = [0.02, 0, 1.0], [0.3, 0, 1.0]
    assert looked_through([just_off, far_off], keyframe(depth)) == [False, True]


def test_no_gaussians_and_no_keyframes_are_taken():
    assert is_looked_through(gaussians_at(torch.zeros(0, 3)), [keyframe(1.0)]).tolist() == []
    assert looked_through([[0, 0, 1.0]]) == [False]
