# SPDX-License-Identifier: Apache-2.0
"""Memory that runs out while the map is built: once more at half the size, then the goal fails and the map stays."""

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from action_msgs.msg import GoalStatus
from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.srv import GetMapInfo
from ros.fake_camera import FakeCamera
from ros.harness import DISCOVERY, LATCHED, RELIABLE
from ros.injected import inject
from ros.wall_map import BUILD, ON_DEMAND, wall_map

from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load

# Stands for a GPU that is full: what is optimised at more than so many pixels of width fails as CUDA does.
SMALL_GPU = """
import torch
import ccl_lgs_ros.gaussians.trainer as trainer
step = trainer.Trainer.step
def failing(self, view, *arguments):
    if view.camera.width > {width}:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return step(self, view, *arguments)
trainer.Trainer.step = failing
"""
WIDTH = int(ON_DEMAND["gaussians__image_width"])


def test_row_20_out_of_memory_is_tried_once_more_at_half_the_size(client, start, tmp_path: Path, monkeypatch) -> None:
    inject(monkeypatch, tmp_path / "site", SMALL_GPU.format(width=WIDTH - 1))
    node = start("training_node", map_path=wall_map(tmp_path / "map"), **ON_DEMAND)
    done = client.result(client.send_goal(BuildMap, "build_map"), BUILD)
    assert done.status == GoalStatus.STATUS_SUCCEEDED and "half the size" in done.result.message, done.result.message
    assert f"going on at gaussians.image_width={WIDTH // 2}" in node.output
    again = client.result(client.send_goal(BuildMap, "build_map"), BUILD)
    assert again.result.success and node.output.count("going on at") == 1


def test_row_20_out_of_memory_twice_aborts_and_leaves_map_queries_and_capture_alone(
    client, start, tmp_path: Path, monkeypatch
) -> None:
    inject(monkeypatch, tmp_path / "site", SMALL_GPU.format(width=0))
    path = wall_map(tmp_path / "map")
    start("query_node", map_path=path, rendering__rasterizer="numba_cpu")
    capture = start(
        "keyframe_node", map_path=path, qos="reliable", ingest__tf_timeout=6.0, keyframes__min_translation=0.05
    )
    training = start("training_node", map_path=path, **ON_DEMAND)
    statuses = client.collect(MapStatus, "status", LATCHED)
    done = client.result(client.send_goal(BuildMap, "build_map"), BUILD)
    assert done.status == GoalStatus.STATUS_ABORTED and done.result.error_code == BuildMap.Result.OUT_OF_MEMORY
    assert "gaussians.image_width" in done.result.message and done.result.partial
    assert load(MapDirectory.open(path)).version == done.result.map_version >= 1
    client.until(
        lambda: any(s.node == "training_node" and s.state == MapStatus.STATE_ERROR for s in statuses),
        DISCOVERY,
        "a status that says so",
    )
    about = client.call(GetMapInfo, "get_map_info")
    assert about.success and about.num_keyframes == 8, about.message
    capture.wait_for("listening", DISCOVERY)
    before = len(KeyframeStore(MapDirectory.open(path)))
    camera = FakeCamera(client, RELIABLE)
    for _ in range(3):
        camera.send()
    store = KeyframeStore(MapDirectory.open(path))
    client.until(lambda: store.refresh() or len(store) > before, 20, "a keyframe after that")
    assert training.is_alive
