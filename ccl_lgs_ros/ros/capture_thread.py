# SPDX-License-Identifier: Apache-2.0
"""Decoding, selecting and storing keyframes beside the thread that receives messages, from live topics or a bag."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.capture import Capture, capture_of
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.ingest.images import ColourDecoder
from ccl_lgs_ros.ingest.records import ImageRecord, Record
from ccl_lgs_ros.recording import open_recording
from ccl_lgs_ros.ros.camera_options import CameraOptions
from ccl_lgs_ros.ros.guards import sentence
from ccl_lgs_ros.storage.bag import Bag
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore

logger = logging.getLogger(__name__)

PERIOD = 0.03  # seconds between looks at what has come
PAUSE_PERIOD = 0.1  # seconds
ERROR_REPEAT = 10.0  # seconds before an error that stays is logged again


class AnnouncingStore:
    """A keyframe store that remembers what was appended until somebody takes it to tell others."""

    def __init__(self, store: KeyframeStore) -> None:
        self.store = store
        self._new: deque[Keyframe] = deque()

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int, /) -> Keyframe:
        return self.store[index]

    @property
    def entries(self) -> tuple[KeyframeEntry, ...]:
        """What is known of the stored keyframes without their pixels."""
        return self.store.entries

    @property
    def revision(self) -> int:
        """How often poses were corrected."""
        return self.store.revision

    def append(self, keyframe: Keyframe) -> bool:
        """Store it; what this returns is the store's own answer."""
        is_stored = self.store.append(keyframe)
        if is_stored:
            self._new.append(keyframe)
        return is_stored

    def correct(self, world_from_camera_of: Mapping[tuple[str, int], NDArray[np.float64]]) -> int:
        """Give keyframes better poses; how many have moved."""
        return self.store.correct(world_from_camera_of)

    def take_new(self) -> list[Keyframe]:
        """The keyframes that were appended since the last call."""
        taken = []
        while self._new:
            taken.append(self._new.popleft())
        return taken


class CaptureThread(threading.Thread, ABC):
    """Fills a keyframe store until it is told to stop; errors are kept for the status and never end it silently."""

    def __init__(self, store: AnnouncingStore, capture: Capture | None) -> None:
        super().__init__(name="capture", daemon=True)
        self.store = store
        self.capture = capture  # None until a recording is open
        self.is_paused = False
        self.is_done = False  # nothing more will come
        self.error = ""
        self._stop_asked = threading.Event()
        self._logged_at = self._failed_at = float("-inf")

    @abstractmethod
    def add(self, record: Record) -> None:
        """Hand over what a message held."""

    def stop(self, timeout: float) -> bool:
        """Decide on what has come and end; whether that was done in time."""
        self._stop_asked.set()
        if self.is_alive():
            self.join(timeout)
        return not self.is_alive()

    @property
    def camera_frames(self) -> Mapping[str, str]:
        """The optical frames of the cameras that sent images, by name."""
        return self.capture.camera_frames if self.capture else {}

    def use(self, config: MapConfig) -> None:
        """Choose and decode by other options from now on; raises ConfigError where they contradict each other."""
        if self.capture is not None:
            self.capture.use(config)

    def reset(self) -> bool:
        """Listen as if nothing had come yet, keyframes apart; whether that is possible."""
        return False

    def take_next(self) -> None:
        """Keep the next image whatever it shows."""
        if self.capture is not None:
            self.capture.take_next()

    def _failed(self, error: Exception) -> None:
        is_new = sentence(error) != self.error
        self.error, self._failed_at = sentence(error), time.monotonic()
        if is_new or time.monotonic() - self._logged_at > ERROR_REPEAT:
            self._logged_at = time.monotonic()
            logger.error("%s", self.error)


class LiveCapture(CaptureThread):
    """Keyframes from messages as they come."""

    def __init__(
        self,
        store: AnnouncingStore,
        config: MapConfig,
        cameras: Mapping[str, CameraOptions],
        decode_colour: ColourDecoder,
    ) -> None:
        capture = Capture(
            config,
            store,
            use_labels=any(camera.label_topic for camera in cameras.values()),
            camera_frames={name: camera.camera_frame for name, camera in cameras.items()},
            decode_colour=decode_colour,
        )
        super().__init__(store, capture)
        self._live: Capture = self.capture  # type: ignore[assignment]

    def add(self, record: Record) -> None:
        """Hand over what a message held; images are left out while capture is paused."""
        if not (self.is_paused and isinstance(record, ImageRecord)):
            self._live.add(record)

    def reset(self) -> bool:
        """Forget what waits and all counts."""
        self._live.reset()
        self.error = ""
        return True

    def run(self) -> None:
        """The thread's work."""
        while not self._stop_asked.wait(PERIOD):
            self._try(lambda: self._live.poll(time.monotonic_ns()))
        self._try(self._live.finish)

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:
            self._failed(error)
        else:
            if self.error and time.monotonic() - self._failed_at > ERROR_REPEAT:
                self.error = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BagTopics:
    """The topics that were named; empty ones are found by type."""

    image_topic: str = ""
    depth_topic: str = ""
    camera_info_topic: str = ""
    pose_topic: str = ""
    label_topic: str = ""


class BagCapture(CaptureThread):
    """Keyframes from a recording, read no faster than they are stored, so that nothing is lost."""

    def __init__(self, store: AnnouncingStore, config: MapConfig, bag_path: Path, topics: BagTopics) -> None:
        super().__init__(store, None)
        self.num_total = 0
        self._config, self._bag_path, self._topics = config, bag_path, topics

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
        topics = {name: getattr(self._topics, name) for name in self._topics.__dataclass_fields__}
        recording = open_recording(bag, self._config, **topics)
        for note in recording.notes:
            logger.info("%s: %s", self._bag_path, note)
        self.num_total = recording.num_images
        self.capture = capture = capture_of(recording, self._config, self.store)
        for record in recording.images():
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
