# SPDX-License-Identifier: Apache-2.0
"""The transform buffer keeps tf2's rules."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from ccl_lgs_ros.geometry import invert_rigid, rotation_angle, transform_points
from ccl_lgs_ros.ingest.messages import transform_records
from ccl_lgs_ros.ingest.records import TransformRecord
from ccl_lgs_ros.ingest.transforms import (
    DisconnectedError,
    FutureExtrapolationError,
    PastExtrapolationError,
    TransformBuffer,
)

S = 1_000_000_000


def sent(
    parent: str, child: str, t: float, x: float = 0.0, *, yaw: float = 0.0, y: float = 0.0, is_static: bool = False
) -> TransformRecord:
    return TransformRecord(
        stamp_ns=int(t * S),
        parent=parent,
        child=child,
        translation=(x, y, 0.0),
        quat=(math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)),
        is_static=is_static,
    )


def buffer(*records: TransformRecord, cache: float = math.inf) -> TransformBuffer:
    made = TransformBuffer(cache=cache)
    for record in records:
        made.add(record)
    return made


def test_between_two_samples_it_interpolates_place_and_turn() -> None:
    tf = buffer(sent("map", "base", 1.0, 0.0), sent("map", "base", 2.0, 4.0, yaw=1.0))
    found = tf.lookup("map", "base", int(1.25 * S))
    np.testing.assert_allclose(found[:3, 3], [1.0, 0.0, 0.0], atol=1e-9)
    assert rotation_angle(found) == pytest.approx(0.25)


def test_at_a_sample_it_returns_the_sample() -> None:
    tf = buffer(*(sent("map", "base", t, x=t * t) for t in range(5)))
    for t in range(5):
        assert tf.lookup("map", "base", t * S)[0, 3] == t * t


def test_order_of_arrival_does_not_matter() -> None:
    records = [sent("map", "base", 0.1 * i, x=math.sin(i), yaw=0.1 * i) for i in range(10)]
    shuffled = [records[i] for i in np.random.default_rng(1).permutation(10)]
    for t in (0.0, 0.33, 0.9):
        stamp = int(t * S)
        np.testing.assert_allclose(
            buffer(*records).lookup("map", "base", stamp), buffer(*shuffled).lookup("map", "base", stamp)
        )


def test_before_the_first_and_after_the_last_sample_it_refuses_each_in_its_way() -> None:
    tf = buffer(sent("map", "base", 1.0), sent("map", "base", 2.0))
    with pytest.raises(FutureExtrapolationError, match=r"'base' is 0\.500 s older"):
        tf.lookup("map", "base", int(2.5 * S))
    with pytest.raises(PastExtrapolationError, match=r"'base' is 0\.250 s newer"):
        tf.lookup("map", "base", int(0.75 * S))


def test_one_sample_holds_at_its_stamp_alone() -> None:
    tf = buffer(sent("map", "base", 1.0, 3.0))
    assert tf.lookup("map", "base", S)[0, 3] == 3.0
    with pytest.raises(FutureExtrapolationError):
        tf.lookup("map", "base", S + 1)


def test_static_transforms_hold_at_every_stamp_and_the_newest_counts() -> None:
    tf = buffer(sent("base", "camera", 5.0, 1.0, is_static=True), sent("base", "camera", 0.0, 2.0, is_static=True))
    for stamp in (0, S, 10**18):
        assert tf.lookup("base", "camera", stamp)[0, 3] == 2.0


def test_a_lookup_goes_up_to_the_common_parent_and_down_again() -> None:
    tf = buffer(
        sent("map", "odom", 0.0, 10.0, is_static=True),
        sent("odom", "base", 1.0, 1.0, yaw=math.pi / 2),
        sent("base", "left", 0.0, 0.5, is_static=True),
        sent("base", "right", 0.0, -0.5, is_static=True),
    )
    left_from_right = tf.lookup("left", "right", 7 * S)  # base moves not in it, so its stamps do not matter
    np.testing.assert_allclose(left_from_right[:3, 3], [-1.0, 0.0, 0.0], atol=1e-12)
    map_from_left = tf.lookup("map", "left", S)
    np.testing.assert_allclose(transform_points(map_from_left, np.zeros(3)), [11.0, 0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(tf.lookup("left", "map", S), invert_rigid(map_from_left), atol=1e-12)


def test_a_frame_is_itself() -> None:
    np.testing.assert_array_equal(TransformBuffer().lookup("x", "x", 5), np.eye(4))


def test_frames_without_a_chain_are_named() -> None:
    tf = buffer(sent("map", "base", 1.0), sent("world", "camera", 1.0))
    with pytest.raises(DisconnectedError, match="no chain of transforms joins 'map' and 'camera'"):
        tf.lookup("map", "camera", S)
    with pytest.raises(DisconnectedError, match="nothing publishes the frame 'lidar'"):
        tf.lookup("map", "lidar", S)
    assert tf.connects("map", "base") and not tf.connects("map", "camera")
    assert tf.roots == {"map", "world"}


def test_a_loop_of_frames_is_an_error_not_a_hang() -> None:
    tf = buffer(sent("a", "b", 1.0), sent("b", "c", 1.0), sent("c", "a", 1.0))
    with pytest.raises(DisconnectedError, match="loop"):
        tf.lookup("map", "c", S)


def test_a_child_that_changes_its_parent_is_not_interpolated_across() -> None:
    tf = buffer(sent("map", "cup", 1.0, 1.0), sent("hand", "cup", 2.0, 9.0), sent("map", "hand", 0.0, is_static=True))
    assert tf.lookup("map", "cup", int(1.5 * S))[0, 3] == 1.0
    assert tf.lookup("map", "cup", 2 * S)[0, 3] == 9.0


def test_samples_older_than_the_cache_are_forgotten() -> None:
    tf = buffer(*(sent("map", "base", t, x=t) for t in range(101)), cache=10.0)
    assert tf.lookup("map", "base", int(90.5 * S))[0, 3] == 90.5
    with pytest.raises(PastExtrapolationError):
        tf.lookup("map", "base", int(89.5 * S))
    tf.add(sent("map", "base", 99.5, x=-5.0))  # late, but within the cache
    assert tf.lookup("map", "base", int(99.5 * S))[0, 3] == -5.0


def test_memory_is_bounded_by_the_cache() -> None:
    tf = buffer(*(sent("map", "base", 0.01 * i) for i in range(5000)), cache=1.0)
    assert len(tf._tracks["base"]._stamps) <= 2 * 101 + 1


def test_of_two_samples_with_one_stamp_the_later_counts() -> None:
    tf = buffer(sent("map", "base", 0.0, 0.0), sent("map", "base", 1.0, 1.0), sent("map", "base", 2.0, 0.0), cache=10.0)
    tf.add(sent("map", "base", 1.0, 5.0))
    assert tf.lookup("map", "base", S)[0, 3] == 5.0
    assert tf.lookup("map", "base", S // 2)[0, 3] == tf.lookup("map", "base", S + S // 2)[0, 3] == 2.5
    assert len(tf._tracks["base"]._stamps) == 3


def test_data_older_than_the_cache_is_ignored() -> None:
    tf = buffer(*(sent("map", "base", 0.01 * i, i) for i in range(200)), cache=0.5)
    tf.add(sent("map", "base", 1.2, -7.0))
    with pytest.raises(PastExtrapolationError):
        tf.lookup("map", "base", int(1.2 * S))
    assert tf.lookup("map", "base", int(1.99 * S))[0, 3] == 199


def test_frames_of_different_rates_are_each_interpolated_at_the_stamp() -> None:
    tf = buffer(
        *(sent("map", "odom", t, x=10.0 * t) for t in range(3)),  # 1 Hz
        *(sent("odom", "base", 0.01 * i, x=0.02 * i) for i in range(300)),  # 100 Hz
        *(sent("base", "head", 0.4 * i, yaw=0.4 * i) for i in range(7)),  # 2.5 Hz
        sent("head", "camera", 0.0, 1.0, is_static=True),
    )
    found = tf.lookup("map", "camera", int(1.234 * S))
    place = [12.34 + 2 * 1.234 + math.cos(1.234), math.sin(1.234), 0.0]
    np.testing.assert_allclose(found[:3, 3], place, atol=1e-9)
    assert rotation_angle(found) == pytest.approx(1.234)
    with pytest.raises(FutureExtrapolationError, match=r"'odom' is 0\.100 s older"):
        tf.lookup("map", "camera", int(2.1 * S))


def test_half_a_turn_away_the_shorter_way_is_taken() -> None:
    late = TransformRecord(stamp_ns=S, parent="map", child="base", translation=(0, 0, 0), quat=(-1, 0, 0, 0))
    tf = buffer(sent("map", "base", 0.0), late)  # q and -q are one rotation
    assert rotation_angle(tf.lookup("map", "base", S // 2)) == pytest.approx(0.0, abs=1e-9)
    tf = buffer(sent("map", "base", 0.0, yaw=3.0), sent("map", "base", 1.0, yaw=-3.0))
    assert rotation_angle(tf.lookup("map", "base", S // 2)) == pytest.approx(math.pi)


def test_the_newest_common_time_is_that_of_the_frames_on_the_way() -> None:
    tf = buffer(
        sent("map", "base", 5.0, 100.0),  # localisation stopped long ago; it is not on the way
        *(sent("base", "pan", t, x=t) for t in (7.0, 8.0, 9.0)),
        *(sent("pan", "camera", t, x=10 * t) for t in (7.0, 8.0)),
        sent("base", "lidar", 0.0, 1.0, is_static=True),
    )
    assert tf.lookup_newest("base", "pan")[0, 3] == 9.0
    assert tf.lookup_newest("lidar", "camera")[0, 3] == 8.0 + 80.0 - 1.0
    assert tf.lookup_newest("camera", "lidar")[0, 3] == -87.0
    assert tf.lookup_newest("base", "lidar")[0, 3] == 1.0
    assert tf.lookup_newest("pan", "pan")[0, 3] == 0.0
    with pytest.raises(DisconnectedError):
        tf.lookup_newest("world", "camera")


def test_the_newest_common_time_goes_by_the_newest_parent() -> None:
    tf = buffer(
        sent("table", "cup", 1.0, 1.0),
        sent("hand", "cup", 2.0, 0.5),
        sent("map", "hand", 3.0, 7.0),
        sent("map", "table", 1.0, 50.0),
    )
    tf.add(sent("map", "hand", 2.0, 6.0))
    assert tf.lookup_newest("map", "cup")[0, 3] == 6.5


def test_a_frame_that_turns_static_forgets_that_it_moved_and_back() -> None:
    tf = buffer(sent("base", "camera", 1.0, 1.0), sent("base", "camera", 0.0, 2.0, is_static=True))
    assert tf.lookup("base", "camera", 99 * S)[0, 3] == 2.0
    tf.add(sent("base", "camera", 3.0, 3.0))
    with pytest.raises(PastExtrapolationError):
        tf.lookup("base", "camera", 2 * S)


def test_the_leading_slash_of_older_drivers_is_dropped() -> None:
    at = SimpleNamespace(sec=1, nanosec=0)
    transform = SimpleNamespace(
        translation=SimpleNamespace(x=4.0, y=0.0, z=0.0), rotation=SimpleNamespace(w=1.0, x=0.0, y=0.0, z=0.0)
    )
    message = SimpleNamespace(
        header=SimpleNamespace(stamp=at, frame_id="/map"), child_frame_id="/base", transform=transform
    )
    tf = buffer(*transform_records(SimpleNamespace(transforms=[message])))
    assert tf.lookup("map", "base", S)[0, 3] == 4.0
    with pytest.raises(DisconnectedError, match=r"nothing publishes the frame '/map' \(frames in tf: base, map\)"):
        tf.lookup("/map", "base", S)


def test_a_quaternion_that_is_off_by_rounding_is_normalised() -> None:
    w, z = 1.002 * math.cos(0.2), 1.002 * math.sin(0.2)
    record = TransformRecord(stamp_ns=S, parent="map", child="base", translation=(0, 0, 0), quat=(w, 0, 0, z))
    found = buffer(record).lookup("map", "base", S)
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-12)
    assert rotation_angle(found) == pytest.approx(0.4)


def test_a_jump_back_forgets_the_child_and_keeps_what_is_static() -> None:
    tf = buffer(
        sent("base", "camera", 0.0, 1.0, is_static=True),
        *(sent("map", "base", t, x=t) for t in range(100, 110)),
        sent("map", "base", 2.0, 7.0),
        cache=30.0,
    )
    assert tf.lookup("map", "camera", 2 * S)[0, 3] == 8.0
    with pytest.raises(FutureExtrapolationError):
        tf.lookup("map", "camera", 105 * S)


def test_a_stamp_that_nobody_filled_is_no_jump_back() -> None:
    tf = buffer(sent("map", "base", 100.0), sent("map", "base", 0.0), sent("map", "base", 101.0), cache=30.0)
    tf.lookup("map", "base", int(100.5 * S))


def test_a_recording_forgets_nothing_when_its_stamps_jump() -> None:
    tf = buffer(sent("map", "base", 100.0, 1.0), sent("map", "base", 2.0, 7.0))
    assert tf.lookup("map", "base", 100 * S)[0, 3] == 1.0
    tf.forget_later(0)
    assert tf.lookup("map", "base", 2 * S)[0, 3] == 7.0


def test_clear_and_forget_later_keep_static_transforms() -> None:
    for forget in (lambda tf: tf.clear(), lambda tf: tf.forget_later(5 * S)):
        tf = buffer(sent("map", "base", 100.0), sent("base", "camera", 0.0, 1.0, is_static=True), cache=30.0)
        forget(tf)
        assert tf.lookup("base", "camera", 0)[0, 3] == 1.0
        with pytest.raises(DisconnectedError):
            tf.lookup("map", "base", 100 * S)


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (TransformRecord(stamp_ns=1, parent="", child="b", translation=(0, 0, 0), quat=(1, 0, 0, 0)), "no frame"),
        (TransformRecord(stamp_ns=1, parent="b", child="b", translation=(0, 0, 0), quat=(1, 0, 0, 0)), "itself"),
        (TransformRecord(stamp_ns=1, parent="a", child="b", translation=(0, 0, 0), quat=(0, 0, 0, 0)), "not rigid"),
        (TransformRecord(stamp_ns=1, parent="a", child="b", translation=(0, 0, 0), quat=(1.01, 0, 0, 0)), "not rigid"),
        (
            TransformRecord(stamp_ns=1, parent="a", child="b", translation=(math.nan, 0, 0), quat=(1, 0, 0, 0)),
            "not rigid",
        ),
        (
            TransformRecord(stamp_ns=1, parent="a", child="b", translation=(0, 0, 0), quat=(math.nan, 0, 0, 1)),
            "not rigid",
        ),
    ],
)
def test_what_is_no_transform_is_refused(record: TransformRecord, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        TransformBuffer().add(record)
