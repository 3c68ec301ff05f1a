# SPDX-License-Identifier: Apache-2.0
"""A training node that is started again goes on where it was, and its map moves with keyframes whose poses improve."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.action import BuildMap
from ros.wall_map import BUILD, TRAIN, wall_map

from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load

STEP = rigid(np.eye(3), np.array([0.0, 0.5, 0.25]))  # metres that a loop closure moves everything by


def test_row_30_the_training_node_goes_on_after_a_restart_and_moves_with_corrected_keyframes(
    client: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    path = wall_map(tmp_path / "map", 6)
    directory = MapDirectory.open(path)
    node = start("training_node", map_path=path, **{**TRAIN, "train": False})
    built = client.result(client.send_goal(BuildMap, "build_map"), BUILD).result
    assert built.success, built.message
    node.interrupt()
    before = load(directory)

    with KeyframeStore(directory, writable=True) as store:
        moved = {("", entry.stamp_ns): STEP @ entry.world_from_camera for entry in store.entries}
        assert store.correct(moved) == 6
        last = store[5]
        assert store.append(replace(last, stamp_ns=last.stamp_ns + 1))
    node = start("training_node", map_path=path, **TRAIN)
    node.wait_for("going on after keyframe 6 of 7", BUILD)
    client.until(lambda: load(directory).info["keyframes"] == 7, BUILD, "a version of all keyframes")
    after = load(directory)
    assert after.info["revision"] == 1
    step = after.gaussians.means.median(dim=0).values - before.gaussians.means.median(dim=0).values
    assert step[1:].tolist() == pytest.approx(STEP[1:3, 3].tolist(), abs=0.05)
    assert "optimize_seconds" not in after.info  # nothing was begun anew
