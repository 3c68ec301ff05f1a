# SPDX-License-Identifier: Apache-2.0
"""Better poses of keyframes from a path of optimised poses, as SLAM sends one after it has closed a loop.

What the path says of a stamp, times the inverse of what was believed of that stamp, is a correction: it moves whatever
was fixed to the robot then. A keyframe between two corrections moves as either would have it, weighed by time. What was
believed of a stamp is told by the keyframe of that stamp, or by the path before, or by a keyframe within the slop.
"""

import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import TransformError
from ccl_lgs_ros.geometry import interpolate_rigid, invert_rigid, rigid, rotation_angle, rotation_from_quat
from ccl_lgs_ros.ingest.records import PathRecord
from ccl_lgs_ros.ingest.transforms import MAX_DISTANCE, SQUARED_NORM_TOLERANCE, TransformBuffer

logger = logging.getLogger(__name__)

# A path that moves no keyframe further says what is known: SLAM sends it again and again.
MIN_STEP = 0.005  # metres; a Gaussian of a mapped surface is about so large
MIN_TURN = 0.002  # radians: as much at the far side of a room

Pose = NDArray[np.float64]  # [4, 4]
Key = tuple[str, int]  # camera name and stamp in ns


class Placed(Protocol):
    """What must be known of a keyframe."""

    @property
    def stamp_ns(self) -> int: ...

    @property
    def world_from_camera(self) -> Pose: ...

    @property
    def camera_name(self) -> str: ...


class PathCorrector:
    """Carries corrections from paths to keyframes.

    Args:
        map_frame: frame that poses are in.
        body_frame: whose poses the paths hold; '' = the first camera's optical frame.
        first_camera: its name.
        slop: seconds between stamps that count as one.
        gap: seconds beyond the ends of a path within which keyframes move with the ends.
        transforms: tf, which leads from body_frame to the cameras.
    """

    def __init__(
        self,
        *,
        map_frame: str,
        body_frame: str,
        first_camera: str,
        slop: float,
        gap: float,
        transforms: TransformBuffer,
    ) -> None:
        self._map_frame, self._body_frame, self._first_camera = map_frame, body_frame, first_camera
        self._slop_ns, self._gap_ns = int(slop * 1e9), int(gap * 1e9)
        self._transforms = transforms
        self._believed: dict[int, Pose] = {}  # world_from_body by stamp, as the paths before had it
        self._next: dict[int, Pose] = {}
        self._warned: set[str] = set()

    def corrected(
        self, path: PathRecord, keyframes: Sequence[Placed], camera_frames: Mapping[str, str]
    ) -> dict[Key, Pose]:
        """World_from_camera [4, 4] of the keyframes that the path moves; empty where it says nothing new.

        Args:
            path: in the map frame; poses that are not rigid or have no stamp are left out, the last of a stamp counts.
            keyframes: as they stand.
            camera_frames: the optical frames that are known, by camera name.
        """
        if path.frame_ids - {self._map_frame}:
            other = sorted(path.frame_ids - {self._map_frame})[0]
            self._warn_once(f"is in the frame '{other}', poses are wanted in '{self._map_frame}'; it is not used")
            return {}
        poses = self._read(path)
        believed = self._believed_at(poses, self._trajectory(keyframes, camera_frames))
        if poses and keyframes and not believed:
            self._warn_once("has no pose at the stamp of a keyframe; it is used when it comes again with other poses")
        is_new = {stamp: _differs(believed[stamp], poses[stamp]) for stamp in believed}
        self._next = {stamp: pose if is_new.get(stamp, True) else believed[stamp] for stamp, pose in poses.items()}
        if not any(is_new.values()):
            self.accept()
            return {}
        corrections = [(stamp, poses[stamp] @ invert_rigid(believed[stamp])) for stamp in sorted(believed)]
        moved = {(k.camera_name, k.stamp_ns): (k.world_from_camera, self._moved(k, corrections)) for k in keyframes}
        return {key: pose for key, (before, pose) in moved.items() if pose is not None and _differs(before, pose)}

    def accept(self) -> None:
        """The keyframes have been moved as the last path had it."""
        self._believed = self._next

    def _read(self, path: PathRecord) -> dict[int, Pose]:
        """World_from_body by stamp, in the order of the stamps."""
        is_unit = np.abs((path.quats**2).sum(axis=1) - 1.0) < SQUARED_NORM_TOLERANCE  # false for NaN too
        is_good = is_unit & (np.abs(path.translations) <= MAX_DISTANCE).all(axis=1) & (path.stamps_ns > 0)
        if not is_good.all():
            self._warn_once(
                f"has poses without a stamp or that are not rigid ({int((~is_good).sum())}); they are left out"
            )
        found = {
            int(path.stamps_ns[i]): rigid(rotation_from_quat(path.quats[i]), path.translations[i])
            for i in np.flatnonzero(is_good)
        }
        return dict(sorted(found.items()))

    def _trajectory(self, keyframes: Sequence[Placed], camera_frames: Mapping[str, str]) -> list[tuple[int, Pose]]:
        """Stamps and world_from_body of the keyframes of cameras whose place on the body is known, by stamp."""
        camera_from_body: dict[str, Pose] = {}
        if not self._body_frame:
            camera_from_body[self._first_camera] = np.eye(4)
        for name, frame in camera_frames.items() if self._body_frame else ():
            try:
                camera_from_body[name] = self._transforms.lookup_newest(frame, self._body_frame)
            except TransformError as error:
                self._warn_once(f"does not move camera '{name}': {error}; check ingest.corrected_frame")
        placed = [k for k in keyframes if k.camera_name in camera_from_body]
        found = [(k.stamp_ns, k.world_from_camera @ camera_from_body[k.camera_name]) for k in placed]
        return sorted(found, key=lambda item: item[0])

    def _believed_at(self, poses: Mapping[int, Pose], trajectory: list[tuple[int, Pose]]) -> dict[int, Pose]:
        """World_from_body as it was believed at those stamps of the path of which anything is known."""
        at_keyframe = dict(trajectory)
        stamps = np.array([stamp for stamp, _ in trajectory], np.int64)
        found: dict[int, Pose] = {}
        for stamp in poses:
            known = at_keyframe.get(stamp, self._believed.get(stamp))
            if known is None and len(stamps):
                nearest = int(np.abs(stamps - stamp).argmin())
                is_near = abs(int(stamps[nearest]) - stamp) <= self._slop_ns
                known = trajectory[nearest][1] if is_near else None
            if known is not None:
                found[stamp] = known
        return found

    def _moved(self, keyframe: Placed, corrections: list[tuple[int, Pose]]) -> Pose | None:
        """World_from_camera as the corrections around the keyframe have it; None if it lies beyond their ends."""
        stamp, pose = keyframe.stamp_ns, keyframe.world_from_camera
        if not corrections[0][0] - self._gap_ns <= stamp <= corrections[-1][0] + self._gap_ns:
            return None
        after = bisect_right(corrections, stamp, key=lambda item: item[0])
        if after == 0 or after == len(corrections):
            return corrections[min(after, len(corrections) - 1)][1] @ pose
        (begin, early), (end, late) = corrections[after - 1], corrections[after]
        return interpolate_rigid(early @ pose, late @ pose, (stamp - begin) / (end - begin))

    def _warn_once(self, text: str) -> None:
        what = text.split("(")[0]
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("corrected_path %s", text)


def _differs(before: Pose, after: Pose) -> bool:
    step = np.linalg.norm(after[:3, 3] - before[:3, 3])
    return bool(step > MIN_STEP) or rotation_angle(invert_rigid(before) @ after) > MIN_TURN
