# SPDX-License-Identifier: Apache-2.0
"""A tree of moving frames that is asked for a transform at a stamp, with tf2's rules.

Between two samples it interpolates; before the first and after the last it refuses, never taking the nearest. Static
transforms hold at every stamp. Of two samples with one stamp the later counts. Unlike tf2, which waits for the clock to
be reset, a child whose stamps jump back forgets its samples at once.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import TransformError
from ccl_lgs_ros.geometry import interpolate_rigid, invert_rigid, rigid, rotation_from_quat
from ccl_lgs_ros.ingest.records import TransformRecord

JUMP_BACK_NS = 1_000_000_000  # stamps that fall back further than this started anew; less is disorder
ROW = 7  # numbers of a sample: translation xyz, quaternion wxyz
MAX_FRAMES = 10_000  # that have samples; of the moving ones what was silent longest makes room
MAX_PARENTS = 256  # that one frame may have had
MAX_SAMPLES = 200_000  # of one frame where the cache has an end: half a minute at 6 kHz
MAX_DEPTH = 1000  # transforms from a frame to its root, as in tf2
MAX_DISTANCE = 1e9  # metres between two frames
MAX_LISTED = 20  # frames in a sentence
SQUARED_NORM_TOLERANCE = 0.01  # how far from 1 the squared norm of a quaternion may be, as in tf2


class FutureExtrapolationError(TransformError):
    """The stamp is newer than the newest sample: waiting may help."""


class PastExtrapolationError(TransformError):
    """The stamp is older than the oldest sample that is kept: waiting does not help."""


class DisconnectedError(TransformError):
    """A frame is unknown, or no chain of transforms joins the two."""


class TransformBuffer:
    """The transforms of the last `cache` seconds, per child frame.

    Args:
        cache: seconds of samples kept per child, counted back from its newest; infinite for recordings.
    """

    def __init__(self, *, cache: float = math.inf) -> None:
        self._cache_ns = int(cache * 1e9) if math.isfinite(cache) else None
        self._tracks: dict[str, _Track] = {}

    def add(self, record: TransformRecord) -> None:
        """Keep a transform; one that is older than the cache is ignored.

        Raises:
            ValueError: if frames are empty or equal, the numbers are no rigid transform, or there are too many frames.
        """
        _check(record)
        track = self._tracks.pop(record.child, None)
        if track is None or track.is_static != record.is_static:
            self._make_room()
            track = _Track(record.is_static)
        self._tracks[record.child] = track  # the last to speak stands last
        track.add(record, self._cache_ns)

    def clear(self) -> None:
        """Forget every sample but the static ones, as tf2 does when time jumps back."""
        self._tracks = {child: track for child, track in self._tracks.items() if track.is_static}

    def forget_later(self, stamp_ns: int) -> None:
        """Forget moving frames that run further ahead of the stamp than disorder explains: time jumped back to it.

        A buffer without limit holds a whole recording, which has no before and after: it forgets nothing.
        """
        if self._cache_ns is None:
            return
        self._tracks = {
            child: track
            for child, track in self._tracks.items()
            if track.is_static or track.newest_ns <= stamp_ns + JUMP_BACK_NS
        }

    def clamped(self, child: str, stamp_ns: int, slack_ns: int) -> int:
        """The stamp, or the end of the child's samples where that is at most slack_ns away."""
        track = self._tracks.get(child)
        if track is None or track.is_static:
            return stamp_ns
        inside = min(max(stamp_ns, track.oldest_ns), track.newest_ns)
        return inside if abs(inside - stamp_ns) <= slack_ns else stamp_ns

    @property
    def frames(self) -> frozenset[str]:
        """Every frame that was named."""
        parents = {parent for track in self._tracks.values() for parent in track.parents}
        return frozenset(parents | set(self._tracks))

    @property
    def roots(self) -> frozenset[str]:
        """The frames that have no parent."""
        return frozenset(self.frames - set(self._tracks))

    def lookup(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        """target_from_source [4, 4] at the stamp.

        Raises:
            FutureExtrapolationError, PastExtrapolationError, DisconnectedError: saying which frame lacks what.
        """
        if target == source:
            return np.eye(4)
        from_source, source_error = self._walk(source, stamp_ns, stop_at=frozenset([target]))
        if target in from_source:
            return from_source[target]
        from_target, target_error = self._walk(target, stamp_ns, stop_at=frozenset(from_source))
        common = next((frame for frame in from_target if frame in from_source), None)
        if common is not None:
            return invert_rigid(from_target[common]) @ from_source[common]
        raise source_error or target_error or self._disconnected(target, source)

    def lookup_newest(self, target: str, source: str) -> NDArray[np.float64]:
        """target_from_source [4, 4] at the newest stamp at which every moving frame on the way is known.

        Raises:
            DisconnectedError: if nothing joins them.
        """
        up_from_target, up_from_source = self._way_up(target), self._way_up(source)
        if not up_from_target & up_from_source:
            raise self._disconnected(target, source)
        passed = [self._tracks[frame] for frame in up_from_target ^ up_from_source if frame in self._tracks]
        return self.lookup(target, source, min((x.newest_ns for x in passed if not x.is_static), default=0))

    def connects(self, target: str, source: str) -> bool:
        """Whether any chain of transforms joins the frames, at whatever stamps."""
        return bool(self._ancestors(target) & self._ancestors(source))

    def _make_room(self) -> None:
        if len(self._tracks) < MAX_FRAMES:
            return
        silent = next((child for child, track in self._tracks.items() if not track.is_static), None)
        if silent is None:
            raise ValueError(f"tf has more than {MAX_FRAMES} static frames; stop whoever publishes them")
        del self._tracks[silent]

    def _walk(
        self, frame: str, stamp_ns: int, stop_at: frozenset[str]
    ) -> tuple[dict[str, NDArray[np.float64]], TransformError | None]:
        """ancestor_from_frame of the frame and its ancestors up to one of stop_at, and what ended the way."""
        found = {frame: np.eye(4)}
        here = frame
        while here not in stop_at and here in self._tracks:
            try:
                parent, parent_from_here = self._tracks[here].at(here, stamp_ns)
            except TransformError as error:
                return found, error
            if parent in found:
                loop = listed(found, " -> ")
                return found, DisconnectedError(f"the frames {loop} form a loop; fix who publishes them")
            if len(found) > MAX_DEPTH:
                return found, DisconnectedError(f"more than {MAX_DEPTH} transforms lead up from '{frame}'")
            found[parent] = parent_from_here @ found[here]
            here = parent
        return found, None

    def _way_up(self, frame: str) -> set[str]:
        """The frame and its ancestors as the newest samples have them."""
        here, found = frame, {frame}
        while here in self._tracks and (here := self._tracks[here].newest_parent) not in found:
            found.add(here)
        return found

    def _ancestors(self, frame: str) -> set[str]:
        reached, open_frames = {frame}, [frame]
        while open_frames:
            track = self._tracks.get(open_frames.pop())
            new = set(track.parents) - reached if track else set()
            reached |= new
            open_frames.extend(new)
        return reached

    def _disconnected(self, target: str, source: str) -> DisconnectedError:
        unknown = [frame for frame in (target, source) if frame not in self.frames]
        if unknown:
            known = listed(sorted(self.frames), ", ") or "none"
            return DisconnectedError(f"nothing publishes the frame '{unknown[0]}' (frames in tf: {known})")
        return DisconnectedError(f"no chain of transforms joins '{target}' and '{source}'")


class _Track:
    """The samples of one child frame, by stamp; arrays of numbers, since tf can run at a kilohertz for hours."""

    def __init__(self, is_static: bool) -> None:
        self.is_static = is_static
        self.parents: list[str] = []  # every parent so far
        self._stamps = array("q")
        self._values = array("d")
        self._parent_index = array("H")
        self._start = 0  # samples before it are forgotten, their memory not yet given back

    @property
    def oldest_ns(self) -> int:
        return self._stamps[self._start]

    @property
    def newest_ns(self) -> int:
        return self._stamps[-1]

    @property
    def newest_parent(self) -> str:
        return self.parents[self._parent_index[-1]]

    def add(self, record: TransformRecord, cache_ns: int | None) -> None:
        newest = self._stamps[-1] if len(self._stamps) > self._start else None
        if newest is not None and not self.is_static and record.stamp_ns <= 0 < newest - JUMP_BACK_NS:
            return  # a stamp that nobody filled is no jump in time
        if self.is_static or (newest is not None and record.stamp_ns < newest - JUMP_BACK_NS and cache_ns is not None):
            self._forget_all()
            newest = None
        if newest is None or record.stamp_ns > newest:
            at = len(self._stamps)
        else:
            at = bisect_left(self._stamps, record.stamp_ns, self._start)
            if self._stamps[at] == record.stamp_ns:
                self._delete(at, at + 1)
        self._insert(at, record)
        if cache_ns is not None:
            too_many = len(self._stamps) - MAX_SAMPLES
            self._prune(max(self._stamps[-1] - cache_ns, self._stamps[max(too_many, 0)]))

    def at(self, child: str, stamp_ns: int) -> tuple[str, NDArray[np.float64]]:
        """The parent and parent_from_child at the stamp."""
        if self.is_static:
            return self._sample(self._start)
        if stamp_ns > self.newest_ns:
            late = (stamp_ns - self.newest_ns) / 1e9
            raise FutureExtrapolationError(f"the newest transform of '{child}' is {late:.3f} s older than the image")
        if stamp_ns < self.oldest_ns:
            early = (self.oldest_ns - stamp_ns) / 1e9
            raise PastExtrapolationError(f"the oldest transform of '{child}' is {early:.3f} s newer than the image")
        after = bisect_left(self._stamps, stamp_ns, self._start)
        if self._stamps[after] == stamp_ns:
            return self._sample(after)
        parent, before = self._sample(after - 1)
        other, value = self._sample(after)
        if other != parent:
            return parent, before
        span = self._stamps[after] - self._stamps[after - 1]
        return parent, interpolate_rigid(before, value, (stamp_ns - self._stamps[after - 1]) / span)

    def _sample(self, index: int) -> tuple[str, NDArray[np.float64]]:
        row = self._values[ROW * index : ROW * index + ROW]
        matrix = rigid(rotation_from_quat(np.array(row[3:])), np.array(row[:3]))
        return self.parents[self._parent_index[index]], matrix

    def _insert(self, at: int, record: TransformRecord) -> None:
        if record.parent not in self.parents:
            if len(self.parents) >= MAX_PARENTS:
                self._forget_all()
                self.parents, at = [], 0
            self.parents.append(record.parent)
        self._stamps.insert(at, record.stamp_ns)
        self._parent_index.insert(at, self.parents.index(record.parent))
        self._values[ROW * at : ROW * at] = array("d", (*record.translation, *record.quat))

    def _prune(self, oldest_ns: int) -> None:
        """Forget what is older."""
        self._start = bisect_left(self._stamps, oldest_ns, self._start)
        if self._start > len(self._stamps) // 2:
            self._delete(0, self._start)
            self._start = 0

    def _delete(self, first: int, end: int) -> None:
        del self._stamps[first:end]
        del self._parent_index[first:end]
        del self._values[ROW * first : ROW * end]

    def _forget_all(self) -> None:
        self._prune(2**63 - 1)


def listed(frames: Iterable[str], between: str) -> str:
    """Names in a sentence, the first few where there are many."""
    names = list(frames)
    more = f"{between}and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return between.join(names[:MAX_LISTED]) + more


def _check(record: TransformRecord) -> None:
    if not record.parent or not record.child:
        raise ValueError("a transform names no frame; its publisher must fill frame_id and child_frame_id")
    if record.parent == record.child:
        raise ValueError(f"a transform of '{record.child}' to itself says nothing; fix its publisher")
    is_turn = abs(sum(x * x for x in record.quat) - 1.0) < SQUARED_NORM_TOLERANCE  # false for NaN too
    is_near = all(abs(x) <= MAX_DISTANCE for x in record.translation)
    if not (is_turn and is_near):
        raise ValueError(
            f"the transform {record.parent} -> {record.child} is not rigid: translation {record.translation}, "
            f"quaternion {record.quat} wxyz"
        )
