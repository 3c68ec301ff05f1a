# SPDX-License-Identifier: Apache-2.0
"""Corrections of keyframes by a path of optimised poses: what is fixed to the robot moves with it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_lgs_ros.geometry import (
    check_rigid,
    interpolate_rigid,
    invert_rigid,
    quat_from_rotation,
    rigid,
    rotation_from_quat,
)
from ccl_lgs_ros.ingest.corrections import MIN_STEP, PathCorrector
from ccl_lgs_ros.ingest.records import PathRecord, TransformRecord
from ccl_lgs_ros.ingest.transforms import TransformBuffer

MS = 1_000_000
S = 1000 * MS
START = 1_700_000_000 * S
FRAMES = {"": "camera"}


@dataclass(frozen=True)
class Place:
    stamp_ns: int
    world_from_camera: np.ndarray
    camera_name: str = ""


def turned(angle: float, *, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """A turn about z, then a shift."""
    quat = np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
    return rigid(rotation_from_quat(quat), np.array([x, y, z]))


LOOP = turned(0.17, x=0.4, y=-0.3)  # half a metre and ten degrees


def drive(count: int = 20, *, camera: str = "", delay_ns: int = 0) -> list[Place]:
    """Keyframes of a robot that drives along a curve, five a second."""
    return [
        Place(START + i * S // 5 + delay_ns, turned(0.1 * i, x=0.2 * i, y=np.sin(0.3 * i)), camera)
        for i in range(count)
    ]


def path(poses: Sequence[tuple[int, np.ndarray]], *frames: str) -> PathRecord:
    return PathRecord(
        stamp_ns=START,
        frame_ids=frozenset(frames or ("map",)),
        stamps_ns=np.array([stamp for stamp, _ in poses], np.int64),
        translations=np.array([pose[:3, 3] for _, pose in poses]).reshape(-1, 3),
        quats=np.array([quat_from_rotation(pose[:3, :3]) for _, pose in poses]).reshape(-1, 4),
    )


def path_of(keyframes: Sequence[Place], move: np.ndarray = LOOP) -> PathRecord:
    return path([(k.stamp_ns, move @ k.world_from_camera) for k in keyframes])


def corrector(*, body: str = "", gap: float = 2.0, first: str = "", tf: TransformBuffer | None = None) -> PathCorrector:
    return PathCorrector(
        map_frame="map",
        body_frame=body,
        first_camera=first,
        slop=0.02,
        gap=gap,
        transforms=tf or TransformBuffer(),
    )


def after(keyframes: Sequence[Place], moved: dict) -> list[Place]:
    """The keyframes as the store has them then."""
    return [
        Place(k.stamp_ns, moved.get((k.camera_name, k.stamp_ns), k.world_from_camera), k.camera_name) for k in keyframes
    ]


def test_a_path_that_says_what_is_known_moves_nothing() -> None:
    keyframes = drive()
    assert corrector().corrected(path_of(keyframes, np.eye(4)), keyframes, FRAMES) == {}


@pytest.mark.parametrize("every", [1, 3, 7])
def test_a_path_moved_as_a_whole_moves_every_keyframe_so_and_once(every: int) -> None:
    keyframes, made = drive(), corrector()
    moved = made.corrected(path_of(keyframes[::every]), keyframes, FRAMES)
    assert len(moved) == len(keyframes)
    for keyframe in keyframes:
        found = moved["", keyframe.stamp_ns]
        assert found == pytest.approx(LOOP @ keyframe.world_from_camera, abs=1e-9)
        assert found[:3, :3] @ found[:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)
    made.accept()
    assert made.corrected(path_of(keyframes[::every]), after(keyframes, moved), FRAMES) == {}


def test_between_two_corrections_a_keyframe_moves_as_either_would_have_it_by_time() -> None:
    keyframes = drive(3)
    moves = [turned(0.0, x=1.0), turned(0.2, y=2.0)]
    optimised = path([(k.stamp_ns, m @ k.world_from_camera) for k, m in zip(keyframes[::2], moves, strict=True)])
    found = corrector().corrected(optimised, keyframes, FRAMES)["", keyframes[1].stamp_ns]
    ends = [move @ keyframes[1].world_from_camera for move in moves]
    assert found == pytest.approx(interpolate_rigid(ends[0], ends[1], 0.5), abs=1e-9)


def test_beyond_the_ends_keyframes_move_with_them_within_the_gap_only() -> None:
    keyframes = drive(20)
    moved = corrector(gap=0.5).corrected(path_of(keyframes[8:11]), keyframes, FRAMES)
    assert sorted(stamp for _, stamp in moved) == [k.stamp_ns for k in keyframes[6:13]]
    for keyframe in keyframes[6:13]:
        assert moved["", keyframe.stamp_ns] == pytest.approx(LOOP @ keyframe.world_from_camera, abs=1e-9)


def test_keyframes_from_after_the_jump_that_came_before_the_path_stay() -> None:
    keyframes = drive(16)
    jumped = {("", k.stamp_ns): LOOP @ k.world_from_camera for k in keyframes[12:]}
    stored = after(keyframes, jumped)
    made = corrector()
    moved = made.corrected(path_of(keyframes[:10]), stored, FRAMES)
    assert sorted(stamp for _, stamp in moved) == [k.stamp_ns for k in keyframes[:12]]
    later = drive(18)[17]
    assert np.array_equal(made.present("", later.stamp_ns, later.world_from_camera), later.world_from_camera)


def test_images_that_waited_while_keyframes_moved_move_too_until_localisation_has_jumped() -> None:
    keyframes, made = drive(18), corrector()
    made.corrected(path_of(keyframes[:10]), keyframes[:12], FRAMES)
    for keyframe in keyframes[12:14]:
        found = made.present("", keyframe.stamp_ns, keyframe.world_from_camera)
        assert found == pytest.approx(LOOP @ keyframe.world_from_camera, abs=1e-9)
    for keyframe in keyframes[14:]:
        jumped = LOOP @ keyframe.world_from_camera
        assert np.array_equal(made.present("", keyframe.stamp_ns, jumped), jumped)


def test_an_image_of_another_time_is_not_moved() -> None:
    keyframes = drive(10)
    for stamp in (keyframes[3].stamp_ns, keyframes[-1].stamp_ns + 3 * S):
        made = corrector()
        made.corrected(path_of(keyframes), keyframes, FRAMES)
        assert np.array_equal(made.present("", stamp, np.eye(4)), np.eye(4))
    assert np.array_equal(corrector().present("", START, LOOP), LOOP)


def test_disorder_repetition_and_nonsense_change_nothing() -> None:
    keyframes = drive(8)
    clean = path_of(keyframes)
    expected = corrector().corrected(clean, keyframes, FRAMES)
    generator = np.random.default_rng(0)
    order = generator.permutation(8)
    bad_quats = np.array([[np.nan] * 4, [0.0] * 4, [9.0, 0, 0, 0], [1.0, 0, 0, 0], [1.0, 0, 0, 0], [1.0, 0, 0, 0]])
    bad_places = np.array([[0.0] * 3] * 3 + [[np.nan, 0, 0], [0, 1e300, 0], [0.0] * 3])
    stamps = [keyframes[0].stamp_ns + MS * i for i in range(5)]
    dirty = PathRecord(
        stamp_ns=0,
        frame_ids=frozenset({"map"}),
        stamps_ns=np.concatenate([clean.stamps_ns[:1], stamps, [0], clean.stamps_ns[order]]),
        translations=np.concatenate([[[99.0, 0.0, 0.0]], bad_places, clean.translations[order]]),
        quats=np.concatenate([clean.quats[:1], bad_quats, clean.quats[order]]),
    )
    found = corrector().corrected(dirty, keyframes, FRAMES)
    assert found.keys() == expected.keys()
    assert all(np.allclose(found[key], expected[key], atol=1e-12) for key in found)
    assert corrector().corrected(path([]), keyframes, FRAMES) == {}
    assert corrector().corrected(clean, [], FRAMES) == {}


NUMBERS = st.sampled_from([0.0, -0.3, 7.0, 1e9, -1e300, np.inf, np.nan])
QUATS = st.sampled_from([(1.0, 0, 0, 0), (0.5, -0.5, 0.5, 0.5), (0.0, 0, 0, 0), (1e300, 0, 0, 0), (np.nan, 0, 0, 1.0)])
STAMPS = st.integers(-(2**31) * S, 2**31 * S) | st.integers(0, 20).map(lambda i: START + i * S // 5)


@settings(max_examples=60)
@given(st.lists(st.tuples(STAMPS, st.tuples(*[NUMBERS] * 3), QUATS), max_size=12))
def test_whatever_a_path_holds_keyframes_stay_rigid(poses: list) -> None:
    keyframes, made = drive(), corrector()
    hostile = PathRecord(
        stamp_ns=0,
        frame_ids=frozenset(),
        stamps_ns=np.array([stamp for stamp, _, _ in poses], np.int64),
        translations=np.array([place for _, place, _ in poses], np.float64).reshape(-1, 3),
        quats=np.array([quat for _, _, quat in poses], np.float64).reshape(-1, 4),
    )
    for _ in range(2):
        moved = made.corrected(hostile, keyframes, FRAMES)
        made.accept()
        keyframes = after(keyframes, moved)
    for pose in moved.values():
        check_rigid(pose)


def test_poses_of_another_frame_are_refused_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    keyframes, made = drive(), corrector()
    record = path_of(keyframes)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            other = path([(k.stamp_ns, LOOP @ k.world_from_camera) for k in keyframes], "map", "odom")
            assert made.corrected(other, keyframes, FRAMES) == {}
    assert [r.getMessage() for r in caplog.records] == [
        "corrected_path is in the frame 'odom', poses are wanted in 'map'; it is not used"
    ]
    assert len(made.corrected(record, keyframes, FRAMES)) == len(keyframes)


def test_poses_of_the_robot_are_led_to_each_camera_by_tf() -> None:
    tf = TransformBuffer()
    base_from = {"front": turned(0.3, x=0.2, z=0.5), "left": turned(1.8, y=0.1, z=0.7)}
    for name, pose in base_from.items():
        quat = quat_from_rotation(pose[:3, :3])
        tf.add(
            TransformRecord(
                stamp_ns=0,
                parent="base_link",
                child=f"{name}_optical",
                translation=tuple(pose[:3, 3].tolist()),  # type: ignore[arg-type]
                quat=tuple(quat.tolist()),  # type: ignore[arg-type]
                is_static=True,
            )
        )
    robot = drive(10)
    keyframes = [
        Place(k.stamp_ns + 50 * MS * (name == "left"), k.world_from_camera @ pose, name)
        for k in robot
        for name, pose in base_from.items()
    ]
    made = corrector(body="base_link", tf=tf)
    frames = {name: f"{name}_optical" for name in base_from}
    moved = made.corrected(path_of(robot), keyframes, frames)
    assert len(moved) == len(keyframes)
    for keyframe in keyframes:
        assert moved[keyframe.camera_name, keyframe.stamp_ns] == pytest.approx(
            LOOP @ keyframe.world_from_camera, abs=1e-9
        )
    assert corrector(body="nothing", tf=tf).corrected(path_of(robot), keyframes, frames) == {}


def test_other_cameras_move_with_the_first() -> None:
    keyframes = [*drive(10, camera="front"), *drive(10, camera="left", delay_ns=70 * MS)]
    front = [k for k in keyframes if k.camera_name == "front"]
    moved = corrector(first="front").corrected(path_of(front), keyframes, {"front": "f", "left": "l"})
    assert len(moved) == len(keyframes)


def test_a_path_of_other_stamps_moves_keyframes_when_it_changes() -> None:
    keyframes, made = drive(12), corrector()
    nodes = [
        (a.stamp_ns + 90 * MS, interpolate_rigid(a.world_from_camera, b.world_from_camera, 0.45))
        for a, b in pairwise(keyframes)
    ]
    assert made.corrected(path(nodes), keyframes, FRAMES) == {}
    assert made.corrected(path(nodes), keyframes, FRAMES) == {}
    moved = made.corrected(path([(stamp, LOOP @ pose) for stamp, pose in nodes]), keyframes, FRAMES)
    assert len(moved) == len(keyframes)
    for keyframe in keyframes:
        assert moved["", keyframe.stamp_ns] == pytest.approx(LOOP @ keyframe.world_from_camera, abs=1e-9)


def test_small_changes_add_up_until_they_count() -> None:
    keyframes, made = drive(6), corrector()
    small = turned(0.0, x=0.6 * MIN_STEP)
    nodes = [(k.stamp_ns + 90 * MS, k.world_from_camera) for k in keyframes]
    paths = [path([(stamp, np.linalg.matrix_power(small, n) @ pose) for stamp, pose in nodes]) for n in range(3)]
    assert made.corrected(paths[0], keyframes, FRAMES) == made.corrected(paths[1], keyframes, FRAMES) == {}
    moved = made.corrected(paths[2], keyframes, FRAMES)
    assert len(moved) == len(keyframes)
    step = moved["", keyframes[0].stamp_ns] @ invert_rigid(keyframes[0].world_from_camera)
    assert step[0, 3] == pytest.approx(1.2 * MIN_STEP)


def test_a_stamp_within_the_slop_of_a_keyframe_is_its_own() -> None:
    keyframes = drive(5)
    late = path([(k.stamp_ns + 15 * MS, LOOP @ k.world_from_camera) for k in keyframes])
    assert len(corrector().corrected(late, keyframes, FRAMES)) == 5
    too_late = path([(k.stamp_ns + 25 * MS, LOOP @ k.world_from_camera) for k in keyframes])
    assert corrector().corrected(too_late, keyframes, FRAMES) == {}
