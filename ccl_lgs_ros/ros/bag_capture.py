# SPDX-License-Identifier: Apache-2.0
"""Keyframes from a recording that the node reads by itself, of one camera or of several."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ccl_lgs_ros.capture import capture_of
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import BagError
from ccl_lgs_ros.ingest.records import Record
from ccl_lgs_ros.recording import TRANSPORTS, Recording, images_of, open_recording
from ccl_lgs_ros.ros.camera_options import CameraOptions
from ccl_lgs_ros.ros.capture_thread import AnnouncingStore, CaptureThread
from ccl_lgs_ros.storage.bag import Bag

logger = logging.getLogger(__name__)

PAUSE_PERIOD = 0.1  # seconds
TOPICS = ("image_topic", "depth_topic", "camera_info_topic", "pose_topic", "label_topic")


class BagCapture(CaptureThread):
    """Keyframes from a recording, read no faster than they are stored, so that nothing is lost.

    Args:
        store: takes the keyframes.
        config: the groups frames, ingest and keyframes are used.
        bag_path: the recording.
        cameras: by name; topics that are not named are found by type for a single camera, below the names of several.
        pose_topic: of poses that several cameras share.
    """

    def __init__(
        self,
        store: AnnouncingStore,
        config: MapConfig,
        bag_path: Path,
        cameras: Mapping[str, CameraOptions],
        pose_topic: str,
    ) -> None:
        super().__init__(store, None)
        self.num_total = 0
        self._config, self._bag_path = config, bag_path
        self._cameras, self._pose_topic = cameras, pose_topic

    def use(self, config: MapConfig) -> None:
        """Choose and decode by other options from now on."""
        self._config = config
        super().use(config)

    def add(self, record: Record) -> None:
        """Live messages are not looked at while a recording is read."""

    def run(self) -> None:
        """The thread's work."""
        try:
            with Bag(self._bag_path) as bag:
                self._read(bag)
        except Exception as error:
            self._failed(error)
        self.is_done = True

    def _read(self, bag: Bag) -> None:
        recordings = [self._recording(bag, name, camera) for name, camera in self._cameras.items()]
        for note in dict.fromkeys(note for recording in recordings for note in recording.notes):
            logger.info("%s: %s", self._bag_path, note)
        self.num_total = sum(recording.num_images for recording in recordings)
        self.capture = capture = capture_of(recordings[0], self._config, self.store, *recordings[1:])
        for record in images_of(recordings):
            while self.is_paused and not self._stop_asked.is_set():
                self._stop_asked.wait(PAUSE_PERIOD)
            if self._stop_asked.is_set():
                logger.warning("%s was left after %s of %s images", self._bag_path, capture.num_images, self.num_total)
                return
            capture.add(record)
            capture.poll()
        capture.finish()
        logger.info(
            "%s has been read: %s; %s keyframes in the map", self._bag_path, capture.status_text, len(self.store)
        )

    def _recording(self, bag: Bag, name: str, camera: CameraOptions) -> Recording:
        topics = {topic: getattr(camera, topic) for topic in TOPICS}
        if not name:
            return open_recording(bag, self._config, **topics)
        topics["image_topic"] = topics["image_topic"] or _recorded(bag, f"/{name}/image")
        topics["pose_topic"] = topics["pose_topic"] or self._pose_topic
        if self._config.ingest.use_depth:
            topics["depth_topic"] = topics["depth_topic"] or _recorded(bag, f"/{name}/depth")
        config = updated(self._config, {"frames.camera_frame": camera.camera_frame})
        try:
            recording = open_recording(bag, config, **topics)
        except BagError as error:
            raise BagError(f"camera '{name}': {error}; parameters: cameras.{name}.*") from error
        return recording.of_camera(name, has_own_poses=bool(camera.pose_topic))


def _recorded(bag: Bag, topic: str) -> str:
    """The topic as it was recorded: raw, or with the name of a transport."""
    names = [topic, *(f"{topic}/{transport}" for transport in TRANSPORTS)]
    return next((name for name in names if name in bag.topics), topic)
