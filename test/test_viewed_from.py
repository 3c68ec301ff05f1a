# SPDX-License-Identifier: Apache-2.0
"""Which keyframes show a thing best, and where its surface is nearest to who asks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_scene import gaussians_at
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.query.boxes import upright_box
from ccl_lgs_ros.query.surface import instance_seen
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import Gaussians
from ccl_lgs_ros.viewing import COARSE, coarse, viewed_from

CAMERA = Camera(width=80, height=60, fx=60.0, fy=60.0, cx=40.0, cy=30.0)
UP = np.array([0.0, 0.0, 1.0])
RADIUS = 0.2
BALL = RADIUS * (lambda v: v / np.linalg.norm(v, axis=1, keepdims=True))(np.random.default_rng(0).normal(size=(600, 3)))


def looking_at(eye: tuple[float, float, float], target: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> NDArray:
    """world_from_camera [4, 4] of a level camera."""
    forward = np.array(target, float) - np.array(eye, float)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, UP)
    right /= np.linalg.norm(right)
    return rigid(np.stack([right, np.cross(forward, right), forward], axis=1), np.array(eye))


def views_from(*poses: NDArray, sharpness: list[float] | None = None, depths: list | None = None) -> ViewedFrom:
    """Views whose ids are ten times their places."""
    return ViewedFrom(
        keyframe_ids=10 * np.arange(len(poses)),
        cameras=(CAMERA,) * len(poses),
        world_from_camera=np.array(poses),
        sharpness=None if sharpness is None else np.array(sharpness),
        depth_of=depths.__getitem__ if depths else None,
    )


def test_the_nearer_view_is_better_and_one_that_looks_away_shows_nothing() -> None:
    views = views_from(looking_at((4, 0, 0)), looking_at((2, 0, 0)), looking_at((2, 0, 0), (4, 0, 0)))
    assert views.best(BALL).tolist() == [10, 0]


def test_a_view_that_cuts_the_thing_off_is_worse() -> None:
    views = views_from(looking_at((2, 0, 0), (0, 1.2, 0)), looking_at((3, 0, 0)))
    assert views.best(BALL).tolist()[0] == 10


def test_a_blurred_view_is_worse() -> None:
    poses = [looking_at((2, 0, 0)), looking_at((0, 2, 0)), looking_at((0, -2, 0))]
    assert views_from(*poses, sharpness=[10.0, 100.0, 90.0]).best(BALL).tolist()[-1] == 0


def test_a_view_of_the_back_of_a_wall_is_worse_than_one_of_its_front() -> None:
    wall = np.random.default_rng(0).uniform(-0.3, 0.3, (50, 3)) * [0, 1, 1]
    normals = np.tile([1.0, 0.0, 0.0], (50, 1))
    views = views_from(looking_at((-2, 0, 0)), looking_at((2.5, 0, 0)))
    assert views.best(wall, normals).tolist()[0] == 10
    assert views.best(wall).tolist()[0] == 0


@pytest.mark.parametrize(("hidden", "expected"), [(0.0, [0, 10]), (0.5, [10, 0]), (1.0, [10])])
def test_what_stands_before_a_thing_hides_it_as_far_as_it_reaches(hidden: float, expected: list[int]) -> None:
    blocked = np.full((30, 40), 5.0, np.float32)
    blocked[:, : round(20 + 40 * (hidden - 0.5))] = 0.5
    free = np.full((30, 40), 5.0, np.float32)
    views = views_from(looking_at((2, 0, 0)), looking_at((2.2, 0, 0)), depths=[blocked, free])
    assert views.best(BALL).tolist() == expected


def test_no_more_depth_is_looked_up_than_a_few_views_have() -> None:
    looked_up = []

    def depth_of(view: int) -> NDArray:
        looked_up.append(view)
        return np.full((30, 40), 5.0, np.float32)

    angles = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    views = replace(views_from(*[looking_at((2 * np.cos(a), 2 * np.sin(a), 0)) for a in angles]), depth_of=depth_of)
    assert len(views.best(BALL, count=5)) == 5
    assert len(looked_up) <= 12


def test_no_views_and_no_points_are_no_answer() -> None:
    assert views_from(looking_at((2, 0, 0))).best(np.zeros((0, 3))).tolist() == []
    none = ViewedFrom(keyframe_ids=np.zeros(0, np.int64), cameras=(), world_from_camera=np.zeros((0, 4, 4)))
    assert none.best(BALL).tolist() == []


def ball_map(strays: int = 0) -> tuple[Gaussians, Instance]:
    """Flat Gaussians on a ball, some strays before it, and the ball as an instance."""
    points = np.concatenate([BALL, [[0.6, 0.0, 0.0]] * strays]) if strays else BALL
    gaussians = gaussians_at(points, 0.02)
    flat = gaussians.log_scales.clone()
    flat[:, 2] = float(np.log(0.001))
    quats = torch.from_numpy(np.array([facing(point) for point in points], np.float32))
    gaussians = replace(gaussians, log_scales=flat, quats=quats)
    instance = Instance(
        id=1,
        level="wp",
        score=1.0,
        centroid=np.zeros(3),
        box=upright_box(BALL, UP),
        gaussian_ids=torch.arange(len(points)),
    )
    return gaussians, instance


def facing(normal: NDArray) -> NDArray:
    """A quaternion wxyz that turns z to a direction."""
    half = normal / np.linalg.norm(normal) + UP
    half /= max(float(np.linalg.norm(half)), 1e-9)
    return np.array([half @ UP, *np.cross(UP, half)])


def test_the_surface_point_is_the_nearest_to_the_best_view_with_the_normal_towards_it() -> None:
    gaussians, instance = ball_map(strays=3)
    seen = instance_seen(instance, gaussians, views_from(looking_at((2, 0, 0)), looking_at((0, 4, 0))))
    assert seen.keyframe_ids == (0, 10)
    assert seen.surface_point is not None
    assert seen.surface_normal is not None
    np.testing.assert_allclose(seen.surface_point, [RADIUS, 0, 0], atol=0.06)
    assert seen.surface_normal[0] > 0.95
    assert np.linalg.norm(seen.surface_normal) == pytest.approx(1.0)


def test_who_asks_from_elsewhere_gets_the_point_on_that_side() -> None:
    gaussians, instance = ball_map()
    views = views_from(looking_at((2, 0, 0)), looking_at((0, 2, 0)))
    seen = instance_seen(instance, gaussians, views, near=np.array([0.0, 1.0, 0.0]))
    assert seen.surface_point is not None
    assert seen.surface_normal is not None
    np.testing.assert_allclose(seen.surface_point, [0, RADIUS, 0], atol=0.06)
    assert seen.surface_normal[1] > 0.95


def test_what_no_view_shows_is_left_as_it_was() -> None:
    gaussians, instance = ball_map()
    assert instance_seen(instance, gaussians, views_from(looking_at((2, 0, 0), (4, 0, 0)))) is instance


def test_coarse_depth_is_the_farthest_that_is_known_of_each_block() -> None:
    depth = np.full((96, 128), 2.0, np.float32)
    depth[:2, :2] = [[1.0, 3.0], [np.nan, 2.0]]
    depth[2:4, :2] = np.nan
    small = coarse(depth)
    assert small.shape == COARSE[::-1]
    assert small[0, 0] == 3.0
    assert small[1, 0] == 0.0
    assert coarse(depth[:5, :7]).shape == (5, 7)


def test_the_views_of_a_store_are_its_keyframes_with_their_depth(tmp_path: Path) -> None:
    pose, image = looking_at((2, 0, 0)), np.zeros((60, 80, 3), np.uint8)
    depth = np.full((60, 80), 1.5, np.float32)
    with KeyframeStore(MapDirectory.create(tmp_path / "map"), writable=True) as store:
        for stamp, known in enumerate((depth, None)):
            keyframe = Keyframe(
                id=0, stamp_ns=stamp, camera=CAMERA, world_from_camera=pose, image=image, depth=known, sharpness=3.0
            )
            assert store.append(keyframe)
        views = viewed_from(store)
    assert views.keyframe_ids.tolist() == [0, 1]
    np.testing.assert_allclose(views.pose_of(1), pose, atol=1e-9)
    assert views.depth_of is not None
    first = views.depth_of(0)
    assert first is not None
    assert np.all(first == 1.5)
    assert views.depth_of(1) is None
    (store.path / "depth" / "000000.png").write_bytes(b"gone")
    again = viewed_from(store)
    assert again.depth_of is not None
    assert again.depth_of(0) is None


def test_a_map_without_keyframes_shows_nothing() -> None:
    gaussians, instance = ball_map()
    none = ViewedFrom(keyframe_ids=np.zeros(0, np.int64), cameras=(), world_from_camera=np.zeros((0, 4, 4)))
    assert instance_seen(instance, gaussians, none) is instance
