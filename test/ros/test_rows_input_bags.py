# SPDX-License-Identifier: Apache-2.0
"""Rows 42 to 44: recordings without depth, of every kind, and larger than any queue."""

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from capture_records import SIZE, START, ListStore, S, colour, drive, in_order, info, transform
from ccl_lgs_ros.msg import MapStatus
from ros.fake_camera import FOCAL, HEIGHT, STEP, STEP_PX, WALL, WIDTH, wall
from ros.harness import LATCHED
from ros_bags import KINDS, messages_of, write_bag, write_split_bag

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.capture import capture_bag
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.ingest.records import Record
from ccl_lgs_ros.offline import map_recording
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

MANY = 900  # images: 15 times what may wait for transforms
LARGE = (1280, 960)  # pixels
EVERY_IMAGE = {"ingest.use_depth": False, "keyframes.min_translation": 0.0, "keyframes.min_rotation": 0.0,
               "keyframes.min_interval": 0.0, "keyframes.min_sharpness": 0.0}  # fmt: skip


class SlowStore(ListStore):
    """Takes longer for a keyframe than the camera took to the next image."""

    def append(self, keyframe: Keyframe) -> bool:
        time.sleep(0.002)
        return super().append(replace(keyframe, image=keyframe.image[:1, :1], camera=keyframe.camera.resized(1, 1)))


def listed(path: Path, **changes: object) -> list[tuple]:
    """Stamp, place and pixels of every keyframe of a recording."""
    store = ListStore()
    capture_bag(path, store, updated(MapConfig(), changes))
    return [
        (k.stamp_ns, k.camera, k.world_from_camera.tolist(), k.image.tobytes(), np.asarray(k.depth).tobytes())
        for k in store
    ]


def bag_of(kind: str, path: Path) -> Path:
    messages = messages_of(in_order(drive()))
    storage, _, is_split = kind.partition(" ")
    return (write_split_bag if is_split else write_bag)(path, messages, storage)


def test_row_43_every_kind_of_bag_gives_the_same_keyframes_each_time(tmp_path: Path, record_property) -> None:
    kinds = [*KINDS, "mcap split", "sqlite3 split"]
    found = {}
    for kind in kinds:
        path = bag_of(kind, tmp_path / kind.replace(" ", "_"))
        found[kind] = listed(path)
        assert listed(path) == found[kind], f"{kind}: two readings differ"
    assert len(found["mcap"]) > 10
    assert all(keyframes == found["mcap"] for keyframes in found.values())
    record_property("figure", f"{len(kinds)} kinds, {len(found['mcap'])} keyframes each")


@pytest.mark.parametrize("use_depth", [True, False])
@pytest.mark.parametrize("encoding", ["rgb8", "mono8"])
def test_row_42_a_recording_without_depth_gives_keyframes_of_images_alone(
    tmp_path: Path, use_depth: bool, encoding: str
) -> None:
    topics = {topic: records for topic, records in drive().items() if "depth" not in topic}
    if encoding == "mono8":
        topics["colour"] = [grey(record) for record in topics["colour"]]
    store = ListStore()
    capture_bag(
        write_bag(tmp_path / "drive", messages_of(in_order(topics))),
        store,
        updated(MapConfig(), {"ingest.use_depth": use_depth}),
    )
    assert len(store) > 10
    assert all(keyframe.depth is None and keyframe.image.shape == (*SIZE[::-1], 3) for keyframe in store)


def test_row_42_a_recording_of_grey_images_without_depth_becomes_a_map(tmp_path: Path, record_property) -> None:
    path = write_bag(tmp_path / "slide", messages_of(in_order(grey_slide(12))))
    config = updated(MapConfig(), {"gaussians.iterations": 20, "ingest.use_depth": False})
    report, semantic_map = map_recording(path, tmp_path / "map", config)
    distances = semantic_map.gaussians.means[:, 2].numpy()  # the camera looks along z of the map, from z = 0
    assert report.num_keyframes == 12 and len(distances) > 500
    assert np.percentile(distances, 10) > 0.9 * WALL and np.percentile(distances, 90) < 1.1 * WALL
    record_property("figure", f"{len(distances)} Gaussians on a wall {WALL} m away at {np.median(distances):.2f} m")


def test_row_44_a_bag_is_read_no_faster_than_its_images_are_stored(tmp_path: Path, record_property) -> None:
    topics: dict[str, list[Record]] = {
        "colour": [colour(START + i * S // 30, seed=i % 7) for i in range(MANY)],
        "info": [info()],
        "tf": [transform(START + i * S, float(i)) for i in range(-1, MANY // 30 + 2)],
    }
    path = write_bag(tmp_path / "drive", messages_of(in_order(topics)))
    store, began = SlowStore(), time.monotonic()
    report = capture_bag(path, store, updated(MapConfig(), EVERY_IMAGE))
    assert report.num_images == len(store) == MANY and not any(report.counts.values())
    speed = MANY / 30 / (time.monotonic() - began)
    record_property("figure", f"0 of {MANY} images dropped, read at {speed:.0f} times the speed of the camera")


def test_row_44_the_node_reads_large_images_from_a_bag_without_loss(client, start, tmp_path, record_property) -> None:
    stamps = [START + i * S // 30 for i in range(60)]
    topics: dict[str, list[Record]] = {
        "colour": large(stamps),
        "info": [info(width=LARGE[0], height=LARGE[1], k=(900.0, 0.0, 640.0, 0.0, 900.0, 480.0, 0.0, 0.0, 1.0))],
        "tf": [transform(START + i * S, float(i)) for i in range(-1, 4)],
    }
    names = {"colour": "/camera/color/image_raw/compressed"}
    path = write_bag(tmp_path / "drive", messages_of(in_order(topics), names))
    parameters = {name.replace(".", "__"): value for name, value in EVERY_IMAGE.items()}
    start("keyframe_node", map_path=tmp_path / "map", bag_path=path, ingest__pending_queue=2, **parameters)
    statuses = client.collect(MapStatus, "status", LATCHED)
    is_read = lambda: statuses and statuses[-1].state == MapStatus.STATE_READY  # noqa: E731
    client.until(is_read, 120, f"the bag is read: {statuses[-1:]}")
    assert (statuses[-1].frames_received, statuses[-1].frames_dropped_queue, statuses[-1].keyframes) == (60, 0, 60)
    store = KeyframeStore(MapDirectory.open(tmp_path / "map"))
    assert [entry.stamp_ns for entry in store.entries] == stamps
    record_property("figure", f"0 of 60 images of {LARGE[0]}x{LARGE[1]} dropped with a queue of 2")


def grey(record: Record) -> Record:
    """The record's green channel alone."""
    pixels = np.frombuffer(record.data, np.uint8).reshape(*SIZE[::-1], 3)[..., 1]  # type: ignore[union-attr]
    return replace(record, encoding="mono8", step=SIZE[0], data=pixels.tobytes())  # type: ignore[call-arg]


def grey_slide(count: int) -> dict[str, list[Record]]:
    """A camera without colours that slides along a wall."""
    stamps = [START + i * S for i in range(count)]
    views = [np.ascontiguousarray(wall()[:, i * STEP_PX : i * STEP_PX + WIDTH, 1]) for i in range(count)]
    k = (FOCAL, 0.0, WIDTH / 2 - 0.5, 0.0, FOCAL, HEIGHT / 2 - 0.5, 0.0, 0.0, 1.0)
    sent = {"encoding": "mono8", "width": WIDTH, "height": HEIGHT, "step": WIDTH}
    return {
        "colour": [replace(colour(t), data=view.tobytes(), **sent) for t, view in zip(stamps, views, strict=True)],
        "info": [info(width=WIDTH, height=HEIGHT, k=k)],
        "tf": [replace(transform(t, i * STEP), quat=(1.0, 0.0, 0.0, 0.0)) for i, t in enumerate(stamps)],
    }


def large(stamps: list[int]) -> list[Record]:
    """Large textured images as JPEG."""
    tile = np.random.default_rng(0).integers(0, 255, (LARGE[1] // 8, LARGE[0] // 8, 3)).astype(np.uint8)
    data = cv2.imencode(".jpg", cv2.resize(tile, LARGE))[1].tobytes()
    sent = {"is_compressed": True, "encoding": "", "format": "jpeg", "width": 0, "height": 0, "step": 0}
    return [replace(colour(stamp_ns), data=data, **sent) for stamp_ns in stamps]
