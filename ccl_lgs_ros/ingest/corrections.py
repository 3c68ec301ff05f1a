# SPDX-License-Identifier: Apache-2.0
"""Better poses of keyframes from a path of optimised poses, as SLAM sends one after it has closed a loop.

What the path says of a stamp, times the inverse of what was believed of that stamp, is a correction: it moves whatever
was fixed to the robot then. A keyframe between two corrections moves as either would have it, weighed by time. What was
believed of a stamp is told by the keyframe of that stamp, or by the path before, or by a keyframe within the slop.

Localisation itself jumps when a loop closes. Images from before the jump that wait for something move too; keyframes
from after it that were stored before the path came stay.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import TransformError
from ccl_lgs_ros.geometry import rigids
from ccl_lgs_ros.ingest.records import PathRecord
from ccl_lgs_ros.ingest.trajectory import Pose, Poses, Stamps, Tail, Trajectory, steps_and_turns
from ccl_lgs_ros.ingest.transforms import MAX_DISTANCE, SQUARED_NORM_TOLERANCE, TransformBuffer

logger = logging.getLogger(__name__)

# A path that moves no keyframe further says what is known: SLAM sends it again and again.
MIN_STEP = 0.005  # metres; a Gaussian of a mapped surface is about so large
MIN_TURN = 0.002  # radians: as much at the far side of a room

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
        self._before = self._next = Trajectory()  # of the body, as the paths so far had it
        self._corrections = Trajectory()
        self._tails: dict[str, Tail] = {}  # by camera name
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
        new = self._read(path)
        believed, is_known = self._believed(new.stamps, self._body(keyframes, camera_frames))
        if len(new) and keyframes and not is_known.any():
            self._warn_once("has no pose at the stamp of a keyframe; it is used when it comes again with other poses")
        is_new = is_known & differ(believed, new.poses)
        is_old = (is_known & ~is_new)[:, None, None]
        self._next = Trajectory(new.stamps, np.where(is_old, believed, new.poses))
        if not is_new.any():
            self.accept()
            return {}
        corrections = new.poses[is_known] @ np.linalg.inv(believed[is_known])
        self._corrections = Trajectory(new.stamps[is_known], corrections)
        moved = self._moved(keyframes)
        if not moved:
            self.accept()
        return moved

    def accept(self) -> None:
        """The keyframes have been moved as the last path had it."""
        self._before = self._next

    def present(self, camera_name: str, stamp_ns: int, pose: Pose) -> Pose:
        """World_from_camera [4, 4] of an image as of now; what waited while keyframes moved has a pose from before.

        Args:
            camera_name: whose images are asked for in the order of their stamps.
            stamp_ns: of the image.
            pose: as tf had it at the stamp.
        """
        tail = self._tails.pop(camera_name, None)
        if tail is None or not tail.stamp_ns < stamp_ns <= self._last_ns + self._gap_ns:
            return pose
        if stamp_ns > self._last_ns and tail.has_jumped(stamp_ns, pose):
            return pose
        moved = self._corrections.carry(np.array([stamp_ns]), pose[None])[0]
        self._tails[camera_name] = Tail(stamp_ns, pose, moved, tail)
        return moved

    @property
    def _last_ns(self) -> int:
        return int(self._corrections.stamps[-1])

    def _read(self, path: PathRecord) -> Trajectory:
        with np.errstate(over="ignore", invalid="ignore"):
            is_unit = np.abs((path.quats**2).sum(axis=1) - 1.0) < SQUARED_NORM_TOLERANCE  # false for NaN too
        is_good = is_unit & (np.abs(path.translations) <= MAX_DISTANCE).all(axis=1) & (path.stamps_ns > 0)
        if not is_good.all():
            count = f"{int((~is_good).sum())} of {len(is_good)}"
            self._warn_once(f"has poses that have no stamp or are not rigid, which are left out ({count})")
        last_of = {int(path.stamps_ns[i]): i for i in np.flatnonzero(is_good)}
        stamps = np.array(sorted(last_of), np.int64)
        chosen = np.array([last_of[stamp] for stamp in stamps.tolist()], np.int64)
        return Trajectory(stamps, rigids(path.quats[chosen], path.translations[chosen]))

    def _body(self, keyframes: Sequence[Placed], camera_frames: Mapping[str, str]) -> Trajectory:
        """World_from_body at the keyframes of cameras whose place on the body is known."""
        camera_from_body: dict[str, Pose] = {}
        if not self._body_frame:
            camera_from_body[self._first_camera] = np.eye(4)
        for name, frame in camera_frames.items() if self._body_frame else ():
            try:
                camera_from_body[name] = self._transforms.lookup_newest(frame, self._body_frame)
            except TransformError as error:
                self._warn_once(f"does not move camera '{name}': {error}; check ingest.corrected_frame")
        placed = sorted((k for k in keyframes if k.camera_name in camera_from_body), key=lambda k: k.stamp_ns)
        if not placed:
            return Trajectory()
        poses = np.stack([k.world_from_camera for k in placed])
        carried = poses @ np.stack([camera_from_body[k.camera_name] for k in placed])
        return Trajectory(np.array([k.stamp_ns for k in placed], np.int64), carried)

    def _believed(self, stamps: Stamps, body: Trajectory) -> tuple[Poses, NDArray[np.bool_]]:
        """World_from_body as it was believed at stamps, and whether anything is known of them."""
        found, is_known = body.nearest(stamps, 0)
        for source, slop_ns in ((self._before, 0), (body, self._slop_ns)):
            poses, is_near = source.nearest(stamps, slop_ns)
            is_better = is_near & ~is_known
            found, is_known = np.where(is_better[:, None, None], poses, found), is_known | is_near
        return found, is_known

    def _moved(self, keyframes: Sequence[Placed]) -> dict[Key, Pose]:
        """World_from_camera of the keyframes as the corrections have it."""
        stamps, before = np.array([k.stamp_ns for k in keyframes]), np.stack([k.world_from_camera for k in keyframes])
        after = self._corrections.carry(stamps, before)
        is_covered = self._corrections.covers(stamps, self._gap_ns)
        is_moved = is_covered & differ(before, after)
        is_moved &= self._is_from_before(keyframes, stamps, before, after, is_covered)
        return {(keyframes[i].camera_name, keyframes[i].stamp_ns): after[i] for i in np.flatnonzero(is_moved).tolist()}

    def _is_from_before(
        self, keyframes: Sequence[Placed], stamps: Stamps, before: Poses, after: Poses, is_covered: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Whether each keyframe came before localisation was corrected, which may be before the path has come.

        Beyond the last correction each camera is followed until it has jumped.
        """
        is_old = np.ones(len(stamps), bool)
        self._tails, ended = {}, set()
        order = np.argsort(stamps, kind="stable")
        for i in order[is_covered[order]].tolist():
            name = keyframes[i].camera_name
            tail = self._tails.get(name)
            stamp = int(stamps[i])
            has_jumped = tail is not None and stamp > self._last_ns and tail.has_jumped(stamp, before[i])
            if name in ended or has_jumped:
                is_old[i] = False
                ended.add(name)
            else:
                self._tails[name] = Tail(stamp, before[i], after[i], tail)
        self._tails = {name: tail for name, tail in self._tails.items() if name not in ended}
        return is_old

    def _warn_once(self, text: str) -> None:
        what = text.split("(")[0]
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("corrected_path %s", text)


def differ(before: Poses, after: Poses) -> NDArray[np.bool_]:
    """Whether poses [N, 4, 4] are apart by more than what is known anyhow."""
    steps, turns = steps_and_turns(before, after)
    return (steps > MIN_STEP) | (turns > MIN_TURN)
