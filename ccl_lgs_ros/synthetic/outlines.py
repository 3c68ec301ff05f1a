# SPDX-License-Identifier: Apache-2.0
"""Convex outlines on the floor: do two things stand clear of each other, and how far until they touch."""

import numpy as np
from scipy.spatial import ConvexHull

from ccl_lgs_ros.synthetic.shapes import CuboidSolid, Floats
from ccl_lgs_ros.synthetic.things import Part

CORNERS_OF_ROUND = 32
BISECTIONS = 20


def outline_of(parts: list[Part]) -> Floats:
    """[n, 2] the convex outline of a thing seen from above, anticlockwise, in its own frame."""
    return convex(np.concatenate([_part_outline(part) for part in parts]))


def convex(points: Floats) -> Floats:
    """[n, 2] the corners of the convex hull of points [m, 2], anticlockwise."""
    return points[ConvexHull(points).vertices]


def placed(outline: Floats, x: float, y: float, yaw: float) -> Floats:
    """An outline turned by yaw, then moved."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return outline @ np.array([[cos, sin], [-sin, cos]]) + [x, y]


def rectangle(half_x: float, half_y: float) -> Floats:
    """[4, 2] a rectangle around the origin, anticlockwise."""
    return np.array([[-half_x, -half_y], [half_x, -half_y], [half_x, half_y], [-half_x, half_y]])


def gap(first: Floats, second: Floats) -> float:
    """Metres between two convex outlines along the best separating edge; negative where they overlap."""
    return max(_separation(first, second), _separation(second, first))


def is_inside(outline: Floats, container: Floats, margin: float = 0.0) -> bool:
    """Whether an outline lies within a convex container, at least `margin` metres from its edges."""
    edges = np.roll(container, -1, axis=0) - container
    outward = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    return bool((((outline[:, None] - container) * outward).sum(2) <= -margin).all())


def distance_to_touch(moving: Floats, fixed: Floats, direction: Floats, reach: float, clearance: float) -> float:
    """How far from overlap along `direction` an outline must stand off for a gap of `clearance` metres."""
    low, high = 0.0, reach
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if gap(moving + middle * direction, fixed) >= clearance else (middle, high)
    return high


def _separation(edges_of: Floats, other: Floats) -> float:
    edges = np.roll(edges_of, -1, axis=0) - edges_of
    outward = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    return float((other @ outward.T - (edges_of * outward).sum(1)).min(0).max())


def _part_outline(part: Part) -> Floats:
    if isinstance(part.solid, CuboidSolid):
        return part.corners[:, :2]
    angles = np.arange(CORNERS_OF_ROUND) * 2 * np.pi / CORNERS_OF_ROUND
    half = part.solid.half_extent
    circle = np.stack([half[0] * np.cos(angles), half[1] * np.sin(angles)], axis=1)
    return circle + part.thing_from_part[:2, 3]
