# SPDX-License-Identifier: Apache-2.0
"""The same messages give the same keyframes, however their topics interleave; nothing bad stops the capture."""

import dataclasses
import subprocess
import sys
import time

import numpy as np
import pytest
from capture_records import (
    MS,
    START,
    K,
    ListStore,
    S,
    colour,
    depth,
    drive,
    in_order,
    info,
    path,
    texture,
    transform,
)
from capture_runs import capture, described

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.capture import Capture
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.ingest.records import Record


def reference() -> list[tuple]:
    return described(capture(in_order(drive()))[1])


def test_a_drive_gives_keyframes_where_the_camera_was() -> None:
    made, store = capture(in_order(drive()))
    assert 10 <= len(store) < 40
    for keyframe in store:
        seconds = (keyframe.stamp_ns - START) / S
        assert keyframe.world_from_camera[0, 3] == pytest.approx(path(seconds), abs=1e-3)
        np.testing.assert_array_equal(keyframe.image, texture(round(seconds * 15)))
        np.testing.assert_allclose(keyframe.depth, 2.0)
        assert (keyframe.camera.cx, keyframe.camera.cy) == (16.0, 12.0)
    dropped = made.counts
    assert dropped["blur"] > 0 and dropped["motion"] > 0 and dropped["sync"] > 0
    assert sum(dropped.values()) + len(store) == made.num_images == 40


@pytest.mark.parametrize("topic", ["colour", "depth", "info", "depth_info", "tf"])
@pytest.mark.parametrize("delay_ms", [120, 480, 900])
def test_a_topic_that_lags_changes_nothing(topic: str, delay_ms: int) -> None:
    records = in_order(drive(), {topic: delay_ms * MS})
    assert described(capture(records)[1]) == reference()


@pytest.mark.parametrize("seed", range(10))
def test_interleaving_changes_nothing(seed: int) -> None:
    generator = np.random.default_rng(seed)
    topics = drive()
    lags = {topic: int(generator.integers(0, 900)) * MS for topic in topics}
    records = in_order(topics, lags)
    assert described(capture(records, poll_every=int(generator.integers(1, 12)))[1]) == reference()


def test_everything_at_once_within_the_queue_changes_nothing() -> None:
    topics = drive(25)
    expected = described(capture(in_order(topics))[1])
    for order in (["colour", "depth", "info", "depth_info", "tf"], ["tf", "depth_info", "info", "depth", "colour"]):
        made = Capture(MapConfig(), store := ListStore())
        for topic in order:
            for record in topics[topic]:
                made.add(record)
        made.poll(5)
        made.finish()
        assert described(store) == expected


def test_a_clock_of_another_epoch_changes_nothing() -> None:
    made = Capture(MapConfig(), store := ListStore())
    for i, record in enumerate(in_order(drive(), {"tf": 300 * MS})):
        made.add(record)
        made.poll(now_ns=7 * 10**17 + i * 10 * MS)
    made.finish()
    assert described(store) == reference()


def test_the_same_drive_again_adds_nothing_in_one_run_or_in_the_next() -> None:
    topics = drive(75)
    _, store = capture(in_order(topics))
    expected = described(store)
    made, _ = capture(in_order(topics), store=store)
    assert described(store) == expected and made.counts["duplicate"] == len(expected)
    twice, store = capture([*in_order(topics), *in_order(topics)])
    assert described(store) == expected
    assert twice.num_images == 150


@pytest.mark.parametrize("stop_at", [5, 100, 250])
def test_a_run_that_was_killed_and_starts_anew_ends_with_the_same_keyframes(stop_at: int) -> None:
    records = in_order(drive())
    made = Capture(MapConfig(), store := ListStore())
    for record in records[:stop_at]:
        made.add(record)
        made.poll()
    capture(records, store=store)
    assert described(store) == reference()


def test_poll_returns_what_it_stored() -> None:
    made = Capture(MapConfig(), store := ListStore())
    returned: list[Keyframe] = []
    for record in in_order(drive()):
        made.add(record)
        returned += made.poll()
    returned += made.finish()
    assert returned == store.entries


def test_the_next_image_can_be_asked_for() -> None:
    made = Capture(MapConfig(), store := ListStore())
    still = [transform(0, is_static=True), info(), info(is_depth=True)]
    for i in range(6):
        stamp = START + i * S
        for record in (*still, colour(stamp, seed=i, amplitude=8 if i == 3 else 60), depth(stamp)):
            made.add(record)
        if i == 3:
            made.take_next()
        made.poll()
    assert [(keyframe.stamp_ns - START) // S for keyframe in store] == [0, 3]


def test_two_cameras_keep_their_own_keyframes() -> None:
    topics = {topic: records for topic, records in drive().items() if topic == "tf"}
    for name in ("left", "right"):
        for topic, records in drive().items():
            if topic != "tf":
                topics[f"{name}/{topic}"] = [_named(record, name) for record in records]
    _, store = capture(in_order(topics))
    stamps = {n: [k.stamp_ns for k in store if k.camera_name == n] for n in ("left", "right")}
    assert stamps["left"] == stamps["right"] == [stamp for _, stamp, *_ in reference()]


def test_bad_messages_are_counted_with_a_sentence_and_stop_nothing() -> None:
    good = in_order(drive())
    bad: list[Record] = [
        colour(0),
        _changed(colour(START + 7 * MS), data=b"short"),
        _changed(colour(START + 8 * MS), encoding="hsv9"),
        _changed(colour(START + 9 * MS), width=0, height=0),
        transform(START, float("nan")),
        transform(START, parent="camera"),
        info(START, k=(0.0,) * 9, name="broken"),
        colour(START, name="broken"),
        depth(START, name="broken"),
        info(START, is_depth=True, name="broken"),
    ]
    made, store = capture([*good[:10], *bad, *good[10:]], keyframes__min_translation=0.0)
    clean, expected = capture(good, keyframes__min_translation=0.0)
    assert described(store) == described(expected)
    assert made.counts["format"] - clean.counts["format"] == 7
    assert made.drops.first["format"] and "\n" not in made.drops.first["format"]


@pytest.mark.parametrize("units", [0, 65535, 20, 60000])
def test_depth_that_says_nothing_drops_its_image(units: int) -> None:
    topics = drive(20)
    topics["depth"] = [depth(r.stamp_ns, units=units if i < 8 else 2000) for i, r in enumerate(topics["colour"])]
    made, store = capture(in_order(topics))
    assert store[0].stamp_ns == topics["colour"][8].stamp_ns
    assert "ingest.depth_min_valid_ratio" in made.drops.first["depth"]


@pytest.mark.parametrize(("size", "is_kept"), [((16, 12), True), ((64, 48), True), ((32, 20), False)])
def test_depth_of_another_size_without_camera_info_needs_the_same_shape(size: tuple[int, int], is_kept: bool) -> None:
    topics = {topic: records for topic, records in drive(60).items() if topic != "depth_info"}
    pixels = np.full(size[::-1], 2000, np.uint16).tobytes()
    topics["depth"] = [
        _changed(r, width=size[0], height=size[1], step=2 * size[0], data=pixels) for r in topics["depth"]
    ]
    made, store = capture(in_order(topics))
    assert (len(store) > 5) is is_kept
    if is_kept:
        assert all(np.isfinite(keyframe.depth).mean() > 0.99 for keyframe in store)
    else:
        assert "another shape" in made.drops.first["depth"]


def test_a_depth_camera_of_its_own_place_and_focal_length_is_reprojected() -> None:
    topics = drive()
    topics["tf"].append(transform(0, 0.1, parent="camera", child="depth_camera", is_static=True))
    topics["tf"][-1] = dataclasses.replace(topics["tf"][-1], quat=(1.0, 0.0, 0.0, 0.0))  # type: ignore[call-arg]
    topics["depth"] = [_changed(r, frame_id="depth_camera") for r in topics["depth"]]
    topics["depth_info"] = [info(START, is_depth=True, frame_id="depth_camera", k=(24.0, *K[1:4], 24.0, *K[5:]))]
    _, store = capture(in_order(topics))
    assert len(store) > 5
    for keyframe in store:
        np.testing.assert_allclose(keyframe.depth[:, 2:], 2.0)  # a wall stays a wall; it now covers the view


def test_without_depth_images_alone_are_kept_where_asked() -> None:
    topics = {topic: records for topic, records in drive().items() if "depth" not in topic}
    made, store = capture(in_order(topics), ingest__use_depth=False)
    assert len(store) > 10 and all(keyframe.depth is None for keyframe in store)
    made, store = capture(in_order(topics))
    assert len(store) == 0 and "no depth image" in made.status_text


def test_large_images_are_scaled_down_with_their_camera_and_depth() -> None:
    _, store = capture(in_order(drive()), ingest__max_image_size=16)
    assert len(store) > 5
    for keyframe in store:
        assert keyframe.image.shape == (12, 16, 3) and keyframe.depth is not None
        assert (keyframe.camera.fx, keyframe.camera.cx, keyframe.camera.cy) == (15.0, 8.0, 6.0)


def test_a_store_that_takes_no_more_is_counted_and_survived() -> None:
    class Full(ListStore):
        def append(self, keyframe: Keyframe) -> bool:
            if len(self) >= 3:
                raise MapError("the keyframes would take more than 1 GB; raise keyframes.max_disk_gb")
            return super().append(keyframe)

    made, store = capture(in_order(drive()), store=Full())
    assert len(store) == 3 and made.counts["limit"] > 5
    assert "max_disk_gb" in made.drops.first["limit"]


def test_the_status_says_what_is_missing() -> None:
    made = Capture(MapConfig(), ListStore())
    made.poll()
    assert made.status_text == "no colour image has arrived"
    made.add(colour(START))
    made.poll()
    assert "no camera_info" in made.status_text
    made.add(info())
    made.poll()
    assert "no depth image" in made.status_text and "ingest.use_depth=false" in made.status_text
    made.add(depth(START))
    made.add(info(is_depth=True))
    made.poll()
    assert "waiting: the camera 'camera' has no pose: nothing publishes the frame 'map'" in made.status_text
    starved = Capture(MapConfig(), ListStore())
    for record in in_order({topic: records for topic, records in drive().items() if topic != "tf"}):
        starved.add(record)
        starved.poll()
    assert "40 colour images have arrived but no keyframe: the camera 'camera' has no pose" in starved.status_text
    made.add(transform(0, is_static=True))
    made.poll()
    assert made.status_text == "1 images, 1 new keyframes; dropped: none"


def test_images_that_nobody_looks_at_are_bounded() -> None:
    made = Capture(updated(MapConfig(), {"ingest.pending_queue": 5}), ListStore())
    for i in range(1000):
        made.add(colour(START + i * MS))
    assert made.counts["queue"] == 1000 - len(made._inbox) and len(made._inbox) <= 40


def test_add_and_a_waiting_poll_are_cheap() -> None:
    made = Capture(updated(MapConfig(), {"ingest.use_depth": False}), ListStore())
    made.add(info())
    times = []
    for i in range(300):
        record = colour(START + i * S // 30)
        began = time.perf_counter()
        made.add(record)
        made.poll(i * S // 30)
        times.append(time.perf_counter() - began)
    assert made.counts["tf"] > 200
    assert np.percentile(times, 95) < 0.005


def test_capturing_never_loads_torch() -> None:
    modules = ("capture", "keyframe_capture", "keyframes", "recording", "bag_report", "ingest.frames", "storage.bag")
    code = f"import sys; [__import__(f'ccl_lgs_ros.{{m}}') for m in {modules}]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def _named(record: Record, name: str) -> Record:
    return dataclasses.replace(record, camera_name=name)  # type: ignore[call-arg]


def _changed(record: Record, **changes: object) -> Record:
    return dataclasses.replace(record, **changes)
