# SPDX-License-Identifier: Apache-2.0
"""A capture whose map moves under it: a loop closes, and options change, while images wait."""

from dataclasses import replace

import numpy as np
import pytest
from capture_records import MS, START, ListStore, S, colour, depth, info, transform

from ccl_lgs_ros.capture import Capture
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.geometry import quat_from_rotation, rigid, rotation_from_quat
from ccl_lgs_ros.ingest.records import PathRecord, Record, TransformRecord

LOOP = rigid(rotation_from_quat(np.array([np.cos(0.085), 0.0, 0.0, np.sin(0.085)])), np.array([0.0, 0.5, 0.0]))


def stamp(index: int) -> int:
    return START + index * 200 * MS


def tf(index: int) -> TransformRecord:
    """Where the camera is before the loop closes: on its way along x."""
    return transform(stamp(index), 0.2 * index)


def pose(record: TransformRecord) -> np.ndarray:
    return rigid(rotation_from_quat(np.array(record.quat)), np.array(record.translation))


def moved(record: TransformRecord) -> TransformRecord:
    """The same after the loop has closed."""
    matrix = LOOP @ pose(record)
    quat, place = quat_from_rotation(matrix[:3, :3]), matrix[:3, 3]
    return replace(record, quat=tuple(quat.tolist()), translation=tuple(place.tolist()))


def images(*indices: int) -> list[Record]:
    return [r for i in indices for r in (depth(stamp(i)), colour(stamp(i), seed=i))]


def given(capture: Capture, *records: Record) -> None:
    for record in records:
        capture.add(record)
    capture.poll()


def test_a_loop_closes_while_images_wait_for_their_transforms() -> None:
    store = ListStore()
    capture = Capture(MapConfig(), store)
    given(capture, info(), info(is_depth=True), *map(tf, range(5)), *images(*range(5)))
    assert len(store) == 5
    optimised = [moved(tf(i)) for i in range(5)]
    closed = PathRecord(
        stamp_ns=stamp(5),
        frame_ids=frozenset({"map"}),
        stamps_ns=np.array([record.stamp_ns for record in optimised]),
        translations=np.array([record.translation for record in optimised]),
        quats=np.array([record.quat for record in optimised]),
    )
    given(capture, *images(5, 6), closed)
    given(capture, tf(5), tf(6), moved(tf(7)), moved(tf(8)), *images(7, 8))
    given(capture, moved(tf(9)), *images(9))
    assert len(store) == 10 and capture.counts["jump"] == 0
    for index, keyframe in enumerate(store.entries):
        assert keyframe.world_from_camera == pytest.approx(LOOP @ pose(tf(index)), abs=1e-9)
    given(capture, *(moved(replace(tf(i), stamp_ns=stamp(30 + i))) for i in range(5)), *images(*range(30, 35)))
    assert len(store) == 10 and capture.counts["motion"] == 5


def test_options_that_contradict_each_other_are_refused_and_the_others_go_on() -> None:
    store = ListStore()
    capture = Capture(MapConfig(), store)
    with pytest.raises(ConfigError, match=r"keyframes\.min_interval"):
        capture.use(updated(MapConfig(), {"keyframes.min_interval": 2.0, "keyframes.max_interval": 1.0}))
    given(capture, info(), info(is_depth=True), *map(tf, range(3)), *images(*range(3)))
    capture.use(updated(MapConfig(), {"keyframes.min_translation": 0.5, "keyframes.min_rotation": 3.0}))
    given(capture, *map(tf, range(3, 8)), *images(*range(3, 8)))
    assert [keyframe.stamp_ns for keyframe in store.entries] == [stamp(i) for i in (0, 1, 2, 5)]


def test_a_reset_counts_from_zero_and_keeps_the_keyframes() -> None:
    store = ListStore()
    capture = Capture(MapConfig(), store)
    given(capture, info(), info(is_depth=True), *map(tf, range(3)), *images(*range(5)))
    assert len(store) == 3 and capture.num_pending == 2 and capture.num_images == 5
    capture.reset()
    given(capture)
    assert (capture.num_images, capture.num_pending, capture.num_kept) == (0, 0, 0)
    again = [transform(stamp(i) - 100 * S, 0.2 * i) for i in range(2, 4)]
    sent = [r for i in range(2, 4) for r in (depth(stamp(i) - 100 * S), colour(stamp(i) - 100 * S, seed=i))]
    given(capture, *again, *sent)
    assert (capture.num_images, capture.num_kept, len(store)) == (2, 1, 4)
