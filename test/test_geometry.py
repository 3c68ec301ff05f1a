# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import (
    interpolate_rigid,
    interpolate_rigids,
    invert_rigid,
    quat_from_rotation,
    rigid,
    rigids,
    rotation_angle,
    rotation_from_quat,
    transform_points,
)

numbers = st.floats(-3, 3, allow_nan=False)
quats = st.tuples(numbers, numbers, numbers, numbers).filter(lambda q: np.linalg.norm(q) > 0.1).map(np.array)
vectors = st.tuples(numbers, numbers, numbers).map(np.array)


@given(quats)
def test_a_quaternion_survives_the_way_through_a_matrix_up_to_sign(quat) -> None:
    back = quat_from_rotation(rotation_from_quat(quat))
    unit = quat / np.linalg.norm(quat)
    assert abs(np.dot(back, unit)) == pytest.approx(1.0)
    assert back[0] >= 0


def test_a_quaternion_is_wxyz() -> None:
    quarter_turn_about_z = rotation_from_quat(np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)]))
    assert np.allclose(quarter_turn_about_z @ [1, 0, 0], [0, 1, 0])


@given(quats, vectors, vectors)
def test_the_inverse_takes_points_back(quat, translation, point) -> None:
    world_from_camera = rigid(rotation_from_quat(quat), translation)
    there = transform_points(world_from_camera, point)
    assert np.allclose(transform_points(invert_rigid(world_from_camera), there), point, atol=1e-9)


@given(quats, quats, vectors, vectors)
def test_half_way_is_as_far_from_both_ends(a, b, s, t) -> None:
    before, after = rigid(rotation_from_quat(a), s), rigid(rotation_from_quat(b), t)
    middle = interpolate_rigid(before, after, 0.5)
    first, second = (rotation_angle(invert_rigid(middle) @ end) for end in (before, after))
    assert first == pytest.approx(second, abs=1e-6)
    assert np.allclose(middle[:3, 3], (s + t) / 2)


def test_many_at_once_are_as_one_after_the_other() -> None:
    generator = np.random.default_rng(0)
    quats, translations = generator.normal(size=(2, 20, 4)), generator.normal(size=(2, 20, 3))
    fractions = np.concatenate([[0.0, 1.0], generator.random(18)])
    before, after = (rigids(q, t) for q, t in zip(quats, translations, strict=True))
    between = interpolate_rigids(before, after, fractions)
    for i in range(20):
        assert np.allclose(before[i], rigid(rotation_from_quat(quats[0, i]), translations[0, i]))
        assert np.allclose(between[i], interpolate_rigid(before[i], after[i], fractions[i]))
    assert rigids(np.zeros((0, 4)), np.zeros((0, 3))).shape == (0, 4, 4)
    assert interpolate_rigids(before[:0], after[:0], fractions[:0]).shape == (0, 4, 4)


def test_a_zero_quaternion_is_refused() -> None:
    with pytest.raises(ValueError, match="wxyz"):
        rotation_from_quat(np.zeros(4))


def test_projecting_what_was_unprojected_gives_the_pixel_centres() -> None:
    camera = Camera(width=3, height=2, fx=2.0, fy=2.5, cx=1.4, cy=1.1)
    points = camera.unproject(np.full((2, 3), 1.7, np.float32))
    pixels = camera.project(points)
    assert np.allclose(pixels[1, 2], [2.5, 1.5], atol=1e-5)
    assert np.allclose(pixels[0, 0], [0.5, 0.5], atol=1e-5)


def test_a_resized_camera_sees_the_same_directions() -> None:
    camera = Camera(width=640, height=480, fx=500.0, fy=510.0, cx=320.0, cy=239.0)
    half = camera.resized(320, 240)
    point = np.array([0.3, -0.2, 2.0])
    assert np.allclose(half.project(point) * 2, camera.project(point))


def test_a_point_behind_the_camera_has_no_pixel() -> None:
    camera = Camera(width=4, height=4, fx=2.0, fy=2.0, cx=2.0, cy=2.0)
    assert np.isnan(camera.project(np.array([0.0, 0.0, -1.0]))).all()
