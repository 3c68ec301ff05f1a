# SPDX-License-Identifier: Apache-2.0
"""Where the camera was at a stamp: from tf, or from a pose topic and what tf adds to it."""

import logging

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import TransformError
from ccl_lgs_ros.ingest.records import PoseRecord, TransformRecord
from ccl_lgs_ros.ingest.transforms import DisconnectedError, FutureExtrapolationError, TransformBuffer

logger = logging.getLogger(__name__)

CAMERA = "camera of the pose topic"  # stands for the child that a PoseStamped does not name; no frame has spaces


class PoseFinder:
    """Poses of cameras in the map, by tf or by topic.

    `auto` takes tf as soon as it joins map and camera; only where tf has not done so when an image's time is up, and
    poses have come by topic, is the topic taken, for good.

    Args:
        map_frame: frame that the map lives in.
        pose_source: auto, tf or topic.
        pose_slop: seconds by which a pose may miss the stamp at the ends of its topic; between poses it interpolates.
        transforms: tf.
        cache: seconds of poses that are kept.
    """

    def __init__(
        self, *, map_frame: str, pose_source: str, pose_slop: float, transforms: TransformBuffer, cache: float
    ) -> None:
        self.transforms = transforms
        self.source = self._wanted = pose_source
        self._map_frame = map_frame
        self._slop_ns = int(pose_slop * 1e9)
        self._poses = TransformBuffer(cache=cache)
        self._latest: dict[str, tuple[str, str]] = {}  # camera name -> parent and child of its pose topic

    def add(self, record: PoseRecord) -> None:
        """Keep a pose of a pose topic.

        Raises:
            ValueError: if it is not rigid.
        """
        parent = record.frame_id or self._map_frame
        child = record.child or f"{CAMERA} {record.camera_name}"
        self._poses.add(
            TransformRecord(
                stamp_ns=record.stamp_ns, parent=parent, child=child, translation=record.translation, quat=record.quat
            )
        )
        self._latest[record.camera_name] = (parent, child)

    def forget(self) -> None:
        """Start anew; static transforms stay, as they are sent once."""
        self.transforms.clear()
        self._poses.clear()
        self._latest, self.source = {}, self._wanted

    def forget_later(self, stamp_ns: int) -> None:
        """Time jumped back to the stamp."""
        self.transforms.forget_later(stamp_ns)
        self._poses.forget_later(stamp_ns)

    def world_from_camera(
        self, camera_name: str, frame_id: str, stamp_ns: int, *, is_final: bool
    ) -> NDArray[np.float64]:
        """The pose [4, 4] of the camera's optical frame in the map.

        Args:
            camera_name: whose pose topic is asked.
            frame_id: the optical frame.
            stamp_ns: of the image.
            is_final: nothing more will come; take what there is.

        Raises:
            TransformError: saying what is missing.
        """
        if self.source == "topic":
            return self._by_topic(camera_name, frame_id, stamp_ns, is_final)
        try:
            found = self.transforms.lookup(self._map_frame, frame_id, stamp_ns)
        except DisconnectedError:
            if self.source == "tf" or not is_final or not self._latest:
                raise
            found = self._by_topic(camera_name, frame_id, stamp_ns, is_final)
            logger.warning("tf does not join '%s' and '%s'; poses are taken from the topic", self._map_frame, frame_id)
            self.source = "topic"
            return found
        self.source = "tf"
        return found

    def _by_topic(self, camera_name: str, frame_id: str, stamp_ns: int, is_final: bool) -> NDArray[np.float64]:
        if not self._latest:
            raise DisconnectedError("no pose has arrived on the pose topic")
        parent, child = self._topic_of(camera_name)
        try:
            parent_from_child = self._poses.lookup(parent, child, stamp_ns)
        except TransformError as error:
            clamped = self._poses.clamped(child, stamp_ns, self._slop_ns)
            if clamped == stamp_ns or (isinstance(error, FutureExtrapolationError) and not is_final):
                raise
            parent_from_child = self._poses.lookup(parent, child, clamped)
        world_from_parent = self._by_tf(self._map_frame, parent, stamp_ns, "set frames.map_frame to the former")
        if child.startswith(CAMERA):
            return world_from_parent @ parent_from_child
        child_from_camera = self._by_tf(child, frame_id, stamp_ns, "publish where the camera sits on it")
        return world_from_parent @ parent_from_child @ child_from_camera

    def _topic_of(self, camera_name: str) -> tuple[str, str]:
        """Parent and child of the camera's own pose topic, or of one whose child may carry several cameras."""
        own = self._latest.get(camera_name)
        shared = (frames for frames in self._latest.values() if not frames[1].startswith(CAMERA))
        found = own or next(shared, None)
        if found is None:
            raise DisconnectedError(
                f"no pose of the camera '{camera_name}' has come, and those that have name no child frame that tf "
                f"could lead from; set cameras.{camera_name}.pose_topic, or publish nav_msgs/Odometry"
            )
        return found

    def _by_tf(self, target: str, source: str, stamp_ns: int, fix: str) -> NDArray[np.float64]:
        try:
            return self.transforms.lookup(target, source, stamp_ns)
        except DisconnectedError as error:
            raise DisconnectedError(f"poses are in '{source}' and tf does not join it to '{target}'; {fix}") from error
