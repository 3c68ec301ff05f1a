# SPDX-License-Identifier: Apache-2.0
"""Solids that a ray can be intersected with exactly: box, ellipsoid, frustum, tube, torus and the shell of a room.

Every shape lives in its own frame, centred on the origin, z along its axis; `world_from_shape` puts it into the room.
Rays share one origin and their directions need no unit length: a hit is `origin + t * direction`.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MARCHING_STEPS = 48  # of the torus; the last step is far below a tenth of a millimetre


class Solid(Protocol):
    """A shape in its own frame."""

    @property
    def half_extent(self) -> Floats:
        """[3] half the size of the box around it."""
        ...

    def hits(self, origin: Floats, directions: Floats) -> Floats:
        """[n] the smallest t > 0 at which each ray enters, inf where it misses."""
        ...

    def normals(self, points: Floats) -> Floats:
        """[n, 3] outward unit normals at points of the surface."""
        ...


@dataclass(frozen=True, slots=True)
class CuboidSolid:
    """A box."""

    half_extent: Floats  # [3] metres

    def hits(self, origin: Floats, directions: Floats) -> Floats:
        near, far = _slabs(origin, directions, self.half_extent)
        return np.where((near <= far) & (near > 0), near, np.inf)

    def normals(self, points: Floats) -> Floats:
        return _face_normals(points, self.half_extent)


@dataclass(frozen=True, slots=True)
class ShellSolid:
    """The inside of a box: the walls, floor and ceiling of a room that the ray starts in."""

    half_extent: Floats  # [3] metres

    def hits(self, origin: Floats, directions: Floats) -> Floats:
        return _slabs(origin, directions, self.half_extent)[1]

    def normals(self, points: Floats) -> Floats:
        return -_face_normals(points, self.half_extent)


@dataclass(frozen=True, slots=True)
class EllipsoidSolid:
    """A ball with three radii."""

    half_extent: Floats  # [3] radii, metres

    def hits(self, origin: Floats, directions: Floats) -> Floats:
        o, d = origin / self.half_extent, directions / self.half_extent
        near, _ = _roots((d * d).sum(1), d @ o, o @ o - 1.0)
        return np.where(near > 0, near, np.inf)

    def normals(self, points: Floats) -> Floats:
        return _unit(points / self.half_extent**2)


@dataclass(frozen=True, slots=True)
class FrustumSolid:
    """A closed cylinder or truncated cone around z."""

    bottom: float  # radius, metres
    top: float  # radius, metres
    half_height: float  # metres

    @property
    def half_extent(self) -> Floats:
        radius = max(self.bottom, self.top)
        return np.array([radius, radius, self.half_height])

    def _radius(self, z: Floats) -> Floats:
        middle, slope = self._middle_and_slope
        return middle + slope * z

    @property
    def _middle_and_slope(self) -> tuple[float, float]:
        return (self.bottom + self.top) / 2, (self.top - self.bottom) / (2 * self.half_height)

    def hits(self, origin: Floats, directions: Floats) -> Floats:
        side = _cone_hits(origin, directions, *self._middle_and_slope, self.half_height)
        caps = [
            _disc_hits(origin, directions, -self.half_height, 0.0, self.bottom),
            _disc_hits(origin, directions, self.half_height, 0.0, self.top),
        ]
        return np.minimum.reduce([*side, *caps])

    def normals(self, points: Floats) -> Floats:
        from_side = np.abs(np.hypot(points[:, 0], points[:, 1]) - self._radius(points[:, 2]))
        from_cap = self.half_height - np.abs(points[:, 2])
        side = _radial(points, -self._middle_and_slope[1])
        return np.where((from_cap < from_side)[:, None], _upright(points), side)


@dataclass(frozen=True, slots=True)
class TubeSolid:
    """A wall of some thickness around z, open at both ends; cup and bucket are tubes with a floor."""

    bottom: float  # outer radius, metres
    top: float  # outer radius, metres
    half_height: float  # metres
    wall: float  # metres

    @property
    def half_extent(self) -> Floats:
        radius = max(self.bottom, self.top)
        return np.array([radius, radius, self.half_height])

    def hits(self, origin: Floats, directions: Floats) -> Floats:
        middle, slope, h = (self.bottom + self.top) / 2, (self.top - self.bottom) / (2 * self.half_height), 0.0
        h = self.half_height
        return np.minimum.reduce(
            [
                *_cone_hits(origin, directions, middle, slope, h),
                *_cone_hits(origin, directions, middle - self.wall, slope, h),
                _disc_hits(origin, directions, -h, self.bottom - self.wall, self.bottom),
                _disc_hits(origin, directions, h, self.top - self.wall, self.top),
            ]
        )

    def normals(self, points: Floats) -> Floats:
        middle, slope = (self.bottom + self.top) / 2, (self.top - self.bottom) / (2 * self.half_height)
        depth = middle + slope * points[:, 2] - np.hypot(points[:, 0], points[:, 1])  # 0 outside, wall inside
        side = _radial(points, -slope) * np.where(depth < self.wall / 2, 1.0, -1.0)[:, None]
        from_side = np.minimum(np.abs(depth), np.abs(depth - self.wall))
        from_rim = self.half_height - np.abs(points[:, 2])
        return np.where((from_rim < from_side)[:, None], _upright(points), side)


@dataclass(frozen=True, slots=True)
class HandleSolid:
    """The half of a torus with x > 0, lying in the x-z plane: the handle of a cup."""

    ring: float  # radius of the ring, metres
    thickness: float  # radius of the rod, metres

    @property
    def half_extent(self) -> Floats:
        reach = self.ring + self.thickness
        return np.array([reach, self.thickness, reach])

    def distance(self, points: Floats) -> Floats:
        """A signed distance bound, exact near the surface."""
        ring = np.hypot(points[:, 0], points[:, 2]) - self.ring
        return np.maximum(np.hypot(ring, points[:, 1]) - self.thickness, -points[:, 0])

    def hits(self, origin: Floats, directions: Floats) -> Floats:
        near, far = _slabs(origin, directions, self.half_extent)
        found = np.full(len(directions), np.inf)
        marching = np.flatnonzero(near <= far)  # the rest misses the box around it
        directions, far, t = directions[marching], far[marching], np.maximum(near[marching], 0.0)
        length = np.linalg.norm(directions, axis=1)
        open_ = np.ones(len(marching), dtype=bool)
        for _ in range(MARCHING_STEPS if len(marching) else 0):
            t = np.where(open_, t + self.distance(origin + t[:, None] * directions) / length, t)
            open_ &= t <= far
        left = self.distance(origin + t[:, None] * directions)
        is_hit = open_ & (left < 1e-4) & (t > 0)
        found[marching[is_hit]] = t[is_hit]
        return found

    def normals(self, points: Floats) -> Floats:
        step = 1e-5
        slopes = [self.distance(points + step * axis) - self.distance(points - step * axis) for axis in np.eye(3)]
        return _unit(np.stack(slopes, axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A solid somewhere in the room."""

    solid: Solid
    world_from_shape: Floats  # [4, 4]
    center: Floats = field(init=False)  # [3]
    radius: float = field(init=False)  # of the ball around it

    def __post_init__(self) -> None:
        object.__setattr__(self, "center", self.world_from_shape[:3, 3])
        object.__setattr__(self, "radius", float(np.linalg.norm(self.solid.half_extent)))

    def hits(self, origin: Floats, directions: Floats) -> Floats:
        """[n] the smallest t > 0 of rays in the world, inf where they miss."""
        rotation = self.world_from_shape[:3, :3]
        return self.solid.hits((origin - self.center) @ rotation, directions @ rotation)

    def normals(self, points: Floats) -> Floats:
        """[n, 3] outward unit normals at points [n, 3] of the surface, world."""
        return self.solid.normals(self.local(points)) @ self.world_from_shape[:3, :3].T

    def local(self, points: Floats) -> Floats:
        """Points of the world in the frame of the shape."""
        return (points - self.center) @ self.world_from_shape[:3, :3]

    def box_distance(self, points: Floats) -> Floats:
        """[n] metres from points to the box around the shape, 0 inside it."""
        beyond = np.maximum(np.abs(self.local(points)) - self.solid.half_extent, 0.0)
        return np.sqrt(squared_length(beyond))


def squared_length(vectors: Floats) -> Floats:
    """[n] the squared length of vectors [n, 3], quicker than a sum along rows of three."""
    x, y, z = vectors.T
    return x * x + y * y + z * z


def _slabs(origin: Floats, directions: Floats, half: Floats) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / np.where(directions == 0, 1e-12, directions)
    first, second = (-half - origin) * inverse, (half - origin) * inverse
    near, far = np.minimum(first, second), np.maximum(first, second)
    # Axis by axis: numpy reduces rows of three slowly.
    return (
        np.maximum(np.maximum(near[:, 0], near[:, 1]), near[:, 2]),
        np.minimum(np.minimum(far[:, 0], far[:, 1]), far[:, 2]),
    )


def _roots(a: Floats, half_b: Floats, c: Floats | float) -> tuple[Floats, Floats]:
    square = half_b * half_b - a * c
    root = np.sqrt(np.maximum(square, 0.0))
    safe = np.where(np.abs(a) < 1e-12, 1e-12, a)
    first, second = (-half_b - root) / safe, (-half_b + root) / safe
    missed = square < 0
    return np.where(missed, np.inf, np.minimum(first, second)), np.where(missed, np.inf, np.maximum(first, second))


def _cone_hits(origin: Floats, directions: Floats, middle: float, slope: float, half_height: float) -> list[Floats]:
    """Both crossings of the side x^2 + y^2 = (middle + slope z)^2 within the height; inf where there is none."""
    radius, change = middle + slope * origin[2], slope * directions[:, 2]
    a = directions[:, 0] ** 2 + directions[:, 1] ** 2 - change**2
    half_b = directions[:, :2] @ origin[:2] - radius * change
    both = _roots(a, half_b, origin[0] ** 2 + origin[1] ** 2 - radius**2)
    found = []
    for t in both:
        z = origin[2] + np.where(np.isfinite(t), t, 0.0) * directions[:, 2]
        found.append(np.where((t > 0) & (np.abs(z) <= half_height), t, np.inf))
    return found


def _disc_hits(origin: Floats, directions: Floats, z: float, inner: float, outer: float) -> Floats:
    dz = np.where(np.abs(directions[:, 2]) < 1e-12, 1e-12, directions[:, 2])
    t = (z - origin[2]) / dz
    rho = np.hypot(origin[0] + t * directions[:, 0], origin[1] + t * directions[:, 1])
    return np.where((t > 0) & (rho <= outer) & (rho >= inner), t, np.inf)


def _face_normals(points: Floats, half: Floats) -> Floats:
    axis = np.argmin(half - np.abs(points), axis=1)
    normals = np.zeros_like(points)
    rows = np.arange(len(points))
    normals[rows, axis] = np.where(points[rows, axis] < 0, -1.0, 1.0)
    return normals


def _radial(points: Floats, rise: float) -> Floats:
    rho = np.maximum(np.hypot(points[:, 0], points[:, 1]), 1e-12)
    return _unit(np.stack([points[:, 0] / rho, points[:, 1] / rho, np.full_like(rho, rise)], axis=1))


def _upright(points: Floats) -> Floats:
    normals = np.zeros_like(points)
    normals[:, 2] = np.where(points[:, 2] < 0, -1.0, 1.0)
    return normals


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
