# SPDX-License-Identifier: Apache-2.0
"""What a user may change of a keyframe node that runs: options, quality of service, and that it starts anew."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import Keyframe, MapStatus
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from ros.fake_camera import FakeCamera
from ros.harness import LATCHED, RELIABLE
from ros.test_keyframe_node import counted
from std_srvs.srv import Trigger

from ccl_lgs_ros.storage.capture_log import captures
from ccl_lgs_ros.storage.map_directory import MapDirectory

QUICK = {"keyframes__min_translation": 0.1, "ingest__tf_timeout": 6.0}


def put(client: Any, name: str, value: Any) -> Any:
    """The node's answer to a new value."""
    parameter = Parameter(name, value=value).to_parameter_msg()
    return client.call(SetParameters, "keyframe_node/set_parameters", parameters=[parameter]).results[0]


def test_gates_change_while_images_come_and_refusals_say_why(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", **QUICK)
    keyframes, statuses = client.collect(Keyframe, "keyframe"), client.collect(MapStatus, "status", LATCHED)
    camera = FakeCamera(client, RELIABLE)
    for _ in range(3):
        camera.send()
    client.until(lambda: len(keyframes) == 3, 60, "three keyframes, a step apart")
    assert put(client, "keyframes.min_translation", 0.2).successful
    for _ in range(4):
        camera.send()
    client.until(counted(statuses, frames_received=7, keyframes=5, frames_skipped_motion=2), 60, "every second step")
    for name, value, text in (
        ("keyframes.min_translation", -1.0, "range"),
        ("keyframes.overflow", "burst", "thin, stop"),
        ("keyframes.min_interval", "soon", "must be a number"),
        ("ingest.depth_min", 9.0, "must be less than ingest.depth_max"),
        ("frames.map_frame", "odom", "read-only"),
        ("map_path", "/elsewhere", "read-only"),
    ):
        answer = put(client, name, value)
        assert not answer.successful and text in answer.reason, (name, answer.reason)
    assert put(client, "ingest.depth_max", 2.0).successful
    camera.send()
    camera.send()
    client.until(counted(statuses, frames_dropped_depth=1), 60, "the wall is farther than depth may be")
    assert node.interrupt() == 0
    [record] = captures(MapDirectory.open(tmp_path / "map"))
    assert (record["source"], record["images"], record["kept"]) == ("live topics", 9, 5)
    assert record["kept"] + sum(record["dropped"].values()) == 9
    assert record["dropped"]["depth"] == 1 and "ingest.depth_min_valid_ratio" in record["first"]["depth"]


def test_the_quality_of_service_of_each_topic_can_be_overridden(client, start, tmp_path: Path) -> None:
    overrides = {
        "/keyframe.publisher.reliability": "best_effort",
        "/keyframe_path.publisher.durability": "volatile",
        "/image.subscription.reliability": "reliable",
        "/depth.subscription.depth": 3,
    }
    given = {f"qos_overrides.{name}": value for name, value in overrides.items()}
    node = start("keyframe_node", map_path=tmp_path / "map", **given)
    FakeCamera(client, RELIABLE)

    def offered(topic: str) -> Any:
        return client.node.get_publishers_info_by_topic(topic)[0].qos_profile

    def asked(topic: str) -> Any:
        return client.node.get_subscriptions_info_by_topic(topic)[0].qos_profile

    client.until(lambda: client.node.count_publishers("/keyframe"), 60, "the node's topics")
    assert offered("/keyframe").reliability == ReliabilityPolicy.BEST_EFFORT
    assert offered("/keyframe_path").durability == DurabilityPolicy.VOLATILE
    assert offered("/status").durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert asked("/image").reliability == ReliabilityPolicy.RELIABLE
    assert asked("/camera_info").reliability == ReliabilityPolicy.BEST_EFFORT
    assert "there is no parameter" not in node.output


def test_reset_forgets_what_waits_and_counts_but_no_keyframe(client, start, tmp_path: Path) -> None:
    start(
        "keyframe_node",
        map_path=tmp_path / "map",
        qos="reliable",
        keyframes__min_translation=0.1,
        ingest__tf_timeout=30,
    )
    keyframes, statuses = client.collect(Keyframe, "keyframe"), client.collect(MapStatus, "status", LATCHED)
    camera = FakeCamera(client, RELIABLE)
    for _ in range(2):
        camera.send()
    client.until(lambda: len(keyframes) == 2, 60, "two keyframes")
    late = [camera.send(tf=False) or (camera.stamp_ns, camera.step) for _ in range(2)]
    client.until(counted(statuses, frames_received=4), 60, "two images wait for their transforms")
    answer = client.call(Trigger, "keyframe_node/reset")
    assert answer.success and "the 2 stored keyframes stay" in answer.message
    told = len(statuses)
    client.until(lambda: len(statuses) >= told + 2, 60, "the next report")
    assert (statuses[-1].frames_received, statuses[-1].keyframes) == (0, 2)
    for camera.stamp_ns, camera.step in late:
        camera.send_tf()
    camera.send()
    client.until(lambda: len(keyframes) == 3, 60, "capture goes on")
    client.until(counted(statuses, frames_received=1, keyframes=3), 60, "one image, one keyframe")
    assert keyframes[2].world_from_camera.position.x == pytest.approx(keyframes[1].world_from_camera.position.x + 0.375)
