# SPDX-License-Identifier: Apache-2.0
"""Many poses by stamp, and what a correction of them does to whatever else was there at the time."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import interpolate_rigids

METRES_PER_RADIAN = 1.0  # how much of a turn counts as much as a step, where the two are weighed

Pose = NDArray[np.float64]  # [4, 4]
Poses = NDArray[np.float64]  # [N, 4, 4]
Stamps = NDArray[np.int64]  # [N] in ns


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """Poses in the order of their stamps."""

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

    def covers(self, stamps: Stamps, gap_ns: int) -> NDArray[np.bool_]:
        """Whether each stamp lies between the ends, or not farther beyond them than the gap."""
        return (stamps >= int(self.stamps[0]) - gap_ns) & (stamps <= int(self.stamps[-1]) + gap_ns)

    def carry(self, stamps: Stamps, poses: Poses) -> Poses:
        """Poses as the corrections that this holds, before and after each stamp, would have them, weighed by time."""
        after = np.searchsorted(self.stamps, stamps, side="right")
        early, late = (after - 1).clip(0), after.clip(0, len(self) - 1)
        begin, end = self.stamps[early], self.stamps[late]
        fractions = ((stamps - begin) / np.maximum(end - begin, 1)).clip(0.0, 1.0)
        return interpolate_rigids(self.poses[early] @ poses, self.poses[late] @ poses, fractions)


def steps_and_turns(before: Poses, after: Poses) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By how many metres and radians poses [N, 4, 4] are apart."""
    steps = np.linalg.norm(after[:, :3, 3] - before[:, :3, 3], axis=1)
    cosines = (np.einsum("nij,nij->n", before[:, :3, :3], after[:, :3, :3]) - 1.0) / 2.0
    return steps, np.arccos(np.clip(cosines, -1.0, 1.0))


class Tail:
    """The last image of a camera from before a correction: where it was, and where it is.

    Args:
        stamp_ns: of the image.
        before: [4, 4] as it was.
        after: [4, 4] as the correction has it.
        previous: the image before it, if there was one.
    """

    def __init__(self, stamp_ns: int, before: Pose, after: Pose, previous: "Tail | None") -> None:
        self.stamp_ns = stamp_ns
        self._before, self._after = before, after
        self._came_from = (previous.stamp_ns, previous._before) if previous else (stamp_ns, before)

    def has_jumped(self, stamp_ns: int, pose: Pose) -> bool:
        """Whether the next image lies nearer to where the camera should be by now than to where it should have been.

        It goes on as it went, for as long again at most.
        """
        since_ns, came_from = self._came_from
        fraction = 1.0 + min((stamp_ns - self.stamp_ns) / max(self.stamp_ns - since_ns, 1), 1.0)
        expected = interpolate_rigids(came_from[None], self._before[None], np.array([fraction]))[0]
        corrected = self._after @ np.linalg.inv(self._before) @ expected
        steps, turns = steps_and_turns(np.stack([expected, corrected]), np.stack([pose, pose]))
        apart = steps + METRES_PER_RADIAN * turns
        return bool(apart[1] < apart[0])
