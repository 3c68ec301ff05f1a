# SPDX-License-Identifier: Apache-2.0
"""How well one thing stands in a relation to another: scores in [0, 1], of which 0.5 is a yes.

Each relation is a small product of ramps over lengths, shares and angles, written beside it. Heights are along the
map's up; "as seen from above" leaves them out. docs/asking.md tells the same to people.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.query.placed import Placed, is_same
from ccl_lgs_ros.query.viewpoint import Viewpoint

YES = 0.5  # a score from which a relation holds

CONTACT = (0.04, 0.12)  # metres between a thing and what it stands on: full score, none
OVER = (0.6, 0.2)  # share of a thing that is over another
BELOW = 0.08  # metres that a bottom is seen too low
CEILING = 0.03  # metres that what covers a thing may be lower than its top
AROUND = 0.05  # metres around a thing where what carries it is seen
WALLS = 0.1  # metres around a thing where what it is in is seen
SUNK = (0.5, 0.2)  # share of a thing's height that is below the rim of what it is in
HELD = 0.1  # share of what is seen around a thing in something that is below its middle
BESIDE = (0.25, 0.6)  # metres; what is next to a thing is no farther away than the smaller one's width, between these
LEVEL = (0.1, 0.5)  # metres between the heights of things side by side
APART = (0.3, 0.7)  # share of a thing that is over another, of things side by side
NEAR = 2.0  # times as far as next to
OPPOSITE = np.radians([150.0, 90.0])  # angle at a thing between the two that it is between
TOUCHING = (0.04, 0.12)  # metres
TO_THE_SIDE = np.radians([45.0, 75.0])  # angle between a direction and left or right of the line of sight
ALONG_SIGHT = np.radians([35.0, 55.0])  # angle between a direction and the line of sight
THIN, HUNG = (0.15, 0.3), (0.3, 0.1)  # thickness of a wall by its height; metres that what hangs is above its foot
FAR = (0.0, 12.0)  # metres in that direction: half the score at 6, so that of several the nearer comes first


def relate(relation: str, thing: Placed, anchors: Sequence[Sequence[Placed]], view: Viewpoint | None) -> float:
    """How well a thing stands in a relation to the best of its anchors.

    Args:
        anchors: the candidates for each anchor; one list for all relations but "between", which may have two.
        view: where the request is meant from; relations of VIEWED need it.
    """
    others = [[other for other in group if not is_same(thing.instance, other.instance)] for group in anchors]
    if relation == "between":
        pairs = product(*others) if len(others) > 1 else product(others[0], others[0])
        return max((between(thing, a, b) for a, b in pairs if not is_same(a.instance, b.instance)), default=0.0)
    if relation in VIEWED:
        assert view is not None
        return max((VIEWED[relation](thing, other, view) for other in others[0]), default=0.0)
    return max((PLAIN[relation](thing, other) for other in others[0]), default=0.0)


def on(a: Placed, b: Placed) -> float:
    """It stands on the other: their surfaces meet beneath it. Or it hangs on a wall."""
    beneath = b.points[b.is_over(a, AROUND), 2]
    beneath = beneath[beneath <= a.low + BELOW]
    support = float(beneath.max()) if len(beneath) else b.high
    standing = ramp(abs(a.low - support), *CONTACT) * ramp(a.share_over(b), *OVER)
    return max(standing, hanging(a, b))


def hanging(a: Placed, b: Placed) -> float:
    """It touches something as thin and tall as a wall, above its foot."""
    height = max(b.size[2], 1e-6)
    return ramp(b.size[:2].min() / height, *THIN) * ramp(a.gap(b), *TOUCHING) * ramp(a.low - b.low, *HUNG)


def above(a: Placed, b: Placed) -> float:
    """All of it is higher than the other, and over it, as seen from above."""
    share = max(a.share_over(b), b.share_over(a))
    return ramp(b.high - a.low, 0.0, 2 * BELOW) * ramp(share, *OVER)


def under(a: Placed, b: Placed) -> float:
    """The other is above it, or covers it as a table covers what is between its legs."""
    around = b.points[b.is_over(a, WALLS), 2]
    is_covered = bool(len(around)) and float((around >= a.high - CEILING).mean()) >= 1.0 - HELD
    covered = ramp(a.share_over(b), *OVER) if is_covered and a.high <= b.high else 0.0
    return max(above(b, a), covered)


def inside(a: Placed, b: Placed) -> float:
    """It is over the other as seen from above, below its rim, and not merely under its top."""
    around = b.points[b.is_over(a, WALLS), 2]
    is_held = bool(len(around)) and float((around < a.center[2]).mean()) >= HELD
    sunk = (b.high - a.low) / max(a.size[2], 1e-6)
    return ramp(a.share_over(b), *OVER) * ramp(sunk, *SUNK) * ramp(b.low - a.low, BELOW, 2 * BELOW) * is_held


def next_to(a: Placed, b: Placed) -> float:
    """It is beside the other, no farther away than the width of the smaller one."""
    return beside(a, b, 1.0)


def near(a: Placed, b: Placed) -> float:
    """As next to, at up to twice the distance."""
    return beside(a, b, NEAR)


def beside(a: Placed, b: Placed, times: float) -> float:
    """It is at the side of the other, at about its height, and not on, under or in it."""
    reach = times * float(np.clip(min(a.width, b.width), *BESIDE))
    heights = max(a.low - b.high, b.low - a.high, 0.0)
    apart = ramp(max(a.share_over(b), b.share_over(a)), *APART)
    return ramp(a.ground_gap(b), reach, 2 * reach) * ramp(heights, *LEVEL) * apart


def against(a: Placed, b: Placed) -> float:
    """It touches the other's side."""
    return ramp(a.gap(b), *TOUCHING) * ramp(a.share_over(b), *APART)


def between(a: Placed, b: Placed, c: Placed) -> float:
    """The other two are on opposite sides of it."""
    one, other = b.nearest_to(a.center) - a.center, c.nearest_to(a.center) - a.center
    return ramp(angle_between(one, other), *OPPOSITE)


def left_of(a: Placed, b: Placed, view: Viewpoint) -> float:
    """From the nearest of the other, it lies to the left of the line of sight."""
    x, y = view.ahead_at(b.center)
    return _towards(a, b, np.array([-y, x]), TO_THE_SIDE)


def right_of(a: Placed, b: Placed, view: Viewpoint) -> float:
    """From the nearest of the other, it lies to the right of the line of sight."""
    x, y = view.ahead_at(b.center)
    return _towards(a, b, np.array([y, -x]), TO_THE_SIDE)


def in_front_of(a: Placed, b: Placed, view: Viewpoint) -> float:
    """From the nearest of the other, it lies towards the viewer."""
    return _towards(a, b, -view.ahead_at(b.center), ALONG_SIGHT)


def behind(a: Placed, b: Placed, view: Viewpoint) -> float:
    """From the nearest of the other, it lies away from the viewer."""
    return _towards(a, b, view.ahead_at(b.center), ALONG_SIGHT)


def _towards(a: Placed, b: Placed, direction: NDArray[np.float64], angles: NDArray[np.float64]) -> float:
    """How well it lies in a direction [2] of the other, which it is not over."""
    nearest = b.points[int(b.ground_tree.query(a.center[:2])[1]), :2]
    away = a.center[:2] - nearest
    apart = ramp(max(a.share_over(b), b.share_over(a)), *APART)
    return ramp(angle_between(away, direction), *angles) * ramp(float(np.linalg.norm(away)), *FAR) * apart


def angle_between(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Radians in [0, pi]; a right angle where either has no direction."""
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.arccos(np.clip(a @ b / length, -1.0, 1.0))) if length > 0.0 else np.pi / 2


def ramp(value: float, full: float, none: float) -> float:
    """1 up to `full`, 0 from `none` on, a line between; either may be the larger."""
    return float(np.clip((value - none) / (full - none), 0.0, 1.0))


PLAIN: dict[str, Callable[[Placed, Placed], float]] = {
    "on": on,
    "above": above,
    "under": under,
    "in": inside,
    "next to": next_to,
    "near": near,
    "against": against,
}
VIEWED: dict[str, Callable[[Placed, Placed, Viewpoint], float]] = {
    "left of": left_of,
    "right of": right_of,
    "in front of": in_front_of,
    "behind": behind,
}
