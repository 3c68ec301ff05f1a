# SPDX-License-Identifier: Apache-2.0
"""Whatever messages say: nothing raises, nothing hangs, nothing grows without limit, and good images are still kept."""

import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from capture_records import ListStore, S, colour, depth, info, transform
from ccl_lgs_ros.msg import Keyframe, MapStatus
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from nav_msgs.msg import Path as PathMessage
from ros.fake_camera import FakeCamera
from ros.harness import DISCOVERY, LATCHED, RELIABLE, STATIC_TF
from ros.hostile import BYTES, GOOD, MESSAGES, UINT32, almost
from ros.injected import inject
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.camera_streams import MAX_INFOS, CameraStreams
from ccl_lgs_ros.ingest.drops import MAX_TEXT, Drops
from ccl_lgs_ros.ingest.images import COLOUR_ENCODINGS, DEPTH_ENCODINGS, decode_colour
from ccl_lgs_ros.ingest.inbox import MAX_NAME, MAX_RECORDS, Inbox
from ccl_lgs_ros.ingest.messages import (
    camera_info_record,
    cloud_record,
    colour_record,
    depth_record,
    label_record,
    path_record,
    pose_record,
    transform_records,
)
from ccl_lgs_ros.ingest.records import ColourRecord, Record
from ccl_lgs_ros.ingest.transforms import (
    MAX_DEPTH,
    MAX_FRAMES,
    MAX_PARENTS,
    MAX_SAMPLES,
    DisconnectedError,
    TransformBuffer,
)
from ccl_lgs_ros.keyframe_capture import Capture
from ccl_lgs_ros.picture_header import PNG_MAGIC, stated_size

OPTIONS = {"ingest.cloud_topic": "/cloud", "keyframes.min_sharpness": 0.0}
NUM_GOOD = 3
MAX_OUTPUT = 100_000  # characters that a node may say of some hundred bad messages
NUM_EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "150"))
FUZZ = settings(
    max_examples=NUM_EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
RECEIVED: dict[str, Callable[[Any], list[Record]]] = {  # as the node does it
    "image": lambda m: [colour_record(m, "image")],
    "image/compressed": lambda m: [colour_record(m, "image/compressed")],
    "depth": lambda m: [depth_record(m, "depth")],
    "depth/compressedDepth": lambda m: [depth_record(m, "depth/compressedDepth")],
    "labels": lambda m: [label_record(m, "labels")],
    "camera_info": lambda m: [camera_info_record(m)],
    "depth_info": lambda m: [camera_info_record(m, is_depth=True)],
    "cloud": lambda m: [cloud_record(m)],
    "pose": lambda m: [pose_record(m)],
    "corrected_path": lambda m: [path_record(m)],
    "/tf": lambda m: list(transform_records(m)),
    "/tf_static": lambda m: list(transform_records(m, is_static=True)),
}


@st.composite
def hostile_records(draw: Any) -> list[Record]:
    topic = draw(st.sampled_from(sorted(MESSAGES)))
    return RECEIVED[topic](draw(MESSAGES[topic]))


def good_images(capture: Capture, now_ns: int) -> None:
    """Images with all that belongs to them, from places a metre apart."""
    for index in range(NUM_GOOD):
        stamp_ns = GOOD + (2 + 2 * index) * S
        for ahead_ns in (-S // 10, S // 10):
            capture.add(transform(stamp_ns + ahead_ns, float(index)))
        for record in (info(stamp_ns), info(stamp_ns, is_depth=True), depth(stamp_ns), colour(stamp_ns, seed=index)):
            capture.add(record)
        capture.poll(now_ns + index * S)


@pytest.mark.parametrize("use_labels", [False, True])
@pytest.mark.parametrize("pose_source", ["auto", "topic"])
@FUZZ
@given(batches=st.lists(hostile_records(), max_size=8), every=st.integers(1, 4))
def test_no_message_stops_the_capture(
    pose_source: str, use_labels: bool, batches: list[list[Record]], every: int
) -> None:
    config = updated(MapConfig(), {**OPTIONS, "ingest.pose_source": pose_source})
    capture = Capture(config, store := ListStore(), use_labels=use_labels)
    for index, records in enumerate(batches):
        for record in records:
            capture.add(record)
        if index % every == 0:
            capture.poll(index * S // 10)
    capture.poll(60 * S)
    sent = sum(isinstance(record, ColourRecord) for records in batches for record in records)
    assert capture.num_images == sent
    assert "internal error" not in str(capture.drops.first)
    capture.finish()
    if pose_source == "auto" and not use_labels:
        before = len(store)
        good_images(capture, 100 * S)
        capture.finish()
        assert len(store) > before, f"{capture.drops} {capture.drops.first}"


LENSES = [("plumb_bob", 5), ("equidistant", 4), ("rational_polynomial", 8), ("rational_polynomial", 14), ("fisheye", 4)]
ODD = {  # what may be wrong with a message that is right but for this
    "stamp_ns": st.sampled_from([0, -1, GOOD - S, GOOD + 1, GOOD + S // 2, GOOD + 10**6 * S, -(2**31) * S]),
    "frame_id": st.sampled_from(["", "map", "depth", "é🤖", "../.."]),
    "encoding": st.sampled_from([*COLOUR_ENCODINGS, *DEPTH_ENCODINGS, "32SC1", ""]),
    "width": UINT32,
    "height": UINT32,
    "step": UINT32,
    "data": BYTES,
    "k": almost([30.0, 0.0, 15.5, 0.0, 30.0, 11.5, 0.0, 0.0, 1.0]).map(tuple),
    "p": almost([30.0, 0.0, 15.5, 0.0, 0.0, 30.0, 11.5, 0.0, 0.0, 0.0, 1.0, 0.0]).map(tuple),
    "lens": st.sampled_from(LENSES).flatmap(lambda lens: st.tuples(st.just(lens[0]), almost([0.01] * lens[1]))),
    "binning": st.tuples(UINT32, UINT32),
    "roi": st.tuples(UINT32, UINT32, UINT32, UINT32),
    "translation": almost([0.5, 1.0, 2.0]).map(tuple),
    "quat": almost([1.0, 0.0, 0.0, 0.0]).map(tuple),
    "is_rectified": st.just(True),
    "is_bigendian": st.just(True),
    "is_compressed": st.just(True),
}


@st.composite
def almost_good(draw: Any) -> list[Record]:
    """All that one image needs, with one or two things wrong."""
    stamps = (GOOD - S // 10, GOOD + S // 10)
    records = [
        *(transform(t, 0.0) for t in stamps),
        *(transform(t, 0.05, parent="camera", child="depth") for t in stamps),
        info(GOOD),
        info(GOOD, is_depth=True),
        depth(GOOD, frame_id=draw(st.sampled_from(["camera", "depth"]))),
        colour(GOOD),
    ]
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(records) - 1))
        known = [name for name in ODD if hasattr(records[place], "d" if name == "lens" else name)]
        name = draw(st.sampled_from(known))
        value = draw(ODD[name])
        changes = {"distortion_model": value[0], "d": tuple(value[1])} if name == "lens" else {name: value}
        records[place] = replace(records[place], **changes)
    return records


@FUZZ
@given(records=almost_good())
def test_one_wrong_field_costs_at_most_its_image(records: list[Record]) -> None:
    capture = Capture(updated(MapConfig(), {"keyframes.min_sharpness": 0.0}), store := ListStore())
    for record in records:
        capture.add(record)
    capture.poll(0)
    capture.poll(60 * S)
    assert capture.num_pending == 0
    assert capture.num_kept + sum(capture.counts.values()) >= capture.num_images == 1
    assert "internal error" not in str(capture.drops.first)
    before = len(store)
    good_images(capture, 100 * S)
    capture.finish()
    assert len(store) >= before + NUM_GOOD - 1, f"{capture.drops} {capture.drops.first}"


def test_a_name_of_a_million_characters_is_counted_and_not_kept() -> None:
    capture = Capture(MapConfig(), ListStore())
    name = "n" * 1_000_000
    odd = [
        replace(colour(GOOD), frame_id=name),
        replace(colour(GOOD), encoding=name),
        replace(depth(GOOD), frame_id=name),
        info(GOOD, distortion_model=name),
        info(GOOD, d=(1.0,) * 100_000),
        transform(GOOD, child=name),
    ]
    for record in odd:
        capture.add(record)
    assert capture.counts["format"] == len(odd) and len(capture._inbox) == 0
    assert len(capture.status_text) < 2 * MAX_TEXT
    capture.add(replace(colour(GOOD), frame_id="n" * MAX_NAME))
    assert len(capture._inbox) == 1
    drops = Drops()
    drops.add("format", name)
    assert len(drops.first["format"]) < MAX_TEXT + 10


def test_what_waits_is_bounded_in_number_and_in_bytes() -> None:
    inbox = Inbox(1000, drops := Drops())
    big = replace(colour(GOOD), data=bytes(64 << 20))
    for _ in range(100):
        inbox.put(big)
    assert len(inbox) == 8 and drops.counts["queue"] == 92 and inbox.num_colour == 100
    for _ in range(MAX_RECORDS + 10):
        inbox.put(info(GOOD))
    assert len(inbox) == MAX_RECORDS
    assert sum(1 for _ in inbox.taken()) == MAX_RECORDS
    inbox.put(big)
    assert len(inbox) == 1

    capture = Capture(updated(MapConfig(), {"ingest.use_depth": False}), ListStore())
    for index in range(30):
        capture.add(replace(big, stamp_ns=GOOD + index))
        capture.poll(index)
    assert capture.num_pending <= 9 and capture.counts["queue"] >= 21


def test_intrinsics_that_change_all_the_time_are_bounded_and_the_last_ones_hold() -> None:
    camera = CameraStreams(0, 60)
    for index in range(3 * MAX_INFOS):
        camera.add_info(info(GOOD + 3600 * S + index, k=(30.0 + index, *info().k[1:])))
        camera.add_info(info(GOOD + index))
    assert len(camera._infos) <= MAX_INFOS
    assert camera.info_for(colour(GOOD + 3 * MAX_INFOS), is_final=True).k == info().k


def test_tf_stays_bounded_in_frames_samples_and_parents() -> None:
    buffer = TransformBuffer(cache=30.0)
    buffer.add(transform(GOOD, child="base", is_static=True))
    for index in range(MAX_FRAMES + 2000):
        buffer.add(transform(GOOD, child=f"frame {index}"))
        if index % 1000 == 0:
            buffer.add(transform(GOOD + index, child="camera", parent="base"))
    assert len(buffer.frames) <= MAX_FRAMES + 2
    assert buffer.lookup("map", "camera", GOOD) is not None
    for index in range(MAX_SAMPLES + 1000):
        buffer.add(transform(GOOD + index, child="fast"))
    assert len(buffer._tracks["fast"]._stamps) <= 2 * MAX_SAMPLES + 2
    for index in range(70_000):
        buffer.add(transform(GOOD + index, child="stray", parent=f"parent {index}"))
    assert len(buffer._tracks["stray"].parents) <= MAX_PARENTS


def test_static_frames_without_end_are_refused() -> None:
    buffer = TransformBuffer(cache=30.0)
    for index in range(MAX_FRAMES):
        buffer.add(transform(GOOD, child=f"frame {index}", is_static=True))
    with pytest.raises(ValueError, match="static frames"):
        buffer.add(transform(GOOD, child="one more", is_static=True))


def test_a_tree_that_is_a_loop_or_a_thread_is_refused_in_a_short_sentence() -> None:
    buffer = TransformBuffer(cache=30.0)
    for index in range(9_000):
        buffer.add(transform(GOOD, parent=f"frame {index}", child=f"frame {index + 1}", is_static=True))
    for target in ("frame 0", "nowhere", "frame 8999"):
        with pytest.raises(DisconnectedError, match=f"more than {MAX_DEPTH} transforms") as refused:
            buffer.lookup(target, "frame 5000", GOOD)
        assert len(str(refused.value)) < MAX_TEXT
    for parent, child in (("a", "b"), ("b", "c"), ("c", "a")):
        buffer.add(transform(GOOD, parent=parent, child=child))
    with pytest.raises(DisconnectedError, match="loop"):
        buffer.lookup("map", "a", GOOD)


def test_a_few_bytes_that_claim_a_gigabyte_of_pixels_are_not_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 20_000
    rows = zlib.compress(bytes(side * (side * 3 + 1)), 1)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    bomb = PNG_MAGIC + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert stated_size(bomb) == (side, side) and len(bomb) < 10_000_000
    record = ColourRecord(stamp_ns=GOOD, frame_id="camera", data=bomb, format="png", is_compressed=True)
    tracemalloc.start()
    with pytest.raises(DecodeError, match="20000x20000"):
        decode_colour(record)
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()
    for broken in (b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\xff\xff", PNG_MAGIC, b"\xff\xd8" + b"\xff" * 1000, b"GIF89a"):
        assert stated_size(broken) is None


class BrokenStore(ListStore):
    """Fails once in a way that nobody foresaw."""

    def append(self, keyframe: Any) -> bool:
        if not len(self) and not hasattr(self, "has_failed"):
            self.has_failed = True
            raise TypeError("surprise")
        return super().append(keyframe)


def test_row_25_an_error_that_nobody_foresaw_costs_one_image_and_is_counted() -> None:
    capture = Capture(updated(MapConfig(), OPTIONS), store := BrokenStore())
    good_images(capture, 0)
    capture.finish()
    assert len(store) == NUM_GOOD - 1 and capture.counts["format"] == 1
    assert capture.drops.first["format"] == "internal error: TypeError: surprise"


def told(statuses: list[MapStatus]) -> MapStatus:
    return next((s for s in reversed(statuses) if s.node == "keyframe_node"), MapStatus())


def drawn(messages: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Some messages, always the same."""
    found: list[Any] = []

    @settings(FUZZ, max_examples=count, phases=[Phase.generate])
    @given(messages)
    def take(message: Any) -> None:
        found.append(message)

    take()
    return found


@pytest.mark.timeout(400)
def test_a_node_outlives_hundreds_of_hostile_messages_and_goes_on(
    client, start, tmp_path: Path, record_property
) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", ingest__tf_timeout=3.0)
    node.wait_for("listening", DISCOVERY)
    kept, statuses = client.collect(Keyframe, "keyframe"), client.collect(MapStatus, "status", LATCHED)
    camera = FakeCamera(client, RELIABLE)
    publishers = {
        "image": client.publisher(Image, "image"),
        "depth": client.publisher(Image, "depth"),
        "camera_info": client.publisher(CameraInfo, "camera_info"),
        "corrected_path": client.publisher(PathMessage, "corrected_path"),
        "/tf": client.publisher(TFMessage, "/tf"),
        "/tf_static": client.publisher(TFMessage, "/tf_static", STATIC_TF),
    }
    sent = 0
    for topic, publisher in publishers.items():
        for message in drawn(MESSAGES[topic], 60):
            publisher.publish(message)
            sent += 1
            client.spin(0.01)
    client.until(lambda: told(statuses).frames_received >= 50, 60, "the hostile images")
    assert node.is_alive and not kept
    for _ in range(20):  # until images and what belongs to them come together
        camera.send()
        client.spin(0.5)
        if len(kept) >= 3:
            break
    assert len(kept) >= 3, node.output
    client.until(lambda: told(statuses).keyframes >= 3, DISCOVERY, "a status that counts them")
    assert told(statuses).frames_rejected_format > 0 and told(statuses).state == MapStatus.STATE_COLLECTING
    assert len(node.output) < MAX_OUTPUT and "internal error" not in node.output
    record_property("figure", f"{sent} hostile messages, then {len(kept)} keyframes")


# The second image breaks its decoding, the third the callback that receives it.
BROKEN = """
import ccl_lgs_ros.ros.subscriptions as node
from ccl_lgs_ros.ingest.frames import FrameDecoder
decode, receive, images = FrameDecoder.colour, node.colour_record, []
def broken_colour(self, frame):
    if images.index(frame.stamp_ns) == 1:
        raise TypeError("surprise in decoding")
    return decode(self, frame)
def broken_record(message, *arguments, **options):
    record = receive(message, *arguments, **options)
    images.append(record.stamp_ns)
    if len(images) in (3, 4):
        raise RuntimeError("surprise in a callback")
    return record
FrameDecoder.colour, node.colour_record = broken_colour, broken_record
"""


def test_row_25_an_exception_in_a_callback_or_in_decoding_costs_that_image_and_a_line_of_log(
    client, start, tmp_path: Path, monkeypatch, record_property
) -> None:
    inject(monkeypatch, tmp_path / "site", BROKEN, module="keyframe_node")
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", ingest__tf_timeout=6.0)
    node.wait_for("listening", DISCOVERY)
    kept, statuses = client.collect(Keyframe, "keyframe"), client.collect(MapStatus, "status", LATCHED)
    camera = FakeCamera(client, RELIABLE)
    for _ in range(7):
        camera.send()
    client.until(lambda: len(kept) == 4, 30, "the other images")
    client.until(lambda: told(statuses).keyframes == 4, DISCOVERY, "a status that counts them")
    assert node.is_alive and told(statuses).frames_rejected_format == 1
    assert node.output.count("surprise in decoding") == 1
    assert node.output.count("surprise in a callback") == 1
    record_property("figure", "3 of 7 images broke the code: 1 counted, 2 logged once, 4 kept")
