# SPDX-License-Identifier: Apache-2.0
"""Two equal things that touch, told from one thing by their shape as seen from above.

Things of one kind and colour that stand against each other look like one in most images, so they share a track. Yet two
convex things side by side leave a notch between them, which one convex thing, cut anywhere, does not have; and each of
the two is about as long as wide, while the halves of a compact thing are twice as long as wide.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import level_axes
from ccl_lgs_ros.query.boxes import quantiles

LEAST_POINTS = 24  # of a thing; fewer have no shape
MOST_POINTS = 256  # that are looked at, evenly spread
LEAST_LENGTH = 1.1  # of a thing, in its widths; more compact ones are one
TURNS = np.radians(np.arange(-40.0, 41.0, 20.0))  # of the cut's direction from the thing's length
PLACES = (0.41, 0.47, 0.53, 0.59)  # of the cut along the thing
NOTCH = 0.075  # share of the ground under the hull of both that the hulls of each leave free, and
SAMPLING = 1.85  # over the number of points to the power of 2/3: what points that are few leave free of one thing, too
ROUNDNESS = 0.62  # width of either, as a share of its length
ALIKE = 0.55  # ground under the smaller one, as a share of the larger one's
UNEVEN = 0.3  # between the tops of the two, as a share of their height
INNER = (0.05, 0.95)  # of the heights, so that strays do not count
STRAYS = 0.02  # of the points, at either end of the thing


def twin_of(
    points: NDArray[np.floating], core: NDArray[np.floating], up: NDArray[np.float64]
) -> NDArray[np.bool_] | None:
    """Which of the points [n, 3] of a thing are the second of two equal things that touch; None where it is one thing.

    Args:
        core: [k, 3] those that are no strays.
        up: [3] direction that is up.
    """
    if len(core) < LEAST_POINTS:
        return None
    seen = core[np.linspace(0, len(core) - 1, min(len(core), MOST_POINTS)).astype(np.int64)]
    middle, axes = seen.mean(axis=0), level_axes(up)
    ground = np.ascontiguousarray((seen - middle) @ axes[:2].T, np.float32)
    cut = _best_cut(ground)
    if cut is None:
        return None
    direction, place = cut
    is_second, height = ground @ direction > place, seen @ axes[2]
    reach = (quantiles(height[None, side], *INNER)[:, 0] for side in (is_second, ~is_second))
    (low, top), (other_low, other_top) = reach
    if abs(top - other_top) > UNEVEN * (max(top, other_top) - min(low, other_low)):
        return None
    return (points - middle) @ axes[:2].T @ direction > place


def _best_cut(ground: NDArray[np.float32]) -> tuple[NDArray[np.float32], float] | None:
    """The direction [2] and the place along it of the cut that parts two things on the ground [n, 2]; None for one."""
    around = area(ground)
    length, width, angle = extent(ground)
    if around == 0.0 or length < LEAST_LENGTH * width:
        return None
    best, best_notch = None, least_notch(len(ground))
    for turn in angle + TURNS:
        direction = np.array([np.cos(turn), np.sin(turn)], np.float32)
        along = ground @ direction
        low, high = quantiles(along[None], STRAYS, 1.0 - STRAYS)[:, 0]
        for place in low + np.array(PLACES) * (high - low):
            is_second = along > place
            areas = area(ground[is_second]), area(ground[~is_second])
            notch = 1.0 - sum(areas) / around
            if notch >= best_notch and min(areas) >= ALIKE * max(areas) and _are_round(ground, is_second):
                best, best_notch = (direction, float(place)), notch
    if best is None:
        return None
    direction, place = best
    # So that the two are told apart in the same way however much of them is known.
    return (direction, place) if direction[0] >= 0.0 else (-direction, -place)


def _are_round(ground: NDArray[np.float32], is_second: NDArray[np.bool_]) -> bool:
    """Whether either side of a cut is about as long as wide."""
    extents = (extent(side) for side in (ground[is_second], ground[~is_second]))
    return all(width >= ROUNDNESS * length for length, width, _ in extents)


def least_notch(count: int) -> float:
    """The share of the ground under so many points that is left free by each of two, and not by chance."""
    return NOTCH + SAMPLING / count ** (2.0 / 3.0)


def area(ground: NDArray[np.float32]) -> float:
    """The area of the convex hull of points [n, 2]."""
    return float(cv2.contourArea(cv2.convexHull(ground))) if len(ground) > 2 else 0.0


def extent(ground: NDArray[np.float32]) -> tuple[float, float, float]:
    """Length, width, and direction in radians of the length of the least rectangle around points [n, 2]."""
    _, (first, second), degrees = cv2.minAreaRect(ground)
    return (first, second, np.radians(degrees)) if first >= second else (second, first, np.radians(degrees + 90.0))
