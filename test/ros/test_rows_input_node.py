# SPDX-License-Identifier: Apache-2.0
"""Rows 1, 2, 4, 6 to 8 and 16 through the keyframe node: what drivers and localisation do wrong in time."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from capture_records import ListStore
from ccl_lgs_ros.msg import Keyframe, MapStatus
from ros.fake_camera import FRAME, HEIGHT, START_NS, WIDTH
from ros.harness import BEST_EFFORT, LATCHED, RELIABLE
from ros.loose_camera import LooseCamera
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.ingest.images import decode_colour
from ccl_lgs_ros.ingest.messages import colour_record
from ccl_lgs_ros.ros.camera_options import CameraOptions
from ccl_lgs_ros.ros.capture_thread import AnnouncingStore, LiveCapture
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

MS, S = 1_000_000, 1_000_000_000
PATIENCE = 60.0  # seconds that a loaded machine may take
LATE = 0.3  # seconds
FRAMES = 1000
HANDING_OVER = 0.005  # seconds, 99th percentile
PATIENT = {"keyframes__min_translation": 0.05, "ingest__tf_timeout": 10.0, "qos": "reliable"}


@pytest.fixture
def statuses(client) -> list[MapStatus]:
    return client.collect(MapStatus, "status", LATCHED)


def reached(statuses: list[MapStatus], **counts: int):
    """A condition: the newest status says exactly this."""
    return lambda: statuses and all(getattr(statuses[-1], name) == count for name, count in counts.items())


def stored(path: Path) -> KeyframeStore:
    return KeyframeStore(MapDirectory.open(path))


def test_row_01_an_image_gets_the_pose_between_the_transforms_that_come_later(client, start, tmp_path) -> None:
    start("keyframe_node", map_path=tmp_path, **PATIENT)
    keyframes = client.collect(Keyframe, "keyframe")
    camera = LooseCamera(client, RELIABLE)
    camera.tf(START_NS, 1.0)
    camera.info(START_NS)
    camera.depth(START_NS + 25 * MS)
    camera.image(START_NS + 25 * MS)
    client.spin(LATE)
    assert not keyframes  # the newest transform is no answer
    camera.tf(START_NS + 100 * MS, 3.0, roll=0.4)
    (keyframe,) = client.until(lambda: keyframes, PATIENCE, "a keyframe whose transform came late")
    assert keyframe.world_from_camera.position.x == pytest.approx(1.5)
    turn = 2 * np.arctan2(keyframe.world_from_camera.orientation.z, keyframe.world_from_camera.orientation.w)
    assert turn == pytest.approx(0.1)


def test_row_01_without_transform_images_are_counted_and_the_node_lives(client, start, statuses, tmp_path) -> None:
    node = start("keyframe_node", map_path=tmp_path, **{**PATIENT, "ingest__tf_timeout": 0.5})
    camera = LooseCamera(client, RELIABLE)
    camera.introduce(node, START_NS, PATIENCE)
    for i in range(5):
        camera.info(START_NS + i * S)
        camera.depth(START_NS + i * S)
        camera.image(START_NS + i * S)
    client.until(reached(statuses, frames_received=5, frames_dropped_tf=5), PATIENCE, "five without a pose")
    assert "nothing publishes the frame" in statuses[-1].message
    for i in range(10, 12):
        camera.tf(START_NS + i * S, float(i))
    camera.send(START_NS + 11 * S, 11.0)
    client.until(reached(statuses, keyframes=1), PATIENCE, "a keyframe once there is tf")


def test_row_02_services_answer_while_a_thousand_images_wait_for_tf(
    client, start, statuses, tmp_path, record_property
) -> None:
    node = start("keyframe_node", map_path=tmp_path, qos="reliable")
    camera = LooseCamera(client, RELIABLE)
    camera.introduce(node, START_NS, PATIENCE)
    waits = []
    for i in range(FRAMES):
        stamp_ns = START_NS + i * S // 30
        camera.depth(stamp_ns, width=4)
        camera.image(stamp_ns, width=4)
        if i % 20 == 19:
            began = time.monotonic()
            assert client.call(Trigger, "keyframe_node/capture_now", PATIENCE).success
            waits.append(time.monotonic() - began)
            client.spin(LATE / 10)

    def is_decided() -> bool:
        s = statuses[-1]
        dropped = s.frames_dropped_tf + s.frames_dropped_queue + s.frames_dropped_sync  # DDS may lose some depth
        return s.frames_received > FRAMES / 2 and s.frames_dropped_tf > 0 and s.frames_received == dropped

    client.until(is_decided, PATIENCE, "every image was dropped for want of tf, or pushed out by later ones")
    record_property("figure", f"services answered within {1000 * max(waits):.0f} ms")


def test_row_02_handing_over_a_thousand_images_without_transform_takes_no_time(record_property) -> None:
    config = updated(MapConfig(), {"ingest.use_depth": False})
    capture = LiveCapture(AnnouncingStore(ListStore()), config, {"": CameraOptions()}, decode_colour)  # type: ignore
    capture.start()
    message = Image(height=4, width=4, step=12, encoding="rgb8", data=bytes(48))
    times = []
    for i in range(FRAMES):
        message.header.stamp.sec, message.header.stamp.nanosec = 1000 + i // 30, i % 30 * 33 * MS
        time.sleep(0.001)
        began = time.perf_counter()
        capture.add(colour_record(message, "image"))
        times.append(time.perf_counter() - began)
    assert capture.stop(PATIENCE)
    assert sum(capture.capture.counts.values()) == FRAMES and not capture.error
    slow = float(np.percentile(times, 99))
    assert slow < HANDING_OVER
    record_property("figure", f"handing over an image: p99 {1000 * slow:.2f} ms")


def test_row_04_a_recording_that_plays_in_a_loop_adds_nothing_twice(client, start, statuses, tmp_path) -> None:
    node = start("keyframe_node", map_path=tmp_path, **PATIENT)
    camera = LooseCamera(client, RELIABLE)
    first = [(START_NS + i * S, float(i)) for i in range(5)]
    for received in (5, 10, 15):
        for stamp_ns, x in first:
            camera.send(stamp_ns, x)
        client.until(
            reached(statuses, frames_received=received, keyframes=5), PATIENCE, "the same five keyframes again"
        )
    between = START_NS + 3 * S // 2  # in the time that was played before, at a place where nobody was
    camera.send(START_NS + S, 1.0)
    camera.send(between, 1.5)
    client.until(reached(statuses, keyframes=6), PATIENCE, "a new keyframe after the jump")
    assert node.interrupt() == 0
    places = {entry.stamp_ns: entry.world_from_camera[0, 3] for entry in stored(tmp_path).entries}
    assert places == {**dict(first), between: 1.5}


@pytest.mark.parametrize("asked", ["sensor_data", "reliable"])
@pytest.mark.parametrize("offered", [RELIABLE, BEST_EFFORT], ids=["reliable", "best-effort"])
def test_row_06_every_pair_of_reliabilities_delivers_or_says_why_not(client, start, tmp_path, offered, asked) -> None:
    node = start("keyframe_node", map_path=tmp_path, **{**PATIENT, "qos": asked})
    keyframes = client.collect(Keyframe, "keyframe")
    is_lost = offered is BEST_EFFORT and asked == "reliable"
    camera = LooseCamera(client, offered, is_awaited=not is_lost)
    if is_lost:
        text = "the publisher of /image offers another RELIABILITY than is asked for"
        client.until(lambda: text in node.output, PATIENCE, "a warning")
        return
    stamps = iter(range(START_NS, START_NS + 1000 * S, S))

    def send() -> bool:
        stamp_ns = next(stamps)
        camera.send(stamp_ns, (stamp_ns - START_NS) / S)
        client.spin(LATE)
        return bool(keyframes)

    client.until(send, PATIENCE, "a keyframe")


def test_row_07_depth_is_paired_within_the_slop(client, start, statuses, tmp_path, record_property) -> None:
    start("keyframe_node", map_path=tmp_path, ingest__sync_slop=0.02, **PATIENT)
    camera = LooseCamera(client, RELIABLE)
    offsets = (0, 5, 15, 40, 0, 5, 15, 40)
    for i, offset in enumerate(offsets):
        stamp_ns = START_NS + i * S
        camera.tf(stamp_ns, float(i))
        camera.info(stamp_ns)
        camera.image(stamp_ns)
        camera.depth(stamp_ns + offset * MS)
    expected = {"frames_received": 8, "keyframes": 6, "frames_dropped_sync": 2}
    client.until(reached(statuses, **expected), PATIENCE, "six of eight")
    assert [e.stamp_ns for e in stored(tmp_path).entries] == [START_NS + i * S for i in range(8) if offsets[i] < 20]
    record_property("figure", "0, 5 and 15 ms apart: 6 of 6 kept; 40 ms: 2 of 2 dropped")


def test_row_08_images_without_stamp_or_frame_are_told_apart(client, start, statuses, tmp_path) -> None:
    node = start("keyframe_node", map_path=tmp_path, frames__camera_frame=FRAME, **PATIENT)
    camera = LooseCamera(client, RELIABLE)
    camera.image(0)
    client.until(reached(statuses, frames_rejected_format=1), PATIENCE, "one without stamp")
    assert "its driver must fill header.stamp" in node.output
    camera.tf(START_NS, 0.0)
    camera.info(START_NS)
    camera.depth(START_NS)
    camera.image(START_NS, frame_id="")
    client.until(reached(statuses, keyframes=1), PATIENCE, "one without frame")


def test_row_08_a_camera_without_frame_is_told_what_to_set() -> None:
    from capture_records import START, colour, info, transform
    from capture_runs import capture

    nameless = replace(info(), frame_id="")
    made, store = capture([transform(START), nameless, colour(START, frame_id="")], ingest__use_depth=False)
    assert not len(store) and made.counts["format"] == 1
    assert made.drops.first["format"] == "the image names no frame; set frames.camera_frame"


def test_row_16_camera_info_may_come_late_and_change_with_the_resolution(client, start, statuses, tmp_path) -> None:
    node = start("keyframe_node", map_path=tmp_path, **PATIENT)
    camera = LooseCamera(client, RELIABLE)
    small = WIDTH // 2
    for i in range(3):
        stamp_ns = START_NS + i * S
        camera.tf(stamp_ns, float(i))
        camera.depth(stamp_ns)
        camera.image(stamp_ns)
    client.until(reached(statuses, frames_received=3), PATIENCE, "images without camera_info")
    assert "no camera_info" in statuses[-1].message and statuses[-1].keyframes == 0
    camera.info(START_NS)
    client.until(reached(statuses, keyframes=3), PATIENCE, "the images that waited")
    camera.tf(START_NS + 3 * S, 3.0)
    camera.depth(START_NS + 3 * S, width=small)
    camera.image(START_NS + 3 * S, width=small)  # the driver switches; its intrinsics come after
    camera.info(START_NS + 3 * S, width=small)
    camera.send(START_NS + 4 * S, 4.0, width=small)
    camera.send(START_NS + 5 * S, 5.0)
    client.until(reached(statuses, keyframes=6), PATIENCE, "all six")
    assert node.interrupt() == 0
    cameras = [keyframe.camera for keyframe in stored(tmp_path)]
    assert [c.width for c in cameras] == [WIDTH] * 3 + [small] * 2 + [WIDTH]
    assert [c.height for c in cameras] == [HEIGHT] * 3 + [HEIGHT // 2] * 2 + [HEIGHT]
    assert all(c.fx / c.width == cameras[0].fx / WIDTH for c in cameras)
