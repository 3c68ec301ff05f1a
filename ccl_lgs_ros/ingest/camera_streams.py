# SPDX-License-Identifier: Apache-2.0
"""What one camera sent and nobody has used yet: images that wait, depth images, intrinsics."""

import logging
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ccl_lgs_ros.ingest.records import CameraInfoRecord, ColourRecord, DepthRecord, ImageRecord, LabelRecord
from ccl_lgs_ros.ingest.transforms import JUMP_BACK_NS

logger = logging.getLogger(__name__)

MAX_INFOS = 256  # intrinsics that may wait for their images
MAX_WAITING_BYTES = 512 << 20  # that images of one kind may take while they wait


class Waiting(Exception):
    """Why an image cannot go on yet; once its time is up, the reason why it was dropped."""

    def __init__(self, reason: str, text: str, *, is_hopeless: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.is_hopeless = is_hopeless  # waiting longer does not help


@dataclass(slots=True)
class Pending:
    """An image that waits, since when by the caller's clock."""

    colour: ColourRecord
    since_ns: int | None = None


Image = TypeVar("Image", bound=ImageRecord)


class Companions(Generic[Image]):
    """Images that colour images need one of, the nearest in time: depth or labels.

    Args:
        what: they are, in words.
        hint: what to do where none come.
        slop_ns: how far stamps may be apart.
        limit: half the number that is kept at most.
    """

    def __init__(self, what: str, hint: str, slop_ns: int, limit: int) -> None:
        self.newest_ns: int | None = None
        self._what, self._hint, self._slop_ns, self._limit = what, hint, slop_ns, limit
        self._images: list[Image] = []

    def add(self, record: Image) -> None:
        """Keep an image until the colour images have passed it."""
        self.forget_if_later(record.stamp_ns)
        self.newest_ns = max(self.newest_ns or 0, record.stamp_ns)
        insort(self._images, record, key=lambda image: image.stamp_ns)
        if len(self._images) > 2 * self._limit or num_bytes(self._images) > MAX_WAITING_BYTES:
            del self._images[: max(len(self._images) // 2, 1)]

    def forget(self) -> None:
        """Start anew."""
        self._images, self.newest_ns = [], None

    def forget_if_later(self, stamp_ns: int) -> None:
        """Start anew if a stamp means that time jumped back."""
        if self.newest_ns is not None and stamp_ns < self.newest_ns - JUMP_BACK_NS:
            self.forget()

    def forget_before(self, stamp_ns: int) -> None:
        """Forget what no colour image of this stamp or a later one can use."""
        del self._images[: bisect_left(self._images, stamp_ns - self._slop_ns, key=lambda image: image.stamp_ns)]

    def nearest(self, stamp_ns: int, *, is_final: bool) -> Image:
        """The image nearest in time, chosen once they have caught up with the colour image."""
        if not is_final and (self.newest_ns is None or self.newest_ns < stamp_ns):
            raise Waiting("sync", f"no {self._what} has come for the image")
        nearest = min(self._images, key=lambda image: abs(image.stamp_ns - stamp_ns), default=None)
        if nearest is None:
            raise Waiting("sync", f"no {self._what} has come; {self._hint}")
        apart = abs(nearest.stamp_ns - stamp_ns)
        if apart > self._slop_ns:
            raise Waiting(
                "sync",
                f"the nearest {self._what} is {apart / 1e9:.3f} s away, more than ingest.sync_slop",
                is_hopeless=True,
            )
        return nearest


class CameraStreams:
    """The unused messages of one camera, each kind by stamp."""

    def __init__(self, slop_ns: int, max_depths: int) -> None:
        self.pending: list[Pending] = []
        self.newest_colour_ns: int | None = None
        no_depth, no_labels = "set ingest.use_depth=false if there is none", "set label_topic='' if there is none"
        self.depths: Companions[DepthRecord] = Companions("depth image", no_depth, slop_ns, max_depths)
        self.labels: Companions[LabelRecord] = Companions("label image", no_labels, slop_ns, max_depths)
        self._decided_ns: int | None = None  # stamp of the image that left last
        self._infos: list[CameraInfoRecord] = []
        self._depth_infos: list[CameraInfoRecord] = []
        self._depth_has_no_info = False

    @property
    def is_heavy(self) -> bool:
        """Whether the waiting images take more memory than they may."""
        return num_bytes(pending.colour for pending in self.pending) > MAX_WAITING_BYTES

    @property
    def has_info(self) -> bool:
        """Whether intrinsics of the colour images have come."""
        return bool(self._infos)

    def add_info(self, record: CameraInfoRecord) -> None:
        """Keep intrinsics where they say something new."""
        infos = self._depth_infos if record.is_depth else self._infos
        at = bisect_right(infos, record.stamp_ns, key=lambda info: info.stamp_ns)
        if at == 0 or infos[at - 1].intrinsics_key != record.intrinsics_key:
            infos.insert(at, record)
        if len(infos) > MAX_INFOS:  # what is farthest in time is of least use
            is_first = record.stamp_ns - infos[0].stamp_ns > infos[-1].stamp_ns - record.stamp_ns
            del infos[0 if is_first else -1]

    def is_jump_back(self, stamp_ns: int) -> bool:
        """Whether a colour image of this stamp means that time started anew."""
        return self.newest_colour_ns is not None and stamp_ns < self.newest_colour_ns - JUMP_BACK_NS

    def restart(self, stamp_ns: int) -> list[int]:
        """Forget what waits, time having jumped back to the stamp; returns the stamps of the images lost."""
        lost = [pending.colour.stamp_ns for pending in self.pending]
        self.pending, self.newest_colour_ns, self._decided_ns = [], None, None
        self.depths.forget_if_later(stamp_ns)
        self.labels.forget_if_later(stamp_ns)
        return lost

    def forget(self) -> None:
        """Start anew, but for the intrinsics."""
        self.pending, self.newest_colour_ns, self._decided_ns = [], None, None
        self.depths.forget()
        self.labels.forget()

    def add_colour(self, record: ColourRecord) -> tuple[str, str] | None:
        """Let an image wait; returns reason and text if it is refused."""
        stamp = record.stamp_ns
        if stamp == self._decided_ns:
            return "duplicate", f"the image of {stamp} ns came twice"
        if self._decided_ns is not None and stamp < self._decided_ns:
            return "queue", f"the image of {stamp} ns came after a newer one had been decided"
        at = bisect_left(self.pending, stamp, key=lambda pending: pending.colour.stamp_ns)
        if at < len(self.pending) and self.pending[at].colour.stamp_ns == stamp:
            return "duplicate", f"the image of {stamp} ns came twice"
        self.pending.insert(at, Pending(record))
        self.newest_colour_ns = max(self.newest_colour_ns or 0, stamp)
        return None

    def start_waiting(self, now_ns: int | None) -> None:
        """Note the time for images that were not seen by the clock yet, or when the clock went back."""
        for pending in self.pending:
            if now_ns is not None and (pending.since_ns is None or pending.since_ns > now_ns):
                pending.since_ns = now_ns

    def waited_ns(self, now_ns: int | None) -> int:
        """How long the oldest image has waited, by the clock or else by the stamps of its followers."""
        head = self.pending[0]
        if now_ns is not None and head.since_ns is not None:
            return now_ns - head.since_ns
        return (self.newest_colour_ns or 0) - head.colour.stamp_ns

    def pop(self) -> None:
        """The oldest image has been decided; forget what only it could have used."""
        stamp = self._decided_ns = self.pending.pop(0).colour.stamp_ns
        self.depths.forget_before(stamp)
        self.labels.forget_before(stamp)
        self._infos = _still_of_use(self._infos, stamp)
        self._depth_infos = _still_of_use(self._depth_infos, stamp)

    def info_for(self, colour: ColourRecord, *, is_final: bool) -> CameraInfoRecord:
        """The newest intrinsics not newer than the image that fit its size, else the oldest that do."""
        if not self._infos:
            raise Waiting("sync", "no camera_info has come for the image")
        size = (colour.width, colour.height)
        fitting = [x for x in self._infos if not colour.width or not x.image_size[0] or x.image_size == size]
        if not fitting and not is_final:
            raise Waiting("sync", f"no camera_info has come for images of {size[0]}x{size[1]}")
        return _in_force(fitting or self._infos, colour.stamp_ns)

    def depth_info_for(self, depth: DepthRecord, colour: ColourRecord, *, is_final: bool) -> CameraInfoRecord | None:
        """Intrinsics of the depth image; None where it has the colour camera's, for want of its own."""
        if self._depth_infos:
            return _in_force(self._depth_infos, depth.stamp_ns)
        is_one_frame = not depth.frame_id or depth.frame_id == colour.frame_id
        if not is_one_frame:
            raise Waiting("sync", f"no camera_info has come for the depth camera '{depth.frame_id}'")
        if not self._depth_has_no_info:
            if not is_final:
                raise Waiting("sync", "no camera_info has come for the depth image")
            self._depth_has_no_info = True
            logger.warning("the depth images have no camera_info; they are taken to be registered to the colour images")
        return None


def num_bytes(images: Iterable[ImageRecord]) -> int:
    """What the pixels of images take, as they came."""
    return sum(len(image.data) for image in images)


def _still_of_use(infos: list[CameraInfoRecord], stamp_ns: int) -> list[CameraInfoRecord]:
    """Without intrinsics that newer ones, of images of the same size, have replaced by the stamp."""
    in_force = {info.image_size: info for info in infos if info.stamp_ns <= stamp_ns}
    return [info for info in infos if info.stamp_ns > stamp_ns or in_force[info.image_size] is info]


def _in_force(infos: list[CameraInfoRecord], stamp_ns: int) -> CameraInfoRecord:
    at = bisect_right(infos, stamp_ns, key=lambda info: info.stamp_ns)
    return infos[max(at - 1, 0)]
