# SPDX-License-Identifier: Apache-2.0
"""Points of an image from posed neighbours: exact views give exact depths, wrong matches give none."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from small_room import keyframes, room

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.gaussians.triangulate import (
    Features,
    Matches,
    _Bundle,
    epipolar_error,
    features_of,
    matched,
    rays,
    triangulate,
)
from ccl_lgs_ros.geometry import invert_rigid, rigid, transform_points

CAMERA = Camera(width=320, height=240, fx=280.0, fy=270.0, cx=161.0, cy=119.0)
Floats = NDArray[np.float64]


def points(count: int, seed: int = 0) -> Floats:
    """[n, 3] before the camera, all of them in the image."""
    random = np.random.default_rng(seed)
    x, y, z = random.uniform(-0.4, 0.4, count), random.uniform(-0.3, 0.3, count), random.uniform(1.0, 4.0, count)
    return np.stack([x * z, y * z, z], axis=1)


def features(pixels: Floats) -> Features:
    """Features whose descriptors play no part."""
    return Features(pixels=pixels, descriptors=np.zeros((len(pixels), 128), np.float32))


def seen(world: Floats, pose: Floats, noise: float = 0.0, said: Floats | None = None) -> Matches:
    """What a neighbour at a pose shows of all points; its pose may be said to be another."""
    pixels = CAMERA.project(transform_points(pose, world)).astype(np.float64)
    pixels += np.random.default_rng(1).normal(size=pixels.shape) * noise
    said = pose if said is None else said
    return Matches(camera=CAMERA, neighbour_from_camera=said, feature=np.arange(len(world)), pixels=pixels)


def moved(x: float, y: float = 0.0, z: float = 0.0, turn: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Floats:
    """neighbour_from_camera of a neighbour that turned, in radians."""
    return rigid(Rotation.from_rotvec(turn).as_matrix(), np.array([-x, -y, -z]))


def test_a_point_that_moves_by_f_b_over_z_lies_at_z() -> None:
    # f = 280, a neighbour 0.2 m to the right: a point 2 m ahead moves 28 pixels to the left.
    match = Matches(
        camera=CAMERA, neighbour_from_camera=moved(0.2), feature=np.array([0]), pixels=np.array([[132.0, 100.0]])
    )
    found = triangulate(CAMERA, features(np.array([[160.0, 100.0]])), [match])
    assert found.depth == pytest.approx([2.0], rel=1e-6)
    assert found.errors_px == pytest.approx([0.0], abs=1e-6)


@pytest.mark.parametrize("motion", [moved(0.2), moved(0.0, 0.0, 0.4), moved(0.1, 0.1, -0.2, (0.05, -0.2, 0.1))])
def test_exact_views_give_exact_depths_whatever_the_motion(motion: Floats) -> None:
    world = points(200)
    found = triangulate(CAMERA, features(CAMERA.project(world).astype(np.float64)), [seen(world, motion)])
    known = np.isfinite(found.depth)
    assert known.mean() > 0.5  # the others lie almost where the camera goes
    np.testing.assert_allclose(found.depth[known], world[known, 2], rtol=1e-4)
    np.testing.assert_array_equal(found.neighbour_from_camera[0], motion)


def test_a_match_that_its_rays_contradict_and_a_point_far_away_have_no_depth() -> None:
    world = np.array([[0.0, 0.0, 2.0], [0.1, 0.1, 2.0], [0.0, 0.0, 500.0], [0.1, 0.0, 2.0]])
    match = seen(world, moved(0.2))
    match.pixels[1, 1] += 9.0  # off its epipolar line
    match.pixels[3, 0] += 80.0  # on the wrong side: behind the camera
    found = triangulate(CAMERA, features(CAMERA.project(world).astype(np.float64)), [match])
    assert np.isfinite(found.depth).tolist() == [True, False, False, False]


def test_derivatives_are_those_of_small_differences() -> None:
    world = points(5)
    given, match = features(CAMERA.project(world).astype(np.float64)), seen(world, moved(0.2, turn=(0.02, 0.1, 0.0)))
    bundle = _Bundle(CAMERA, given, [match])
    bundle.inverse_depth = 1.0 / (world[:, 2] + 0.3)
    pose, inverse_depth = bundle.poses[0].copy(), bundle.inverse_depth.copy()
    error, by_pose, by_depth = bundle._linearised(0)
    for axis in range(6):
        step = np.zeros(6)
        step[axis] = 1e-6
        bundle.poses[0] = rigid(Rotation.from_rotvec(step[:3]).as_matrix() @ pose[:3, :3], pose[:3, 3] + step[3:])
        np.testing.assert_allclose((bundle._linearised(0)[0] - error) / 1e-6, by_pose[:, :, axis], rtol=1e-3, atol=1e-2)
    bundle.poses[0], bundle.inverse_depth = pose, inverse_depth + 1e-6
    np.testing.assert_allclose((bundle._linearised(0)[0] - error) / 1e-6, by_depth, rtol=1e-3, atol=1e-3)


def test_a_neighbour_that_is_not_where_its_pose_says_is_put_there() -> None:
    world, pixels_noise = points(300), 0.2
    true = [moved(0.25), moved(-0.25), moved(0.1, 0.25)]
    wrong = [rigid(Rotation.from_rotvec([0.006, 0.0, 0.006]).as_matrix() @ pose[:3, :3], pose[:3, 3]) for pose in true]
    matches = [seen(world, pose, pixels_noise, said) for pose, said in zip(true, wrong, strict=True)]
    given = features(CAMERA.project(world).astype(np.float64))
    trusting = _Bundle(CAMERA, given, matches)
    trusting.solve_depths()
    found = triangulate(CAMERA, given, matches)
    assert max(found.errors_px) < 0.5 < min(np.median(error) for error in trusting.errors())
    for pose, said, put in zip(true, wrong, found.neighbour_from_camera, strict=True):
        turn = [Rotation.from_matrix(p[:3, :3] @ pose[:3, :3].T).magnitude() for p in (said, put)]
        assert turn[1] < 0.5 * turn[0]


def test_poses_that_the_matches_agree_with_are_left_alone() -> None:
    world, pose = points(100), moved(0.2)
    found = triangulate(CAMERA, features(CAMERA.project(world).astype(np.float64)), [seen(world, pose, noise=0.3)])
    np.testing.assert_array_equal(found.neighbour_from_camera[0], pose)


def test_rays_that_meet_have_no_epipolar_error_and_a_pixel_aside_is_a_pixel() -> None:
    world, pose = points(50), moved(0.3)
    here = CAMERA.project(world).astype(np.float64)
    there = CAMERA.project(transform_points(pose, world)).astype(np.float64)
    error = epipolar_error(rays(CAMERA, here), rays(CAMERA, there), pose, 280.0)
    np.testing.assert_allclose(error, 0.0, atol=1e-6)
    there[:, 1] += 1.0  # across the lines, which lie along x; Sampson shares it between both images
    aside = np.abs(epipolar_error(rays(CAMERA, here), rays(CAMERA, there), pose, 280.0))
    np.testing.assert_allclose(aside, 280.0 / 270.0 / np.sqrt(2.0), rtol=1e-6)


def test_an_image_without_features_matches_nothing() -> None:
    plain = features_of(np.full((60, 80, 3), 128, np.uint8))
    assert len(plain) == 0
    match = matched(CAMERA, plain, CAMERA, plain, moved(0.1))
    assert not len(match.feature)
    assert not len(triangulate(CAMERA, plain, [match]).depth)


def test_points_of_a_room_lie_where_rays_meet_it() -> None:
    """Frames of the synthetic room, 96x72 pixels; a pixel there is 0.6 degrees wide."""
    frames = [room().frame(float(s)) for s in room().moments(60)[30:36]]
    views, found = keyframes(), [features_of(keyframe.image) for keyframe in keyframes()]
    errors = []
    for i, view in enumerate(views):
        matches = []
        for j, other in enumerate(views):
            if i != j:
                apart = invert_rigid(other.world_from_camera) @ view.world_from_camera
                matches.append(matched(view.camera, found[i], other.camera, found[j], apart))
        depth = triangulate(view.camera, found[i], matches).depth
        known = np.isfinite(depth)
        columns, rows = np.floor(found[i].pixels[known]).astype(int).T
        errors += (np.abs(depth[known] / frames[i].true_depth[rows, columns] - 1.0)).tolist()
    assert len(errors) >= 15
    assert np.median(errors) < 0.15
