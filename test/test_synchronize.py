# SPDX-License-Identifier: Apache-2.0
"""The assembler pairs, waits and gives up as it says, and counts what it drops."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from capture_records import MS, START, S, colour, depth, info, pose, transform

from ccl_lgs_ros.ingest.drops import Drops
from ccl_lgs_ros.ingest.frames import PosedFrame
from ccl_lgs_ros.ingest.records import Record
from ccl_lgs_ros.ingest.synchronize import Assembler

FAR = START + 1000 * S


def assembler(**changes: object) -> Assembler:
    options = {
        "map_frame": "map",
        "camera_frame": "",
        "use_depth": False,
        "pose_source": "auto",
        "sync_slop": 0.02,
        "tf_timeout": 1.0,
        "tf_cache": 30.0,
        "pending_queue": 30,
        "drops": Drops(),
        **changes,
    }
    return Assembler(**options)  # type: ignore[arg-type]


def feed(made: Assembler, *records: Record, now_ns: int | None = None, is_end: bool = False) -> list[PosedFrame]:
    for record in records:
        made.add(record)
    return list(made.ready(now_ns, is_end=is_end))


def counts(made: Assembler) -> dict[str, int]:
    return {reason: count for reason, count in made._drops.counts.items() if count}


def still(made: Assembler) -> Assembler:
    """A camera that stands at the map's origin."""
    feed(made, transform(0, is_static=True), info(), info(is_depth=True))
    return made


@pytest.mark.parametrize(
    ("offset_ms", "is_paired"), [(0, True), (5, True), (15, True), (20, True), (21, False), (40, False)]
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_depth_within_the_slop_is_paired(offset_ms: int, is_paired: bool, sign: int) -> None:
    made = still(assembler(use_depth=True))
    frames = feed(made, colour(START), depth(START + sign * offset_ms * MS), depth(START + S))
    assert len(frames) == is_paired
    assert counts(made) == ({} if is_paired else {"sync": 1})


def test_the_nearest_depth_is_taken_once_depth_has_caught_up() -> None:
    made = still(assembler(use_depth=True))
    assert feed(made, colour(START), depth(START - 9 * MS)) == []
    assert "depth" in made.waiting
    (frame,) = feed(made, depth(START + 4 * MS))
    assert frame.depth is not None and frame.depth.stamp_ns == START + 4 * MS


def test_an_image_waits_for_its_transform_and_gets_the_interpolated_pose() -> None:
    made = assembler()
    assert feed(made, info(), transform(START - 100 * MS, 0.0), colour(START)) == []
    assert "0.100 s older" in made.waiting
    (frame,) = feed(made, transform(START + 300 * MS, 4.0))
    np.testing.assert_allclose(frame.world_from_camera[:3, 3], [1.0, 0.0, 0.0], atol=1e-9)


def test_images_leave_in_the_order_of_their_stamps() -> None:
    made = assembler()
    feed(made, info(), transform(START, 0.0))
    assert feed(made, colour(START + 50 * MS), colour(START + 10 * MS)) == []
    frames = feed(made, transform(START + 100 * MS))
    assert [frame.stamp_ns for frame in frames] == [START + 10 * MS, START + 50 * MS]


def test_no_transform_is_given_up_after_the_timeout_in_stamps() -> None:
    made = assembler()
    feed(made, info(), *(colour(START + i * 100 * MS) for i in range(25)))
    assert counts(made) == {"tf": 14}  # those that 1 s of stamps followed
    assert "nothing publishes the frame 'map'" in made._drops.first["tf"]


def test_with_a_clock_the_timeout_is_measured_on_it_and_stamps_may_be_of_another_year() -> None:
    made = assembler()
    feed(made, info(), colour(START), now_ns=FAR)
    feed(made, *(colour(START + i * S) for i in range(1, 10)), now_ns=FAR + 900 * MS)
    assert counts(made) == {}
    feed(made, now_ns=FAR + 1100 * MS)
    assert counts(made) == {"tf": 1}
    feed(made, now_ns=5)  # the clock was set back: waiting starts anew
    assert counts(made) == {"tf": 1}


def test_an_image_older_than_the_first_transform_is_dropped_at_once() -> None:
    made = assembler()
    frames = feed(made, info(), colour(START), transform(START + S), transform(START + 2 * S), colour(START + S))
    assert [frame.stamp_ns for frame in frames] == [START + S]
    assert counts(made) == {"tf": 1}


def test_the_queue_is_bounded_and_the_oldest_goes() -> None:
    made = assembler(pending_queue=5, tf_timeout=30.0)
    feed(made, info(), *(colour(START + i * MS) for i in range(12)))
    assert made.num_pending == 5 and counts(made) == {"queue": 7}
    assert "more than 5 images waited" in made._drops.first["queue"]


def test_late_camera_info_is_waited_for() -> None:
    made = assembler()
    assert feed(made, transform(0, is_static=True), colour(START)) == []
    assert "camera_info" in made.waiting
    assert len(feed(made, info(START + S))) == 1


def test_new_intrinsics_hold_from_their_stamp_on_and_fit_the_size() -> None:
    made = assembler()
    other = (40.0, *info().k[1:])
    frames = feed(
        made,
        transform(0, is_static=True),
        info(START, k=other),
        info(START + S),
        info(START + S, width=64, height=48),
        *(colour(START + i * S // 2) for i in range(4)),
    )
    assert [frame.colour_info.k[0] for frame in frames] == [40.0, 40.0, 30.0, 30.0]
    assert all(frame.colour_info.width == 32 for frame in frames)


def test_a_missing_frame_name_is_replaced_by_the_option_or_by_camera_info() -> None:
    for changes, sent_info in (({"camera_frame": "camera"}, info(frame_id="")), ({}, info())):
        made = assembler(**changes)
        assert len(feed(made, transform(0, is_static=True), sent_info, colour(START, frame_id=""))) == 1
    made = assembler()
    feed(made, transform(0, is_static=True), info(frame_id=""), colour(START, frame_id=""))
    assert counts(made) == {"format": 1} and "frames.camera_frame" in made._drops.first["format"]


def test_a_zero_stamp_is_refused() -> None:
    made = still(assembler())
    assert feed(made, colour(0)) == []
    assert counts(made) == {"format": 1}


def test_repeated_and_belated_images_are_refused() -> None:
    made = still(assembler())
    assert len(feed(made, colour(START), colour(START), colour(START + S // 10))) == 2
    assert len(feed(made, colour(START + S // 10), colour(START + S // 20))) == 0
    assert counts(made) == {"duplicate": 2, "queue": 1}


def test_where_depth_is_taken_from_another_place_the_transform_is_used() -> None:
    made = still(assembler(use_depth=True))
    feed(made, transform(0, 0.05, parent="camera", child="depth_camera", is_static=True))
    (frame,) = feed(made, colour(START), depth(START, frame_id="depth_camera"))
    assert frame.colour_from_depth is not None
    np.testing.assert_allclose(frame.colour_from_depth[:3, 3], [0.05, 0.0, 0.0])
    (frame,) = feed(made, colour(START + S // 10), depth(START + S // 10))
    assert frame.colour_from_depth is None


def test_without_a_transform_to_the_depth_camera_one_place_is_assumed_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = still(assembler(use_depth=True))
    frames = []
    with caplog.at_level(logging.WARNING):
        for i in range(20):
            stamp = START + i * S // 10
            frames += feed(made, colour(stamp), depth(stamp, frame_id="depth_camera"))
        frames += feed(made, is_end=True)
    assert len(frames) == 20 and all(frame.colour_from_depth is None for frame in frames)
    assert len([r for r in caplog.records if "one place" in r.getMessage()]) == 1


def test_depth_without_camera_info_is_taken_as_registered_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    made = assembler(use_depth=True)
    feed(made, transform(0, is_static=True), info())
    with caplog.at_level(logging.WARNING):
        frames = [f for i in range(20) for f in feed(made, colour(START + i * S), depth(START + i * S))]
        frames += feed(made, is_end=True)
    assert len(frames) == 20 and all(frame.depth_info is None for frame in frames)
    assert len([r for r in caplog.records if "registered" in r.getMessage()]) == 1


def test_no_depth_at_all_is_said() -> None:
    made = still(assembler(use_depth=True))
    feed(made, *(colour(START + i * S) for i in range(5)))
    assert counts(made) == {"sync": 3} and "ingest.use_depth=false" in made._drops.first["sync"]


def test_auto_prefers_tf_and_takes_the_pose_topic_where_tf_never_joins() -> None:
    both = assembler()
    (frame,) = feed(both, info(), transform(0, 1.0, is_static=True), pose(START, 9.0), colour(START))
    assert frame.world_from_camera[0, 3] == 1.0
    alone = assembler()
    frames = feed(alone, info(), *(r for i in range(20) for r in (pose(START + i * S, i), colour(START + i * S))))
    frames += feed(alone, is_end=True)
    assert [frame.world_from_camera[0, 3] for frame in frames] == list(range(20))
    assert alone.poses.source == "topic"


def test_poses_by_topic_interpolate_and_reach_the_slop_beyond_their_ends() -> None:
    made = assembler(pose_source="topic")
    stamps = [START - 15 * MS, START + 50 * MS, START + 110 * MS, START + 150 * MS]
    feed(made, info(), pose(START, 0.0), pose(START + 100 * MS, 1.0), *(colour(stamp) for stamp in stamps))
    frames = feed(made, pose(START + 200 * MS, 2.0))
    assert [round(f.world_from_camera[0, 3], 6) for f in frames] == [1.1, 1.5]  # the first two had left before
    made = assembler(pose_source="topic")
    frames = feed(made, info(), pose(START, 0.0), pose(START + 100 * MS, 1.0), *map(colour, stamps), is_end=True)
    assert [round(f.world_from_camera[0, 3], 6) for f in frames] == [0.0, 0.5, 1.0]
    assert counts(made) == {"tf": 1}


def test_odometry_of_the_base_is_carried_to_the_camera_by_tf() -> None:
    made = assembler(pose_source="topic")
    mounted = transform(0, 0.3, parent="base", child="camera", is_static=True)
    located = transform(0, 5.0, parent="map", child="odom", is_static=True)
    frames = feed(made, info(), mounted, located, pose(START, 2.0, frame_id="odom", child="base"), colour(START))
    expected = [made.transforms.lookup("map", "odom", 0) @ _moved(2.0) @ _moved(0.3)]
    np.testing.assert_allclose([frame.world_from_camera for frame in frames], expected, atol=1e-12)


def test_odometry_in_another_frame_names_the_fix() -> None:
    made = assembler(pose_source="topic")
    feed(made, info(), pose(START, 2.0, frame_id="odom"), colour(START), is_end=True)
    assert "set frames.map_frame" in made._drops.first["tf"]


def test_poses_of_one_camera_are_no_other_camera_s() -> None:
    made = assembler(pose_source="topic")
    sent = [replace(pose(START, x), camera_name=name) for name, x in (("front", 1.0), ("left", 2.0))]
    seen = [r for name in ("front", "left", "rear") for r in (info(name=name), colour(START, name=name))]
    frames = feed(made, *sent, *seen, is_end=True)
    assert {f.camera_name: f.world_from_camera[0, 3] for f in frames} == {"front": 1.0, "left": 2.0}
    assert "cameras.rear.pose_topic" in made._drops.first["tf"]


def test_odometry_carries_every_camera_by_its_own_frame() -> None:
    made = assembler(pose_source="topic", camera_frames={"left": "left_eye"})
    places = {"a": 0.1, "left_eye": 0.2}
    mounted = [transform(0, x, parent="base", child=child, is_static=True) for child, x in places.items()]
    front = info(name="front"), colour(START, name="front", frame_id="a")
    left = info(name="left"), colour(START, name="left")
    frames = feed(made, *mounted, pose(START, 2.0, child="base"), *front, *left, is_end=True)
    assert made.frame_of_camera == {"front": "a", "left": "left_eye"}
    for frame, x in zip(frames, places.values(), strict=True):
        np.testing.assert_allclose(frame.world_from_camera, _moved(2.0) @ _moved(x), atol=1e-12)


def test_to_forget_keeps_only_what_may_come_once() -> None:
    made = assembler(use_depth=True)
    mounted = transform(0, 0.3, parent="base", child="camera", is_static=True)
    moving = [transform(START + i * S, float(i), child="base") for i in range(3)]
    assert not feed(made, mounted, *moving, info(), info(is_depth=True), colour(START))
    made.forget()
    assert made.num_pending == 0 and not feed(made, depth(START), depth(START + S), is_end=True)
    made.forget()
    (frame,) = feed(made, moving[0], colour(START), depth(START), is_end=True)
    np.testing.assert_allclose(frame.world_from_camera, _moved(0.0) @ _moved(0.3), atol=1e-12)
    assert counts(made) == {}


def test_a_jump_back_in_time_clears_what_waits_and_goes_on() -> None:
    made = assembler(use_depth=True)
    base = [info(), info(is_depth=True)]
    first = feed(
        made, *base, transform(START, 1.0), transform(START + 10 * S, 1.0), colour(START + 5 * S), depth(START + 5 * S)
    )
    assert len(first) == 1
    feed(made, colour(START + 11 * S), depth(START + 11 * S))
    assert feed(made, colour(START), depth(START)) == []  # the old transforms are forgotten
    assert counts(made) == {"queue": 1} and made.num_pending == 1
    (frame,) = feed(made, transform(START, 3.0), transform(START + S, 3.0))
    assert frame.stamp_ns == START and frame.world_from_camera[0, 3] == 3.0


def _moved(x: float) -> np.ndarray:
    tf = assembler().transforms
    tf.add(transform(0, x, parent="a", child="b", is_static=True))
    return tf.lookup("a", "b", 0)
