# SPDX-License-Identifier: Apache-2.0
"""A recording that is played as topics: nothing of it comes before those who listen are ready."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from capture_records import START, ListStore, S, drive, in_order, transform
from capture_runs import capture, described
from ccl_lgs_ros.msg import MapStatus
from ros.harness import LATCHED, RELIABLE
from ros_bags import T, messages_of, write_bag
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from ccl_lgs_ros.capture import capture_bag
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.ros.bag_player import message_class
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

NUM_IMAGES = 40
PLAYED = {"bag_mode": "play", "use_sim_time": True, "qos": "reliable"}


def bag_with_late_mount(path: Path) -> Path:
    """A drive whose camera is joined to the robot by a static transform that stands at its very end."""
    topics = drive(NUM_IMAGES)
    topics["tf"] = [replace(record, child="base") for record in topics["tf"]]
    mount = transform(START + 100 * S, 0.0, parent="base", child="camera", is_static=True)
    mount = replace(mount, translation=(0.0, 0.0, 0.0), quat=(1.0, 0.0, 0.0, 0.0), stamp_ns=START)
    messages = messages_of(in_order(topics))
    late = [(topic, messages[-1][1] + 1, message) for topic, _, message in messages_of([mount])]
    foreign = T["actionlib_msgs/msg/GoalID"](stamp=T["builtin_interfaces/msg/Time"](sec=0, nanosec=0), id="")
    return write_bag(path, [*messages, *late, ("/goal", messages[-1][1] + 2, foreign)])


def stored(path: Path) -> list[Any]:
    return described(KeyframeStore(MapDirectory.open(path)))


def test_row_03_a_played_recording_gives_the_keyframes_of_one_that_is_read_directly(
    client, start, tmp_path: Path, record_property
) -> None:
    bag = bag_with_late_mount(tmp_path / "drive")
    player = start("bag_player", bag_path=bag, bag_rate=4.0, wait_for=["keyframe_node"])
    statuses, clocks = client.collect(MapStatus, "status", LATCHED), client.collect(Clock, "/clock")
    player.wait_for("not played, as their types are not installed: /goal (actionlib_msgs/msg/GoalID)", 60)
    node = start("keyframe_node", map_path=tmp_path / "map", bag_path=bag, **PLAYED)
    client.until(lambda: not player.is_alive, 120, "the end of the recording")
    assert player.wait(1) == 0, player.output
    client.until(lambda: statuses and statuses[-1].frames_received == NUM_IMAGES, 60, "all images")
    record_property("figure", f"{NUM_IMAGES - statuses[-1].frames_received} of {NUM_IMAGES} images lost")
    seconds = [message.clock.sec for message in clocks]
    assert seconds == sorted(seconds) and START // S - 1 <= seconds[0] < seconds[-1] <= START // S + 3
    assert node.interrupt() == 0
    expected = described(capture(in_order(drive(NUM_IMAGES)))[1])
    assert [row[1] for row in stored(tmp_path / "map")] == [row[1] for row in expected]


def test_row_03_static_transforms_come_though_the_start_of_the_recording_is_left_out(start, tmp_path: Path) -> None:
    bag = bag_with_late_mount(tmp_path / "drive")
    node = start("keyframe_node", map_path=tmp_path / "map", bag_path=bag, **PLAYED)
    player = start("bag_player", bag_path=bag, bag_rate=4.0, bag_start=2.0, wait_for=["keyframe_node"])
    assert player.wait(120) == 0, player.output
    node.wait_for("first colour image", 30)
    assert node.interrupt() == 0
    stamps = [row[1] for row in stored(tmp_path / "map")]
    assert stamps and min(stamps) >= START + 18 * S // 10


def test_row_03_a_recording_that_is_read_directly_is_searched_for_static_transforms_first(tmp_path: Path) -> None:
    store = ListStore()
    capture_bag(bag_with_late_mount(tmp_path / "drive"), store, MapConfig())
    expected = described(capture(in_order(drive(NUM_IMAGES)))[1])
    assert [row[1] for row in described(store)] == [row[1] for row in expected]


def test_the_player_waits_for_a_node_that_is_not_there_yet(client, start, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive", messages_of(in_order(drive(3))))
    images = client.collect(Image, "/camera/color/image_raw", RELIABLE)
    player = start("bag_player", bag_path=bag, wait_for=["training_node"])
    player.wait_for("still waiting for training_node", 60)
    assert player.is_alive and not images
    assert player.interrupt() == 0


@pytest.mark.parametrize(("bag", "reason"), [("", "'bag_path' must name a recording"), ("no/bag", "no recording at")])
def test_a_recording_that_cannot_be_played_is_one_sentence(start, bag: str, reason: str) -> None:
    player = start("bag_player", bag_path=bag)
    assert player.wait(60) != 0
    assert reason in player.output and "Traceback" not in player.output


def test_types_that_are_not_installed_are_known() -> None:
    assert message_class("sensor_msgs/msg/Image") is Image
    for name in ("no_such_msgs/msg/Thing", "sensor_msgs/msg/NoSuchThing"):
        with pytest.raises((ImportError, AttributeError)):
            message_class(name)
