# SPDX-License-Identifier: Apache-2.0
"""Which images are worth keeping: by motion, sharpness and a cap.

The rules, per camera, applied in this order; they depend on the frames and their order alone, never on the clock:

1. Jump: the first image after a step that would have taken more than `max_speed` is refused. Around such a step of
   localisation poses are interpolated between two truths; those beyond it are taken, as nobody but localisation can
   say which of the two is right. What stays that fast for BELIEF seconds is motion, and is believed.
2. Duplicate: an image whose stamp a keyframe has is refused.
3. First: the first image is kept.
4. Interval: nothing within `min_interval` of the last keyframe; after `max_interval` motion is not asked for.
5. Motion: an image is new if it lies `min_translation` away, or is turned by `min_rotation`, from *every* keyframe.
   So a place that is revisited gives nothing new, and a robot that stands, or swings to and fro, stops growing the map.
6. Sharpness: less than `min_sharpness` times the running median of the images that came this far is refused; the next
   image takes its chance.
7. Cap: with `stop` nothing beyond `max_count`. With `thin`, after max_count keyframes every second image that came this
   far is kept, after half as many again every fourth, and so on: never 2 x max_count in all.

Rules 4 to 7 look at keyframes with an older stamp, as if the others had not come yet, so that a recording that is
played, or mapped, twice gives the same keyframes; beyond that a new image must also differ from the younger ones.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MEDIAN_WINDOW = 15  # images in the running median of sharpness: half a second to a few seconds of motion
MIN_WINDOW = 3  # images before the median means anything
MIN_JUMP = 0.1  # metres; a smaller step is noise, however short the time
BELIEF_NS = 1_000_000_000  # of speed without a pause


@dataclass(slots=True)
class _Kept:
    """The keyframes of one camera, and what the rules remember of the images between them."""

    stamps_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # [V]
    poses: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4, 4)))  # [V, 4, 4] world_from_camera
    sharpness: deque[float] = field(default_factory=lambda: deque(maxlen=MEDIAN_WINDOW))
    sharpness_of_stamp: dict[int, float] = field(default_factory=dict)
    num_thinned: int = 0  # images left out by the cap since the last keyframe
    last_seen_ns: int | None = None
    last_position: NDArray[np.float64] | None = None  # [3] of the last image
    fast_since_ns: int | None = None  # the stamp from which on every image has moved faster than max_speed


class KeyframeSelector:
    """Decides on images in the order of their stamps.

    Ask `refusal` first, which needs the pose alone; then, with the image decoded, `refusal_of_image`; then tell `keep`.

    Args:
        min_translation: metres.
        min_rotation: radians.
        min_interval: seconds.
        max_interval: seconds; 0 = never.
        min_sharpness: share of the running median; 0 = off.
        max_count: keyframes of all cameras together.
        overflow: "thin" or "stop".
        max_speed: metres per second; 0 = off.
    """

    def __init__(
        self,
        *,
        min_translation: float,
        min_rotation: float,
        min_interval: float,
        max_interval: float,
        min_sharpness: float,
        max_count: int,
        overflow: str,
        max_speed: float = 0.0,
    ) -> None:
        self._min_translation, self._min_rotation = min_translation, min_rotation
        self._min_interval_ns, self._max_interval_ns = int(min_interval * 1e9), int(max_interval * 1e9)
        self._min_sharpness = min_sharpness
        self._max_count, self._overflow = max_count, overflow
        self._max_speed = max_speed
        self._cameras: dict[str, _Kept] = {}
        self._num_kept = 0

    def take_over(self, other: "KeyframeSelector") -> None:
        """Go on where another selector, with other rules, stands."""
        self._cameras, self._num_kept = other._cameras, other._num_kept

    def correct(self, world_from_camera_of: Mapping[tuple[str, int], NDArray[np.float64]]) -> None:
        """Keyframes have moved; poses [4, 4] by camera name and stamp."""
        for name, kept in self._cameras.items():
            kept.last_position = None  # localisation has moved as well, or is about to
            for index, stamp in enumerate(kept.stamps_ns.tolist()):
                if (name, stamp) in world_from_camera_of:
                    kept.poses[index] = world_from_camera_of[name, stamp]

    def restore(
        self, stamp_ns: int, world_from_camera: NDArray[np.float64], sharpness: float, camera_name: str
    ) -> None:
        """A keyframe of an earlier run; the images that come are not counted as following it."""
        kept = self._cameras.setdefault(camera_name, _Kept())
        self._remember(kept, stamp_ns, world_from_camera, sharpness)

    def refusal(
        self, stamp_ns: int, world_from_camera: NDArray[np.float64], camera_name: str
    ) -> tuple[str, str] | None:
        """Reason and text why the image is not wanted whatever it shows; None if it may be worth decoding."""
        kept = self._cameras.setdefault(camera_name, _Kept())
        if kept.last_seen_ns is not None and stamp_ns < kept.last_seen_ns:
            kept.sharpness.clear()
            kept.num_thinned = 0
            kept.last_position = kept.fast_since_ns = None
        jump = self._jump(kept, stamp_ns, world_from_camera[:3, 3])
        if jump:
            return "jump", jump
        if stamp_ns in kept.sharpness_of_stamp:
            kept.sharpness.append(kept.sharpness_of_stamp[stamp_ns])
            kept.num_thinned = 0
            return "duplicate", f"there is a keyframe of {stamp_ns} ns"
        older = kept.stamps_ns < stamp_ns
        if not older.any():
            return None
        since_ns = stamp_ns - int(kept.stamps_ns[older].max())
        if since_ns < self._min_interval_ns:
            return "motion", f"only {since_ns / 1e9:.3f} s after a keyframe"
        if not self._is_overdue(since_ns) and self._is_near(kept, world_from_camera, older):
            return "motion", "too near to a keyframe"
        return None

    def refusal_of_image(
        self, stamp_ns: int, world_from_camera: NDArray[np.float64], sharpness: float, camera_name: str
    ) -> tuple[str, str] | None:
        """Reason and text why an image that `refusal` let pass is not wanted; None if it is."""
        kept = self._cameras[camera_name]
        kept.sharpness.append(sharpness)
        median = float(np.median(kept.sharpness))
        if len(kept.sharpness) >= MIN_WINDOW and sharpness < self._min_sharpness * median:
            return "blur", f"sharpness {sharpness:.0f}, the running median is {median:.0f}"
        older = kept.stamps_ns < stamp_ns
        stride = self._stride(sum(int((c.stamps_ns < stamp_ns).sum()) for c in self._cameras.values()))
        if stride == 0 or self._num_kept >= self._hard_limit:
            return "limit", f"there are {self._num_kept} keyframes; raise keyframes.max_count"
        if kept.num_thinned + 1 < stride:
            kept.num_thinned += 1
            return "limit", f"over keyframes.max_count ({self._max_count}) one image in {stride} is kept"
        if (~older).any() and self._is_near(kept, world_from_camera, ~older):
            return "motion", "too near to a keyframe"
        return None

    def keep(self, stamp_ns: int, world_from_camera: NDArray[np.float64], sharpness: float, camera_name: str) -> None:
        """The image has become a keyframe."""
        kept = self._cameras[camera_name]
        kept.num_thinned = 0
        self._remember(kept, stamp_ns, world_from_camera, sharpness)

    def _remember(self, kept: _Kept, stamp_ns: int, pose: NDArray[np.float64], sharpness: float) -> None:
        kept.stamps_ns = np.append(kept.stamps_ns, np.int64(stamp_ns))
        kept.poses = np.concatenate([kept.poses, pose[None]])
        kept.sharpness_of_stamp[stamp_ns] = sharpness
        self._num_kept += 1

    def _jump(self, kept: _Kept, stamp_ns: int, position: NDArray[np.float64]) -> str:
        """In words, how far the camera jumped since the last image; empty if it moved, or is believed to have."""
        before_ns, before = kept.last_seen_ns, kept.last_position
        kept.last_seen_ns, kept.last_position = stamp_ns, position
        if not self._max_speed or before_ns is None or before is None:
            return ""
        seconds, step = (stamp_ns - before_ns) / 1e9, float(np.linalg.norm(position - before))
        if step <= max(self._max_speed * seconds, MIN_JUMP):
            kept.fast_since_ns = None
            return ""
        kept.fast_since_ns = before_ns if kept.fast_since_ns is None else kept.fast_since_ns
        if stamp_ns - kept.fast_since_ns > BELIEF_NS:
            return ""
        return (
            f"localisation jumped by {step:.2f} m in the {seconds:.3f} s before {stamp_ns} ns, faster than "
            f"keyframes.max_speed ({self._max_speed:g} m/s)"
        )

    def _is_overdue(self, since_ns: int) -> bool:
        return 0 < self._max_interval_ns <= since_ns

    def _is_near(self, kept: _Kept, pose: NDArray[np.float64], among: NDArray[np.bool_]) -> bool:
        """Whether one of the keyframes is near both in place and in direction."""
        poses = kept.poses[among]
        distance = np.linalg.norm(poses[:, :3, 3] - pose[:3, 3], axis=1)
        cosine = (np.einsum("nij,ij->n", poses[:, :3, :3], pose[:3, :3]) - 1.0) / 2.0
        angle = np.arccos(np.clip(cosine, -1.0, 1.0))
        return bool(((distance < self._min_translation) & (angle < self._min_rotation)).any())

    @property
    def _hard_limit(self) -> int:
        return self._max_count if self._overflow == "stop" else 2 * self._max_count

    def _stride(self, num_older: int) -> int:
        """Of how many images one is kept after so many keyframes; 0 = none."""
        if num_older < self._max_count:
            return 1
        if self._overflow == "stop":
            return 0
        stride, room, full_at = 1, self._max_count, self._max_count
        while num_older >= full_at:
            stride, room = 2 * stride, room // 2
            if room == 0:
                return 0
            full_at += room
        return stride
