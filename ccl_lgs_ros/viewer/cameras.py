# SPDX-License-Identifier: Apache-2.0
"""Where to look from: the view that a page opens with, keyframes as views, the way from one view to another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry

MOST_POINTS, MOST_VIEWS = 4096, 64  # looked at to find the first view
USUAL_DISTANCE = 1.5  # metres to what is looked at, where nothing tells
FLIGHT_STEPS = 20
LEAST_DISTANCE = 0.1  # metres; nearer there is no direction to look in


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """A place to look from, and the point that it is looked at from there."""

    position: NDArray[np.float64]  # [3] metres, world
    look_at: NDArray[np.float64]  # [3] metres, world


def fov_of(camera: Camera) -> float:
    """The angle from the lower to the upper edge of a camera's image, in radians."""
    return float(2.0 * np.arctan2(camera.height / 2.0, camera.fy))


def view_through(entry: KeyframeEntry, distance: float = USUAL_DISTANCE) -> View:
    """What a keyframe's camera saw, so many metres before it."""
    pose = entry.world_from_camera
    return View(position=pose[:3, 3].copy(), look_at=pose[:3, 3] + distance * pose[:3, 2])


def view_of(entry: KeyframeEntry, point: NDArray[np.floating]) -> View:
    """A point [3] from where a keyframe was taken."""
    straight = view_through(entry)
    is_near = np.linalg.norm(point - straight.position) < LEAST_DISTANCE
    return straight if is_near else View(position=straight.position, look_at=np.asarray(point, np.float64))


def is_in_sight(view: View, fov: float, point: NDArray[np.floating]) -> bool:
    """Whether a point [3] lies in the cone that a view with this angle from edge to edge, in radians, sees."""
    ahead, there = view.look_at - view.position, point - view.position
    lengths = np.linalg.norm(ahead) * np.linalg.norm(there)
    return bool(ahead @ there >= np.cos(fov / 2.0) * lengths)


def first_view(
    entries: Sequence[KeyframeEntry], points: NDArray[np.floating], thing: NDArray[np.integer]
) -> tuple[View, KeyframeEntry] | None:
    """Through the keyframe whose image has most things and then most points in it, and that keyframe.

    Args:
        entries: the keyframes; None is returned where there is none.
        points: [n, 3] metres, of the map.
        thing: [n] that each belongs to.
    """
    if not entries:
        return None
    some = np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).astype(np.int64)
    points, thing = points[some], thing[some]
    tried = [entries[i] for i in np.unique(np.linspace(0, len(entries) - 1, MOST_VIEWS).astype(np.int64))]
    depths = [_depths(entry, points) for entry in tried]
    seen = [np.isfinite(depth) for depth in depths]
    best = max(range(len(tried)), key=lambda i: (len(np.unique(thing[seen[i]])), int(seen[i].sum())))
    distance = float(np.median(depths[best][seen[best]])) if seen[best].any() else USUAL_DISTANCE
    return view_through(tried[best], max(distance, LEAST_DISTANCE)), tried[best]


def flight(start: View, end: View, steps: int = FLIGHT_STEPS) -> list[View]:
    """The views from one to another, that one included; slow at both ends."""
    share = np.arange(1, steps + 1) / steps
    return [
        View(
            position=start.position + s * (end.position - start.position),
            look_at=start.look_at + s * (end.look_at - start.look_at),
        )
        for s in share * share * (3.0 - 2.0 * share)
    ]


def _depths(entry: KeyframeEntry, points: NDArray[np.floating]) -> NDArray[np.floating]:
    """The depths [n] of points [n, 3] in a keyframe's image; NaN outside of it."""
    camera, seen = entry.camera, transform_points(invert_rigid(entry.world_from_camera), points)
    pixels = camera.project(seen)
    is_inside = ((pixels > 0.0) & (pixels < (camera.width, camera.height))).all(axis=1)  # NaN is not
    return np.where(is_inside, seen[:, 2], np.nan)
