# SPDX-License-Identifier: Apache-2.0
"""A loop closure told on corrected_path moves the stored keyframes, and everything that looks at them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import Keyframe, MapStatus
from nav_msgs.msg import Path as PathMessage
from ros.fake_camera import STEP, FakeCamera
from ros.harness import LATCHED, RELIABLE
from ros.test_keyframe_node import counted
from std_msgs.msg import Header

from ccl_lgs_ros.geometry import rigid, rotation_from_quat
from ccl_lgs_ros.ros.conversions import path_message, transform_of
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

LATER_NS = 3_000_000_000  # beyond ingest.corrected_gap
TURN = 0.17  # radians: ten degrees
LOOP = rigid(rotation_from_quat(np.array([np.cos(TURN / 2), 0, 0, np.sin(TURN / 2)])), np.array([0.0, 0.5, 0.0]))


def poses_of(keyframes: list[Keyframe]) -> list[tuple[int, Any]]:
    """Stamps and poses as they were announced."""
    stamps = [k.header.stamp.sec * 1_000_000_000 + k.header.stamp.nanosec for k in keyframes]
    return [(stamp, transform_of(k.world_from_camera)) for stamp, k in zip(stamps, keyframes, strict=True)]


def test_row_30_a_corrected_path_moves_the_keyframes_of_its_stamps(
    client, start, tmp_path: Path, record_property: Any
) -> None:
    node = start(
        "keyframe_node",
        map_path=tmp_path / "map",
        qos="reliable",
        keyframes__min_translation=0.1,
        keyframes__min_rotation=0.05,
        ingest__tf_timeout=6.0,
    )
    keyframes, statuses = client.collect(Keyframe, "keyframe"), client.collect(MapStatus, "status", LATCHED)
    paths = client.collect(PathMessage, "keyframe_path", LATCHED)
    optimised = client.publisher(PathMessage, "corrected_path")
    camera = FakeCamera(client, RELIABLE)
    for _ in range(4):
        camera.send()
    client.until(lambda: len(keyframes) == 4, 60, "four keyframes")
    wanted = [(stamp, LOOP @ pose) for stamp, pose in poses_of(keyframes)]

    optimised.publish(path_message(wanted, Header(frame_id="odom")))
    node.wait_for("corrected_path is in the frame 'odom', poses are wanted in 'map'", 60)
    optimised.publish(path_message([wanted[0], wanted[1], wanted[3]], Header(frame_id="map")))
    client.until(counted(statuses, pose_revision=1), 60, "the correction is counted")
    client.until(lambda: moved(paths, wanted), 60, "the path shows the corrected poses, the one between them too")

    camera.stamp_ns += LATER_NS
    camera.send(moves=False)
    client.until(lambda: len(keyframes) == 5, 60, "where a keyframe was before is a new place now")
    assert node.interrupt() == 0
    stored = KeyframeStore(MapDirectory.open(tmp_path / "map"))
    assert [entry.revision for entry in stored.entries] == [1, 1, 1, 1, 0]
    places = np.array([entry.world_from_camera[:3, 3] for entry in stored.entries[:4]])
    errors = np.linalg.norm(places - [pose[:3, 3] for _, pose in wanted], axis=1)
    assert max(errors) < 1e-6
    assert stored.entries[4].world_from_camera[0, 3] == pytest.approx(4 * STEP)
    record_property("figure", "4 keyframes moved by 0.5 m and 10°, each to within 1 µm of the path")


def moved(paths: list[PathMessage], wanted: list[tuple[int, Any]]) -> bool:
    """Whether the newest path is the one that is wanted."""
    if not paths or len(paths[-1].poses) != len(wanted):
        return False
    pairs = zip(paths[-1].poses, wanted, strict=True)
    return all(np.allclose(transform_of(shown.pose), pose, atol=1e-6) for shown, (_, pose) in pairs)
