# SPDX-License-Identifier: Apache-2.0
"""From records to stored keyframes: what the live node and the reader of recordings share.

Nothing here loads torch, so that the node that captures shares its process with nothing heavy.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import cv2

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.capture_parts import assembler_of, corrector_of, decoder_of, selector_of
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import CclLgsError, MapError
from ccl_lgs_ros.ingest.camera_streams import CameraStreams
from ccl_lgs_ros.ingest.drops import REASONS, Drops
from ccl_lgs_ros.ingest.frames import PosedFrame, sharpness
from ccl_lgs_ros.ingest.images import ColourDecoder, decode_colour
from ccl_lgs_ros.ingest.inbox import Inbox
from ccl_lgs_ros.ingest.records import PathRecord, Record
from ccl_lgs_ros.ingest.transforms import TransformBuffer
from ccl_lgs_ros.keyframe_sink import KeyframeSink

logger = logging.getLogger(__name__)

INBOX_QUEUES = 2  # images of colour and depth that may lie unlooked at, in multiples of ingest.pending_queue


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
        camera_frames: the optical frames of all cameras by name, the first camera first; '' = as their drivers say.
        decode_colour: reads colour images, as ingest.images.decode_colour does.
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
        camera_frames: Mapping[str, str] | None = None,
        decode_colour: ColourDecoder = decode_colour,
    ) -> None:
        self.drops = Drops()
        self.num_kept = 0
        self._is_next_wanted = False
        self._store = store
        self._use_depth = config.ingest.use_depth if use_depth is None else use_depth
        self._use_labels = use_labels
        queues = (INBOX_QUEUES + use_labels) * max(len(camera_frames or {}), 1)
        self._inbox = Inbox(queues * config.ingest.pending_queue, self.drops)
        self._orders: deque[Callable[[], None]] = deque()  # of other threads, for the one that polls
        self._assembler = assembler_of(
            config,
            self.drops,
            use_depth=self._use_depth,
            use_labels=use_labels,
            pose_source=pose_source,
            camera_frames=camera_frames,
            transforms=transforms,
        )
        self._decode_colour = decode_colour
        self._decoder, self._selector = decoder_of(config, decode_colour), selector_of(config)
        self._corrector = corrector_of(config, next(iter(camera_frames or {}), ""), self._assembler.transforms)
        self._path: PathRecord | None = None  # the newest that was not looked at yet
        self._num_forgotten = 0  # images that came before the last reset
        for known in store.entries:
            self._selector.restore(known.stamp_ns, known.world_from_camera, known.sharpness, known.camera_name)

    def add(self, record: Record) -> None:
        """Hand over what a message held; it is looked at by the next `poll`."""
        self._inbox.put(record)

    def poll(self, now_ns: int | None = None) -> list[Keyframe]:
        """Look at what has come and return the keyframes that were stored.

        Args:
            now_ns: the time on any clock that runs on while nothing arrives; None measures waiting by stamps alone.
        """
        while self._orders:
            self._orders.popleft()()
        self._take_in()
        stored = self._stored(now_ns, is_end=False)
        self._correct()
        return stored

    def finish(self) -> list[Keyframe]:
        """Decide on the images that still wait: nothing more will come."""
        self._take_in()
        return self._stored(None, is_end=True)

    def take_next(self) -> None:
        """Keep the next image that has all it needs, however little it moved and however blurred it is."""
        self._is_next_wanted = True

    def use(self, config: MapConfig) -> None:
        """Choose and decode by other options from the next `poll` on; what is kept and what waits stays."""
        decoder, selector = decoder_of(config, self._decode_colour), selector_of(config)

        def take() -> None:
            selector.take_over(self._selector)
            self._decoder, self._selector = decoder, selector

        self._orders.append(take)

    def reset(self) -> None:
        """Forget what waits, moving transforms and poses, and all counts; keyframes, static tf and lenses stay."""

        def forget() -> None:
            self._take_in()
            self._assembler.forget()
            self._path, self._is_next_wanted = None, False
            self.drops.clear()
            self.num_kept, self._num_forgotten = 0, self._inbox.num_colour

        self._orders.append(forget)

    @property
    def num_images(self) -> int:
        """Colour images that came."""
        return self._inbox.num_colour - self._num_forgotten

    @property
    def counts(self) -> dict[str, int]:
        """Images dropped, by reason (see ingest.drops.REASONS)."""
        return dict(self.drops.counts)

    @property
    def camera_frames(self) -> Mapping[str, str]:
        """The optical frames of the cameras that sent images, by name."""
        return self._assembler.frame_of_camera

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
        if not self.num_images:
            return "no colour image has arrived"
        for name, camera in self._assembler.cameras.items():
            lacking = self._lacking(camera) if camera.newest_colour_ns is not None else None
            if lacking:
                whose = f" of '{name}'" if name else ""
                return f"{self.num_images} colour images have arrived but no {lacking[0]}{whose}{lacking[1]}"
        faults = [reason for reason, is_fault in REASONS.items() if is_fault and self.drops.counts[reason]]
        if not self.num_kept and faults:
            worst = max(faults, key=lambda reason: self.drops.counts[reason])
            return f"{self.num_images} colour images have arrived but no keyframe: {self.drops.first[worst]}"
        return ""

    def _lacking(self, camera: CameraStreams) -> tuple[str, str] | None:
        """What a camera that sends images sends none of, and what to do about it."""
        if not camera.has_info:
            return "camera_info", ""
        if self._use_depth and camera.depths.newest_ns is None:
            return "depth image", "; set ingest.use_depth=false if there is none"
        if self._use_labels and camera.labels.newest_ns is None:
            return "label image", "; correct label_topic, or set it to ''"
        return None

    def _take_in(self) -> None:
        for record in self._inbox.taken():
            if isinstance(record, PathRecord):
                self._path = record
                continue
            try:
                self._assembler.add(record)
            except ValueError as error:
                self.drops.add("format", str(error))
            except Exception as error:
                self.drops.add_error(error)

    def _correct(self) -> None:
        """Move the keyframes as the newest path has it, once the cameras are known."""
        path = self._path
        if path is None or not self._assembler.frame_of_camera:
            return
        self._path = None
        moved = self._corrector.corrected(path, self._store.entries, self._assembler.frame_of_camera)
        if moved:
            count = self._store.correct(moved)
            self._selector.correct(moved)
            self._corrector.accept()
            logger.info("%s keyframes have new poses from corrected_path", count)

    def _stored(self, now_ns: int | None, *, is_end: bool) -> list[Keyframe]:
        stored = []
        for frame in self._assembler.ready(now_ns, is_end=is_end):
            keyframe = self._keyframe(frame)
            if keyframe is not None:
                stored.append(keyframe)
        return stored

    def _keyframe(self, frame: PosedFrame) -> Keyframe | None:
        """The frame as a stored keyframe, None if it is not wanted or cannot be read."""
        pose = self._corrector.present(frame.camera_name, frame.stamp_ns, frame.world_from_camera)
        frame = replace(frame, world_from_camera=pose)
        try:
            keyframe = self._worthwhile(frame)
            if not self._store.append(keyframe):
                raise _Refused("duplicate", f"there is a keyframe of {frame.stamp_ns} ns")
        except _Refused as refused:
            self.drops.add(refused.reason, str(refused))
        except MapError as error:  # over its budget, or the disk does not take it
            self.drops.add("limit", str(error))
        except Exception as error:  # whatever it is, the next image may be better
            self.drops.add_error(error)
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
