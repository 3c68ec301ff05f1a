# SPDX-License-Identifier: Apache-2.0
"""Records on their way from the thread that receives them to the one that looks at them: bounded, whatever comes."""

import threading
from collections import deque
from collections.abc import Iterator

from ccl_lgs_ros.ingest.drops import Drops
from ccl_lgs_ros.ingest.records import CameraInfoRecord, CloudRecord, ColourRecord, ImageRecord, PathRecord, Record

MAX_NAME = 255  # characters of the name of a frame, an encoding or a model; more is no name
MAX_COEFFICIENTS = 64  # of a lens; OpenCV's longest model has 14
MAX_FIELDS = 256  # of a point
MAX_POSES = 1_000_000  # of a path, nine hours at 30 Hz
MAX_BYTES = 512 << 20  # that may lie here as pixels or points
MAX_RECORDS = 100_000  # that may lie here, a minute of tf at a kilohertz
NAMED = ("frame_id", "parent", "child", "encoding", "format", "distortion_model")


class Inbox:
    """Filled by one thread, emptied by another.

    Args:
        max_images: that may lie here.
        drops: counts what finds no room or is not fit to be looked at.
    """

    def __init__(self, max_images: int, drops: Drops) -> None:
        self.num_colour = 0  # colour images that came, dropped or not
        self._max_images, self._drops = max_images, drops
        self._records: deque[Record] = deque()
        self._guard = threading.Lock()
        self._num_images = self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def put(self, record: Record) -> None:
        """Let a record wait, unless there is no room for it."""
        fault = unfit(record)
        with self._guard:
            self.num_colour += isinstance(record, ColourRecord)
            if fault:
                self._drops.add("format", fault)
            elif not self._has_room(record):
                self._drops.add("queue", "messages come faster than they are looked at; lower the rate of the camera")
            else:
                self._records.append(record)
                self._count(record, 1)

    def taken(self) -> Iterator[Record]:
        """What lies here, in the order in which it came, until nothing does."""
        while self._records:
            with self._guard:
                record = self._records.popleft()
                self._count(record, -1)
            yield record

    def _has_room(self, record: Record) -> bool:
        if not isinstance(record, ImageRecord | CloudRecord):
            return len(self._records) < MAX_RECORDS
        return self._num_images < self._max_images and self._num_bytes < MAX_BYTES

    def _count(self, record: Record, sign: int) -> None:
        if isinstance(record, ImageRecord | CloudRecord):
            self._num_images += sign
            self._num_bytes += sign * len(record.data)


def unfit(record: Record) -> str:
    """Why a record is not worth keeping, whatever else it holds; empty where it is."""
    for name in NAMED:
        size = len(getattr(record, name, ""))
        if size > MAX_NAME:
            return f"a message's {name} has {size} characters; at most {MAX_NAME} are a name"
    if isinstance(record, PathRecord):
        longest = max(map(len, record.frame_ids), default=0)
        if longest > MAX_NAME or len(record.stamps_ns) > MAX_POSES:
            return f"a path has {len(record.stamps_ns)} poses and frames of {longest} characters; that is no path"
    if isinstance(record, CameraInfoRecord) and len(record.d) > MAX_COEFFICIENTS:
        return f"a camera_info has {len(record.d)} distortion coefficients; no lens has more than {MAX_COEFFICIENTS}"
    if isinstance(record, CloudRecord) and len(record.fields) > MAX_FIELDS:
        return f"a point cloud has {len(record.fields)} fields; no point has more than {MAX_FIELDS}"
    return ""
