# SPDX-License-Identifier: Apache-2.0
"""Rays and solids: what a ray meets is where walking along it would get inside."""

import numpy as np
import pytest

from ccl_lgs_ros.geometry import rigid, transform_points
from ccl_lgs_ros.synthetic.raycaster import is_lit
from ccl_lgs_ros.synthetic.room import about_z
from ccl_lgs_ros.synthetic.shapes import (
    CuboidSolid,
    EllipsoidSolid,
    FrustumSolid,
    HandleSolid,
    Shape,
    ShellSolid,
    TubeSolid,
)

SOLIDS = {
    "cuboid": CuboidSolid(np.array([0.3, 0.2, 0.1])),
    "ellipsoid": EllipsoidSolid(np.array([0.3, 0.2, 0.1])),
    "cylinder": FrustumSolid(0.2, 0.2, 0.3),
    "cone": FrustumSolid(0.3, 0.1, 0.3),
    "tube": TubeSolid(0.2, 0.25, 0.3, 0.02),
    "handle": HandleSolid(0.2, 0.05),
}


def rays_around(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    origin = random.normal(size=3)
    origin *= 1.5 / np.linalg.norm(origin)
    return origin, random.uniform(-0.35, 0.35, (400, 3)) - origin


@pytest.mark.parametrize("name", SOLIDS)
def test_rays_meet_a_solid_on_its_surface_from_outside(name: str) -> None:
    """A hit is where walking along the ray first gets inside, found here by walking in small steps."""
    solid, random = SOLIDS[name], np.random.default_rng(1)
    for _ in range(4):
        origin, directions = rays_around(random)
        t = solid.hits(origin, directions)
        steps = np.linspace(0.0, 2.0, 3001)
        points = origin + steps[None, :, None] * directions[:, None]
        inside = contains(solid, points.reshape(-1, 3)).reshape(points.shape[:2])
        walked = np.where(inside.any(1), steps[inside.argmax(1)], np.inf)
        both = np.isfinite(t) & np.isfinite(walked)
        grazed = np.isfinite(t) != np.isfinite(walked)
        assert both.sum() > 20
        assert grazed.sum() <= 4  # corners thinner than a step
        assert np.quantile(np.abs(t[both] - walked[both]), 0.98) < 2 * steps[1]


def contains(solid: object, p: np.ndarray) -> np.ndarray:
    rho = np.hypot(p[:, 0], p[:, 1])
    match solid:
        case CuboidSolid(half):
            return (np.abs(p) <= half).all(1)
        case EllipsoidSolid(half):
            return ((p / half) ** 2).sum(1) <= 1
        case FrustumSolid(bottom, top, h):
            return (np.abs(p[:, 2]) <= h) & (rho <= bottom + (top - bottom) * (p[:, 2] + h) / (2 * h))
        case TubeSolid(bottom, top, h, wall):
            outer = bottom + (top - bottom) * (p[:, 2] + h) / (2 * h)
            return (np.abs(p[:, 2]) <= h) & (rho <= outer) & (rho >= outer - wall)
        case HandleSolid():
            return solid.distance(p) <= 0
    raise AssertionError(solid)


@pytest.mark.parametrize("name", SOLIDS)
def test_normals_have_unit_length_and_face_the_ray(name: str) -> None:
    solid, random = SOLIDS[name], np.random.default_rng(2)
    origin, directions = rays_around(random)
    t = solid.hits(origin, directions)
    hit = np.isfinite(t)
    normals = solid.normals(origin + t[hit, None] * directions[hit])
    assert np.allclose(np.linalg.norm(normals, axis=1), 1.0)
    assert ((normals * directions[hit]).sum(1) < 1e-6).mean() > 0.98


def test_moving_a_shape_and_the_ray_together_changes_nothing() -> None:
    random = np.random.default_rng(3)
    origin, directions = rays_around(random)
    pose = rigid(about_z(0.7), np.array([1.0, -2.0, 0.5]))
    still = Shape(solid=SOLIDS["cone"], world_from_shape=np.eye(4)).hits(origin, directions)
    moved = Shape(solid=SOLIDS["cone"], world_from_shape=pose).hits(
        transform_points(pose, origin), directions @ pose[:3, :3].T
    )
    assert np.allclose(still, moved)


def test_a_room_is_hit_by_every_ray_from_within() -> None:
    shell = ShellSolid(np.array([2.0, 2.0, 1.3]))
    directions = np.random.default_rng(4).normal(size=(100, 3))
    t = shell.hits(np.array([0.5, -1.0, 0.2]), directions)
    points = np.array([0.5, -1.0, 0.2]) + t[:, None] * directions
    assert np.allclose((np.abs(points) / shell.half_extent).max(1), 1.0)


def test_a_ball_under_a_lamp_shades_the_floor_beneath_it() -> None:
    ball = Shape(solid=EllipsoidSolid(np.full(3, 0.2)), world_from_shape=rigid(np.eye(3), np.array([0.0, 0.0, 1.0])))
    floor = np.array([[0.0, 0.0, 0.0], [0.39, 0.0, 0.0], [0.42, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert is_lit([ball], floor, np.array([0.0, 0.0, 2.0])).tolist() == [False, False, True, True]
