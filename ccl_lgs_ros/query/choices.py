# SPDX-License-Identifier: Apache-2.0
"""Which of several: things in the order of a choice."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.query.placed import Placed
from ccl_lgs_ros.query.viewpoint import Viewpoint

LEAST_SIDE = 0.01  # metres; what is flat has a volume, too
ALL_AROUND = 0.3  # length of the mean of the directions to things, under which they are on all sides

MEASURES: dict[str, tuple[Callable[[Placed], float], int]] = {  # what is measured, and 1 where the most comes first
    "largest": (lambda thing: float(np.prod(np.maximum(thing.size, LEAST_SIDE))), 1),
    "smallest": (lambda thing: float(np.prod(np.maximum(thing.size, LEAST_SIDE))), -1),
    "tallest": (lambda thing: float(thing.size[2]), 1),
    "shortest": (lambda thing: float(thing.size[2]), -1),
    "highest": (lambda thing: float(thing.center[2]), 1),
    "lowest": (lambda thing: float(thing.center[2]), -1),
}
VIEWED = ("leftmost", "rightmost")  # choices that need a viewpoint; nearest and farthest do without anchors
FARTHEST_FIRST = {"nearest": -1, "farthest": 1}


def ordered(
    choice: str, things: Sequence[Placed], anchors: Sequence[Placed], view: Viewpoint | None
) -> tuple[Placed, ...]:
    """The things, the first choice first.

    Args:
        anchors: what nearest and farthest are measured from; without any it is the viewer.
        view: where the request is meant from; only what is measured against the map does without.
    """
    if choice in MEASURES:
        measure, sign = MEASURES[choice]
        return tuple(sorted(things, key=lambda thing: -sign * measure(thing)))
    if choice in FARTHEST_FIRST and anchors:
        return tuple(sorted(things, key=lambda t: -FARTHEST_FIRST[choice] * min(t.gap(a) for a in anchors)))
    assert view is not None
    if choice in FARTHEST_FIRST:
        return tuple(sorted(things, key=lambda t: -FARTHEST_FIRST[choice] * _distance(view, t)))
    sign = 1 if choice == "leftmost" else -1
    bearing = _bearings(view, things)
    return tuple(things[i] for i in np.argsort(sign * bearing, kind="stable"))


def needs_viewpoint(choice: str, has_anchors: bool) -> bool:
    """Whether a choice depends on where it is asked from."""
    return choice in VIEWED or (choice in FARTHEST_FIRST and not has_anchors)


def _bearings(view: Viewpoint, things: Sequence[Placed]) -> NDArray[np.float64]:
    """How far to the right [n] things are, radians: for a viewer who turns to them, unless they are all around."""
    seen = np.array([np.exp(1j * view.bearing(thing.center)) for thing in things])
    middle = seen.mean() if abs(seen.mean()) > ALL_AROUND else 1.0
    return np.angle(seen / middle)


def _distance(view: Viewpoint, thing: Placed) -> float:
    """Metres from the viewer to the nearest of a thing."""
    return float(np.linalg.norm(thing.nearest_to(view.position) - view.position))
