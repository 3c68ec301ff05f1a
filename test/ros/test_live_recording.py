# SPDX-License-Identifier: Apache-2.0
"""A real recording, published as live topics into the three nodes, gives what it gives when it is read directly."""

import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from action_msgs.msg import GoalStatus
from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.srv import SemanticQuery
from ros.harness import LATCHED, RELIABLE, STATIC_TF
from rosbags.highlevel import AnyReader

from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.capture import capture_bag
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.pipeline import build_map
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

PROMPT = "red cupboard"
RATE = 12.0  # images a second; recorded at 10
BUILD = 280.0  # seconds
AGREEMENT = 0.05  # metres
SETTINGS = {  # reduced, so that it takes seconds
    "frames.map_up": [0.0, -1.0, 0.0],
    "ingest.tf_timeout": 6.0,
    "ingest.pending_queue": 100,
    "ingest.max_image_size": 320,
    "keyframes.min_translation": 0.15,
    "gaussians.image_width": 160,
    "gaussians.iterations": 20,
    "rendering.rasterizer": "numba_cpu",
    "device": "cpu",
}


def play(client, path: Path) -> None:
    """Publish a recording as it was recorded, byte for byte, once somebody listens."""
    with AnyReader([path]) as reader:
        publishers = {}
        for connection in reader.connections:
            package, _, name = connection.msgtype.split("/")
            kind = getattr(import_module(f"{package}.msg"), name)
            qos = STATIC_TF if connection.topic == "/tf_static" else RELIABLE
            is_used = connection.topic not in ("/tf_static", "/camera/pose")
            publishers[connection.topic] = client.publisher(kind, connection.topic, qos, is_awaited=is_used)
        for connection, _, raw in reader.messages():
            publishers[connection.topic].publish(raw)
            if "image_raw" in connection.topic:
                client.spin(1.0 / RATE)


def near(a, b) -> float:
    return float(np.linalg.norm(np.array([a.x, a.y, a.z]) - np.asarray(b)))


@pytest.mark.data
@pytest.mark.timeout(600)
def test_live_topics_give_the_map_that_the_recording_gives(client, start, shared_data: Path, tmp_path: Path) -> None:
    bag = shared_data / "bags" / "redkitchen_rgbd_60"
    given = {name.replace(".", "__"): value for name, value in SETTINGS.items()}
    capture = {name: value for name, value in given.items() if name.startswith(("frames", "ingest", "keyframes"))}
    live = tmp_path / "live"
    topics = {"image_topic": "/camera/color/image_raw", "depth_topic": "/camera/depth/image_rect_raw"}
    keyframe_node = start("keyframe_node", map_path=live, qos="reliable", **topics, **capture)
    start("training_node", map_path=live, snapshot_period=2.0, refine_idle=0.0, niceness=0, **given)
    start("query_node", map_path=live, frames__map_up=SETTINGS["frames.map_up"])
    statuses = client.collect(MapStatus, "status", LATCHED)

    def status(node: str) -> MapStatus:
        return next((s for s in reversed(statuses) if s.node == node), MapStatus())

    play(client, bag)
    early = []

    def answered() -> bool:
        early.append(client.call(SemanticQuery, "semantic_query", prompt=PROMPT))
        return early[-1].success

    client.until(answered, 120, "an answer while the map grows")
    assert early[-1].map_version >= 1

    def decided() -> int:
        now, dropped = status("keyframe_node"), ("tf", "sync", "depth", "queue")
        counts = [now.keyframes, now.frames_skipped_motion, now.frames_skipped_blur]
        return sum(counts) + sum(getattr(now, f"frames_dropped_{reason}") for reason in dropped)

    client.until(lambda: decided() == 60, 60, "every image is decided on")

    config = updated(MapConfig(), SETTINGS)
    directory = MapDirectory.create(tmp_path / "offline")
    with KeyframeStore(directory, writable=True) as offline:
        capture_bag(bag, offline, config)
        check_same_keyframes(KeyframeStore(MapDirectory.open(live)), offline)
        expected = query_map(build_map(directory, offline, config), PROMPT, config)

    done = client.result(client.send_goal(BuildMap, "build_map"), BUILD)
    assert done.status == GoalStatus.STATUS_SUCCEEDED, done.result.message
    assert done.result.num_keyframes == len(offline)
    late = client.call(SemanticQuery, "semantic_query", prompt=PROMPT)
    assert late.success and late.map_version == done.result.map_version
    assert late.instances and expected.instances
    assert near(late.instances[0].centroid, expected.instances[0].centroid) < AGREEMENT
    began = time.monotonic()
    assert keyframe_node.interrupt() == 0
    assert time.monotonic() - began < 5.0


def check_same_keyframes(live: KeyframeStore, offline: KeyframeStore) -> None:
    """The same images at the same places, to the last bit of what is stored."""
    assert [e.stamp_ns for e in live.entries] == [e.stamp_ns for e in offline.entries]
    assert len(offline) >= 10
    for mine, theirs in zip(live.entries, offline.entries, strict=True):
        assert np.array_equal(mine.world_from_camera, theirs.world_from_camera)
        assert mine.camera == theirs.camera
        for name in ("image_name", "depth_name"):
            assert (live.path / getattr(mine, name)).read_bytes() == (offline.path / getattr(theirs, name)).read_bytes()


@pytest.mark.data
def test_a_recording_read_by_the_node_gives_the_same_keyframes(
    client, start, shared_data: Path, tmp_path: Path
) -> None:
    bag = shared_data / "bags" / "label_fusion_rgbd_15"
    node = start("keyframe_node", map_path=tmp_path / "node", bag_path=bag)
    node.wait_for("has been read", 60)
    statuses = client.collect(MapStatus, "status", LATCHED)
    client.until(lambda: statuses and statuses[-1].state == MapStatus.STATE_READY, 20, "a status that says ready")
    assert statuses[-1].frames_received == 15
    with KeyframeStore(MapDirectory.create(tmp_path / "offline"), writable=True) as offline:
        capture_bag(bag, offline, MapConfig())
        check_same_keyframes(KeyframeStore(MapDirectory.open(tmp_path / "node")), offline)
    assert node.interrupt() == 0


def test_a_recording_that_is_not_there_is_said_and_the_node_stays(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", bag_path=tmp_path / "no_bag")
    statuses = client.collect(MapStatus, "status", LATCHED)
    client.until(lambda: statuses and statuses[-1].state == MapStatus.STATE_ERROR, 20, "a status that says error")
    assert "no_bag" in statuses[-1].message and "Traceback" not in node.output
    assert node.interrupt() == 0
