# SPDX-License-Identifier: Apache-2.0
"""What robots do to a capture: localisation jumps, the keyframes grow too many, it stands for hours, it has company."""

import logging
import tracemalloc
from pathlib import Path
from typing import Any

import capture_records as records
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import Keyframe, MapStatus
from diagnostic_msgs.msg import DiagnosticArray
from ros.fake_camera import FakeCamera
from ros.harness import DISCOVERY, LATCHED, RELIABLE
from ros.test_keyframe_node import QUICK, counted

from ccl_lgs_ros.capture import Capture
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

CAP = 20  # keyframes
BOUND = 100  # bytes of memory an image: the interpreter keeps a few thousand tuples for later; an image is 2300


def test_row_31_a_jump_of_localisation_is_named_counted_and_costs_one_image(
    client, start, tmp_path: Path, record_property: Any
) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", **QUICK)
    keyframes, statuses = client.collect(Keyframe, "keyframe"), client.collect(MapStatus, "status", LATCHED)
    diagnostics = client.collect(DiagnosticArray, "/diagnostics")
    camera = FakeCamera(client, RELIABLE)
    camera.send()
    camera.send()
    for _ in range(2):
        camera.step += 8
        camera.send()
        camera.send()
    client.until(counted(statuses, frames_received=6, keyframes=4), 60, "all but the images after the jumps")
    client.until(counted(statuses, frames_skipped_jump=2), 60, "two jumps are counted")
    client.until(lambda: ("frames_skipped_jump", "2") in values_of(diagnostics), 60, "diagnostics tell of them")
    assert [round(k.world_from_camera.position.x / 0.125) for k in keyframes] == [1, 2, 12, 22]
    assert node.output.count("localisation jumped by 1.12 m in the 0.100 s before") == 1
    record_property("figure", "2 jumps of 1.1 m: 2 of 6 images left out, 4 keyframes")


def values_of(diagnostics: list[DiagnosticArray]) -> set[tuple[str, str]]:
    """What the newest report says."""
    return {(v.key, v.value) for status in (diagnostics[-1].status if diagnostics else []) for v in status.values}


def frame(capture: Capture, index: int, stamp_ns: int, x: float) -> None:
    """One posed image with all that belongs to it, looked at."""
    capture.add(records.transform(stamp_ns, x))
    for record in (records.info(stamp_ns), records.info(stamp_ns, is_depth=True), records.depth(stamp_ns)):
        capture.add(record)
    capture.add(records.colour(stamp_ns, seed=index % 8))
    capture.poll()


def folder_bytes(path: Path) -> int:
    """What files take."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize(("overflow", "least", "most"), [("stop", CAP, CAP), ("thin", CAP + 1, 2 * CAP)])
def test_row_32_the_cap_on_keyframes_is_obeyed_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, record_property: Any, overflow: str, least: int, most: int
) -> None:
    options = {"keyframes.max_count": CAP, "keyframes.overflow": overflow, "ingest.tf_cache": 1.0}
    store = KeyframeStore(MapDirectory.create(tmp_path / "map"), writable=True)
    capture = Capture(updated(MapConfig(), options), store)
    count = 3 * CAP
    with caplog.at_level(logging.WARNING):
        for index in range(count):
            frame(capture, index, records.START + index * records.S // 5, 0.2 * index)
    tracemalloc.start()
    for index in range(count, 2 * count):
        frame(capture, index, records.START + index * records.S // 5, 0.2 * index)
    before = tracemalloc.get_traced_memory()[0]
    for index in range(2 * count, 6 * count):
        frame(capture, index, records.START + index * records.S // 5, 0.2 * index)
    growth = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert least <= len(store) <= most and capture.num_images == 6 * count
    assert capture.counts["limit"] == 6 * count - len(store)
    said = [r.getMessage() for r in caplog.records]
    assert len([text for text in said if "keyframes.max_count" in text]) == 1, said
    assert growth < BOUND * 4 * count
    record_property("figure", f"{overflow}: {len(store)} keyframes of {6 * count} images at a cap of {CAP}")


def test_row_33_a_robot_that_stands_for_hours_makes_nothing_grow(tmp_path: Path, record_property: Any) -> None:
    store = KeyframeStore(MapDirectory.create(tmp_path / "map"), writable=True)
    capture = Capture(MapConfig(), store)
    noise = np.random.default_rng(0).normal(0.0, 0.004, 1000)  # metres, of localisation

    def stand(begin: int, end: int) -> None:
        for index in range(begin, end):
            frame(capture, index, records.START + 10 * index * records.S, float(noise[index % len(noise)]))

    tracemalloc.start()
    stand(0, 360)
    disk, memory = folder_bytes(tmp_path), tracemalloc.get_traced_memory()[0]
    stand(360, 1800)
    growth = tracemalloc.get_traced_memory()[0] - memory
    tracemalloc.stop()
    assert len(store) == 1 and capture.counts["motion"] == capture.num_images - 1 == 1799
    assert folder_bytes(tmp_path) == disk
    assert growth < BOUND * 1440
    record_property("figure", f"5 hours: 1 keyframe, nothing more on disk, {max(growth, 0) / 1000:.0f} kB of memory")


def test_row_35_two_robots_on_one_host_keep_to_their_own_maps(
    client, start, tmp_path: Path, record_property: Any
) -> None:
    robots = ("robot1", "robot2")
    nodes = {
        robot: start("keyframe_node", namespace=f"/{robot}", map_path=tmp_path / robot, qos="reliable", **QUICK)
        for robot in robots
    }
    keyframes = {robot: client.collect(Keyframe, f"/{robot}/keyframe") for robot in robots}
    cameras = {robot: FakeCamera(client, RELIABLE, below=f"{robot}/", frame=f"{robot}_optical") for robot in robots}
    for count, robot in enumerate(robots, start=2):
        for _ in range(count):
            cameras[robot].send()
    client.until(lambda: [len(keyframes[robot]) for robot in robots] == [2, 3], 60, "two keyframes and three")
    for robot in robots:
        assert {k.header.frame_id for k in keyframes[robot]} == {f"{robot}_optical"}
        assert {k.map_path for k in keyframes[robot]} == {str(tmp_path / robot)}

    intruder = start("keyframe_node", namespace="/robot2", map_path=tmp_path / "robot1")
    assert intruder.wait(3 * DISCOVERY) == 2
    assert "are being written by process" in intruder.output and "Traceback" not in intruder.output
    assert [nodes[robot].interrupt() for robot in robots] == [0, 0]
    stored = [len(KeyframeStore(MapDirectory.open(tmp_path / robot))) for robot in robots]
    assert stored == [2, 3]
    record_property("figure", "2 and 3 keyframes in two maps; a second writer of one of them ended with exit code 2")
