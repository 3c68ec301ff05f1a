# SPDX-License-Identifier: Apache-2.0
"""Better poses of keyframes from a path of optimised poses, as SLAM sends one after it has closed a loop.

What the path says of a stamp, times the inverse of what was believed of that stamp, is a correction: it moves whatever
was fixed to the robot then. A keyframe between two corrections moves as either would have it, weighed by time. What was
believed of a stamp is told by the keyframe of that stamp, or by the path before, or by a keyframe within the slop.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import TransformError
from ccl_lgs_ros.geometry import interpolate_rigids, rigids
from ccl_lgs_ros.ingest.records import PathRecord
from ccl_lgs_ros.ingest.transforms import MAX_DISTANCE, SQUARED_NORM_TOLERANCE, TransformBuffer

logger = logging.getLogger(__name__)

# A path that moves no keyframe further says what is known: SLAM sends it again and again.
MIN_STEP = 0.005  # metres; a Gaussian of a mapped surface is about so large
MIN_TURN = 0.002  # radians: as much at the far side of a room

Pose = NDArray[np.float64]  # [4, 4]
Poses = NDArray[np.float64]  # [N, 4, 4]
Stamps = NDArray[np.int64]  # [N] in ns
Key = tuple[str, int]  # camera name and stamp in ns


class Placed(Protocol):
    """What must be known of a keyframe."""

    @property
    def stamp_ns(self) -> int: ...

    @property
    def world_from_camera(self) -> Pose: ...

    @property
    def camera_name(self) -> str: ...


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """Poses in the map in the order of their stamps."""

    stamps: Stamps = field(default_factory=lambda: np.zeros(0, np.int64))
    poses: Poses = field(default_factory=lambda: np.zeros((0, 4, 4)))

    def __len__(self) -> int:
        return len(self.stamps)

    def nearest(self, stamps: Stamps, slop_ns: int) -> tuple[Poses, NDArray[np.bool_]]:
        """The pose nearest to each stamp, and whether it is within the slop."""
        if not len(self):
            return np.tile(np.eye(4), (len(stamps), 1, 1)), np.zeros(len(stamps), bool)
        after = np.searchsorted(self.stamps, stamps).clip(0, len(self) - 1)
        before = (after - 1).clip(0)
        is_before = np.abs(self.stamps[before] - stamps) < np.abs(self.stamps[after] - stamps)
        at = np.where(is_before, before, after)
        return self.poses[at], np.abs(self.stamps[at] - stamps) <= slop_ns


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
        return self._moved(keyframes, Trajectory(new.stamps[is_known], corrections))

    def accept(self) -> None:
        """The keyframes have been moved as the last path had it."""
        self._before = self._next

    def _read(self, path: PathRecord) -> Trajectory:
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

    def _moved(self, keyframes: Sequence[Placed], corrections: Trajectory) -> dict[Key, Pose]:
        """World_from_camera as the corrections before and after each keyframe have it."""
        stamps, before = np.array([k.stamp_ns for k in keyframes]), np.stack([k.world_from_camera for k in keyframes])
        last = len(corrections) - 1
        after = np.searchsorted(corrections.stamps, stamps, side="right")
        early, late = (after - 1).clip(0), after.clip(0, last)
        begin, end = corrections.stamps[early], corrections.stamps[late]
        fractions = ((stamps - begin) / np.maximum(end - begin, 1)).clip(0.0, 1.0)
        poses = interpolate_rigids(corrections.poses[early] @ before, corrections.poses[late] @ before, fractions)
        first_ns, last_ns = int(corrections.stamps[0]) - self._gap_ns, int(corrections.stamps[last]) + self._gap_ns
        is_moved = (stamps >= first_ns) & (stamps <= last_ns) & differ(before, poses)
        return {(keyframes[i].camera_name, keyframes[i].stamp_ns): poses[i] for i in np.flatnonzero(is_moved).tolist()}

    def _warn_once(self, text: str) -> None:
        what = text.split("(")[0]
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("corrected_path %s", text)


def differ(before: Poses, after: Poses) -> NDArray[np.bool_]:
    """Whether poses [N, 4, 4] are apart by more than what is known anyhow."""
    steps = np.linalg.norm(after[:, :3, 3] - before[:, :3, 3], axis=1)
    cosines = (np.einsum("nij,nij->n", before[:, :3, :3], after[:, :3, :3]) - 1.0) / 2.0
    return (steps > MIN_STEP) | (np.arccos(np.clip(cosines, -1.0, 1.0)) > MIN_TURN)
