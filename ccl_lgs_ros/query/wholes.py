# SPDX-License-Identifier: Apache-2.0
"""Groups that belong together though no track says so: what stands under a thing carries it, and halves make a whole.

1. What lies within the outline of a thing of the same look and right beneath it is part of it, as is what is slender
   and stands upright in its midst: a leg. So are two of the same look, one above the other, with a little air in
   between: a shade over a foot, on a pole that looks different.
2. Two equally large ones whose outlines overlap at the same height are one, for nothing stands within another thing;
   and two that are rounder together than either, with no notch and nothing in between, are two sides of one hollow
   thing that no view showed whole: a bucket.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import level_axes
from ccl_lgs_ros.query.boxes import quantiles
from ccl_lgs_ros.query.twins import area, extent, least_notch

MOST_GROUPS = 64  # the largest, that are looked at
MOST_CELLS = 256  # of each
LEAST_CELLS = 3
ALIKE_COSINE = 0.8  # language of parts of one thing in other light
BENEATH = 0.7  # share of the lower one's cells within the outline of the upper one
AIR = 0.5  # between the two, as a share of the height of the lesser
SMALL, SLENDER = 0.25, 2.0  # size of a leg, as a share of the thing's; its height, in its lengths on the ground
EQUAL = 0.5  # size of the lesser of two sides, as a share of the larger's
OVERLAP = 0.3  # of the ground under both, that lies under either
ROUND, ROUNDER = 0.75, 0.1  # width of a hollow thing, as a share of its length; how much less that is of its sides
RIM, HOLLOW = 0.2, 0.9  # of a hollow thing's length, within which so great a share of its cells lies
INNER = (0.02, 0.98)  # of the heights, so that strays do not count


def parts_of_wholes(
    cells: NDArray[np.float64],
    group: NDArray[np.int64],
    look: NDArray[np.floating],
    up: NDArray[np.float64],
    distance: float,
) -> NDArray[np.int64]:
    """The pairs [p, 2] of groups that are parts of one thing.

    Args:
        cells: [c, 3] metres.
        group: [c] from 0 without gaps.
        look: [g, D] unit rows: the language of each group.
        up: [3] direction that is up.
        distance: metres at which cells touch.
    """
    size = np.bincount(group)
    chosen = np.argsort(-size, kind="stable")[:MOST_GROUPS]
    chosen = chosen[size[chosen] >= LEAST_CELLS]
    if len(chosen) < 2:
        return np.zeros((0, 2), np.int64)
    local = (cells - cells.mean(axis=0)) @ level_axes(up).T
    outlines = [_Outline(local[group == number]) for number in chosen]
    is_alike = look[chosen] @ look[chosen].T >= ALIKE_COSINE
    pairs = [
        (chosen[i], chosen[j])
        for i, j in np.argwhere(np.triu(is_alike, 1)).tolist()
        if _is_near(outlines[i], outlines[j], distance) and _are_one(outlines[i], outlines[j], distance)
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


class _Outline:
    """A group as its outline on the ground, and from where to where it reaches."""

    def __init__(self, local: NDArray[np.float64]) -> None:
        seen = local[np.linspace(0, len(local) - 1, min(len(local), MOST_CELLS)).astype(np.int64)]
        self.ground = np.ascontiguousarray(seen[:, :2], np.float32)
        self.low, self.high = seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)
        self.bottom, self.top = quantiles(seen[None, :, 2], *INNER)[:, 0]
        self.size = len(local)

    @property
    def is_slender(self) -> bool:
        """Whether it is an upright stick."""
        return self.height >= SLENDER * extent(self.ground)[0]

    @property
    def height(self) -> float:
        return float(self.top - self.bottom)

    def share_over(self, other: "_Outline", margin: float) -> float:
        """The share of another one's cells within the hull of this outline grown by a margin in metres."""
        return float(np.mean(_depth(cv2.convexHull(self.ground), other.ground) >= -margin))

    def surrounds(self, other: "_Outline", margin: float) -> bool:
        """Whether another one is in the midst of this one, but for a margin in metres."""
        is_level = self.bottom <= (other.bottom + other.top) / 2.0 and other.top <= self.top + margin
        return bool(is_level) and self.share_over(other, margin) >= BENEATH


def _is_near(first: _Outline, second: _Outline, distance: float) -> bool:
    """Whether the outlines come within a distance of each other, as far as their limits tell."""
    apart = np.maximum(first.low - second.high, second.low - first.high)
    return bool((apart <= distance).all())


def _are_one(first: _Outline, second: _Outline, distance: float) -> bool:
    small, large = sorted((first, second), key=lambda outline: outline.size)
    if small.is_slender and small.size <= SMALL * large.size and large.surrounds(small, distance):
        return True
    lower, upper = sorted((first, second), key=lambda outline: outline.bottom + outline.top)
    air = float(upper.bottom - lower.top)
    if -distance <= air:
        if air > max(AIR * min(lower.height, upper.height), distance):
            return False
        if upper.share_over(lower, distance / 2.0) >= BENEATH:
            return True
        return air > distance and lower.share_over(upper, distance / 2.0) >= BENEATH
    return small.size >= EQUAL * large.size and _are_sides(first.ground, second.ground)


def _are_sides(first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    """Whether two at the same height overlap, or are two sides of a rounder one with nothing inside."""
    both = np.concatenate([first, second])
    around, apart = area(both), area(first) + area(second)
    if around == 0.0 or apart < (1.0 - least_notch(len(both))) * around:
        return False
    if apart >= (1.0 + OVERLAP) * around:
        return True
    rounder = _roundness(both)
    if rounder < ROUND or rounder < max(_roundness(first), _roundness(second)) + ROUNDER:
        return False
    depth = _depth(cv2.convexHull(both), both)
    return float(np.mean(depth <= RIM * extent(both)[0])) >= HOLLOW


def _depth(hull: NDArray, ground: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far points [n, 2] lie within a hull, in metres; negative outside."""
    return np.array([cv2.pointPolygonTest(hull, (float(x), float(y)), True) for x, y in ground])


def _roundness(ground: NDArray[np.float32]) -> float:
    length, width, _ = extent(ground)
    return width / length if length else 1.0
