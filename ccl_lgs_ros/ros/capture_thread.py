# SPDX-License-Identifier: Apache-2.0
"""Decoding, selecting and storing keyframes beside the thread that receives messages."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.capture import Capture
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.ingest.images import ColourDecoder
from ccl_lgs_ros.ingest.records import ImageRecord, Record
from ccl_lgs_ros.ros.camera_options import CameraOptions
from ccl_lgs_ros.ros.guards import sentence
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore

logger = logging.getLogger(__name__)

PERIOD = 0.03  # seconds between looks at what has come
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
