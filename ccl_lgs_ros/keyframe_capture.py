# SPDX-License-Identifier: Apache-2.0
"""From records to stored keyframes: what the live node and the reader of recordings share.

Nothing here loads torch, so that the node that captures shares its process with nothing heavy.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.capture_parts import assembler_of, decoder_of, selector_of
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import CclLgsError, MapError
from ccl_lgs_ros.ingest.drops import REASONS, Drops
from ccl_lgs_ros.ingest.frames import PosedFrame, sharpness
from ccl_lgs_ros.ingest.records import ColourRecord, ImageRecord, Record
from ccl_lgs_ros.ingest.transforms import TransformBuffer

INBOX_QUEUES = 2  # images of colour and depth that may lie unlooked at, in multiples of ingest.pending_queue


class KeptKeyframe(Protocol):
    """What the selection must know of a keyframe that was stored before."""

    @property
    def stamp_ns(self) -> int: ...

    @property
    def world_from_camera(self) -> NDArray[np.float64]: ...

    @property
    def sharpness(self) -> float: ...

    @property
    def camera_name(self) -> str: ...


class KeyframeSink(Protocol):
    """Where keyframes go, as storage.keyframe_store.KeyframeStore: they are appended and never changed."""

    def __len__(self) -> int: ...

    @property
    def entries(self) -> Sequence[KeptKeyframe]: ...

    def append(self, keyframe: Keyframe) -> bool: ...


class Capture:
    """Turns records into keyframes in a store.

    `add` is cheap and may be called from any thread; `poll` does the work, in one thread at a time.

    Args:
        config: the groups frames, ingest and keyframes are used.
        store: keyframes that it holds already count as kept.
        transforms: tf that is known already, for recordings.
        pose_source: overrides ingest.pose_source where not empty.
        use_depth: overrides ingest.use_depth where not None.
        use_labels: keep only images with a label image, and keep it with them.
    """

    def __init__(
        self,
        config: MapConfig,
        store: KeyframeSink,
        *,
        transforms: TransformBuffer | None = None,
        pose_source: str = "",
        use_depth: bool | None = None,
        use_labels: bool = False,
    ) -> None:
        self.drops = Drops()
        self.num_images = 0
        self.num_kept = 0
        self._is_next_wanted = False
        self._store = store
        self._use_depth = config.ingest.use_depth if use_depth is None else use_depth
        self._use_labels = use_labels
        self._inbox: deque[Record] = deque()
        self._inbox_lock = threading.Lock()
        self._inbox_images = 0
        self._max_inbox_images = (INBOX_QUEUES + use_labels) * config.ingest.pending_queue
        self._assembler = assembler_of(
            config,
            self.drops,
            use_depth=self._use_depth,
            use_labels=use_labels,
            pose_source=pose_source,
            transforms=transforms,
        )
        self._decoder, self._selector = decoder_of(config), selector_of(config)
        for known in store.entries:
            self._selector.restore(known.stamp_ns, known.world_from_camera, known.sharpness, known.camera_name)

    def add(self, record: Record) -> None:
        """Hand over what a message held; it is looked at by the next `poll`."""
        is_image = isinstance(record, ImageRecord)
        with self._inbox_lock:
            if is_image and self._inbox_images >= self._max_inbox_images:
                self.drops.add("queue", "images come faster than they are looked at; lower the rate of the camera")
                return
            self._inbox.append(record)
            self._inbox_images += is_image

    def poll(self, now_ns: int | None = None) -> list[Keyframe]:
        """Look at what has come and return the keyframes that were stored.

        Args:
            now_ns: the time on any clock that runs on while nothing arrives; None measures waiting by stamps alone.
        """
        self._take_in()
        return self._stored(now_ns, is_end=False)

    def finish(self) -> list[Keyframe]:
        """Decide on the images that still wait: nothing more will come."""
        self._take_in()
        return self._stored(None, is_end=True)

    def take_next(self) -> None:
        """Keep the next image that has all it needs, however little it moved and however blurred it is."""
        self._is_next_wanted = True

    @property
    def counts(self) -> dict[str, int]:
        """Images dropped, by reason (see ingest.drops.REASONS)."""
        return dict(self.drops.counts)

    @property
    def num_pending(self) -> int:
        """Images that wait."""
        return self._assembler.num_pending

    @property
    def status_text(self) -> str:
        """One sentence: what is missing, or what has been captured."""
        missing = self._missing()
        if missing:
            return missing
        text = f"{self.num_images} images, {self.num_kept} new keyframes; dropped: {self.drops}"
        return f"{text}; waiting: {self._assembler.waiting}" if self._assembler.waiting else text

    def _missing(self) -> str:
        cameras = self._assembler.cameras.values()
        if not self.num_images:
            return "no colour image has arrived"
        if not any(camera.has_info for camera in cameras):
            return f"{self.num_images} colour images have arrived but no camera_info"
        if self._use_depth and all(camera.depths.newest_ns is None for camera in cameras):
            hint = "set ingest.use_depth=false if there is none"
            return f"{self.num_images} colour images have arrived but no depth image; {hint}"
        if self._use_labels and all(camera.labels.newest_ns is None for camera in cameras):
            return (
                f"{self.num_images} colour images have arrived but no label image; correct label_topic, or set it to ''"
            )
        faults = [reason for reason, is_fault in REASONS.items() if is_fault and self.drops.counts[reason]]
        if not self.num_kept and faults:
            worst = max(faults, key=lambda reason: self.drops.counts[reason])
            return f"{self.num_images} colour images have arrived but no keyframe: {self.drops.first[worst]}"
        return ""

    def _take_in(self) -> None:
        while self._inbox:
            with self._inbox_lock:
                record = self._inbox.popleft()
                self._inbox_images -= isinstance(record, ImageRecord)
            self.num_images += isinstance(record, ColourRecord)
            try:
                self._assembler.add(record)
            except ValueError as error:
                self.drops.add("format", str(error))

    def _stored(self, now_ns: int | None, *, is_end: bool) -> list[Keyframe]:
        stored = []
        for frame in self._assembler.ready(now_ns, is_end=is_end):
            keyframe = self._keyframe(frame)
            if keyframe is not None:
                stored.append(keyframe)
        return stored

    def _keyframe(self, frame: PosedFrame) -> Keyframe | None:
        """The frame as a stored keyframe, None if it is not wanted or cannot be read."""
        try:
            keyframe = self._worthwhile(frame)
            if not self._store.append(keyframe):
                raise _Refused("duplicate", f"there is a keyframe of {frame.stamp_ns} ns")
        except _Refused as refused:
            self.drops.add(refused.reason, str(refused))
        except MapError as error:  # over its budget, or the disk does not take it
            self.drops.add("limit", str(error))
        else:
            self._selector.keep(keyframe.stamp_ns, keyframe.world_from_camera, keyframe.sharpness, keyframe.camera_name)
            self.num_kept += 1
            self._is_next_wanted = False
            return keyframe
        return None

    def _worthwhile(self, frame: PosedFrame) -> Keyframe:
        """The decoded frame; each step costs more than the one before and is taken only if that let it pass."""
        stamp_ns, pose, name = frame.stamp_ns, frame.world_from_camera, frame.camera_name
        self._refuse(self._selector.refusal(stamp_ns, pose, name))
        with _unreadable("format", "a colour image cannot be read: "):
            rectifier, image = self._decoder.colour(frame)
        sharp = sharpness(image)
        self._refuse(self._selector.refusal_of_image(stamp_ns, pose, sharp, name))
        with _unreadable("depth"):
            depth = self._decoder.depth(frame, rectifier)
        with _unreadable("format", "a label image cannot be read: "):
            labels = self._decoder.labels(frame, rectifier)
        return Keyframe(
            id=len(self._store),
            stamp_ns=stamp_ns,
            camera=rectifier.camera,
            world_from_camera=pose,
            image=image,
            depth=depth,
            labels=labels,
            camera_name=name,
            sharpness=sharp,
        )

    def _refuse(self, refusal: tuple[str, str] | None) -> None:
        is_waived = self._is_next_wanted and refusal is not None and refusal[0] in ("motion", "blur")
        if refusal is not None and not is_waived:
            raise _Refused(*refusal)


class _Refused(Exception):
    """An image is not wanted, for a reason of ingest.drops."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@contextmanager
def _unreadable(reason: str, prefix: str = "") -> Iterator[None]:
    """Whatever decoding raises is a refusal: one bad message must not stop the capture."""
    try:
        yield
    except (CclLgsError, ValueError, cv2.error) as error:
        raise _Refused(reason, prefix + str(error)) from error
