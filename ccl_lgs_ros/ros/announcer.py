# SPDX-License-Identifier: Apache-2.0
"""Tells others of the keyframes that were stored: `keyframe`, `keyframe_path` and `keyframe_markers`."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.msg import Keyframe as KeyframeMessage
from ccl_lgs_ros.ros.capture_thread import AnnouncingStore
from ccl_lgs_ros.ros.conversions import keyframe_message
from ccl_lgs_ros.ros.qos import with_overrides
from ccl_lgs_ros.ros.trail import KeyframeTrail
from ccl_lgs_ros.storage.map_directory import MapDirectory

DEPTH = 50  # keyframes that a slow listener may be behind


class Announcer:
    """Publishes what is new in a store.

    Args:
        node: whose topics they are.
        store: remembers what is new.
        directory: the map that the store belongs to.
        map_frame: the frame of the poses.
    """

    def __init__(self, node: Node, store: AnnouncingStore, directory: MapDirectory, map_frame: str) -> None:
        self.trail = KeyframeTrail(node, map_frame, store)
        self._store, self._directory, self._map_frame = store, directory, map_frame
        qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self._keyframes = node.create_publisher(KeyframeMessage, "keyframe", **with_overrides(qos))

    def announce(self, camera_frames: Mapping[str, str]) -> None:
        """Send the keyframes that were stored since the last call; frames are by the cameras' names."""
        for stored in self._store.take_new():
            entry = self._store.entries[stored.id]
            keyframe = replace(stored, world_from_camera=entry.world_from_camera)
            message = keyframe_message(
                keyframe,
                self._pose_before(keyframe),
                map_frame=self._map_frame,
                camera_frame=camera_frames.get(keyframe.camera_name, ""),
                map_path=str(self._directory.path.resolve()),
                uri=f"{self._directory.keyframes_path.name}/{entry.image_name}",
                pose_revision=entry.revision,
            )
            self._keyframes.publish(message)

    def _pose_before(self, keyframe: Keyframe) -> NDArray[np.float64] | None:
        """world_from_camera of the same camera's keyframe before it."""
        before = reversed(self._store.entries[: keyframe.id])
        return next((e.world_from_camera for e in before if e.camera_name == keyframe.camera_name), None)
