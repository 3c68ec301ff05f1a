# SPDX-License-Identifier: Apache-2.0
"""Which shape each ray meets first, and which points a light reaches; shapes far from a ray are never tried."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.synthetic.shapes import Floats, Shape, ShellSolid

NEAREST = 0.02  # metres; a shape that reaches nearer to the camera is tried on every pixel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """What every pixel of a camera sees: exact."""

    depth: Floats  # [H, W] metres along z
    shape: NDArray[np.int32]  # [H, W] position in the list of shapes
    points: Floats  # [H, W, 3] world
    normals: Floats  # [H, W, 3] world, towards the camera's side of the surface


def cast(shapes: list[Shape], camera: Camera, world_from_camera: Floats) -> View:
    """The first surface along the ray through the centre of every pixel."""
    origin, directions = world_from_camera[:3, 3], pixel_rays(camera) @ world_from_camera[:3, :3].T
    depth = np.full((camera.height, camera.width), np.inf)
    nearest = np.full((camera.height, camera.width), -1, dtype=np.int32)
    camera_from_world = invert_rigid(world_from_camera)
    for index, shape in enumerate(shapes):
        window = _window(shape, camera, camera_from_world)
        if window is None:
            continue
        rays = directions[window]
        t = shape.hits(origin, rays.reshape(-1, 3)).reshape(rays.shape[:2])
        closer = t < depth[window]
        depth[window][closer] = t[closer]
        nearest[window][closer] = index
    points = origin + depth[..., None] * directions
    normals = np.zeros_like(points)
    for index in np.unique(nearest[nearest >= 0]):
        here = nearest == index
        normals[here] = shapes[index].normals(points[here])
    return View(depth=depth, shape=nearest, points=points, normals=normals)


def pixel_rays(camera: Camera) -> Floats:
    """[H, W, 3] directions through pixel centres in the optical frame, with z = 1 so that t is depth."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)


def is_lit(shapes: list[Shape], points: Floats, light: Floats) -> NDArray[np.bool_]:
    """[n] whether nothing stands between points [n, 3] and a light [3]; the walls cast no shadow."""
    rays = points - light
    distance = np.linalg.norm(rays, axis=1)
    is_free = np.ones(len(points), dtype=bool)
    for shape in shapes:
        if isinstance(shape.solid, ShellSolid):
            continue
        near = np.flatnonzero(_may_meet(shape, light, rays, distance) & is_free)
        if near.size:
            is_free[near] = shape.hits(light, rays[near]) >= 1.0
    return is_free


def first_shape(shapes: list[Shape], origin: Floats, targets: Floats) -> NDArray[np.int64]:
    """[n] the shape that a ray from an origin [3] towards each target [n, 3] meets first."""
    rays = targets - origin
    distance = np.linalg.norm(rays, axis=1)
    hits = np.full((len(shapes), len(targets)), np.inf)
    for index, shape in enumerate(shapes):
        near = np.flatnonzero(_may_pass(shape, origin, rays, distance))
        if near.size:
            hits[index, near] = shape.hits(origin, rays[near])
    return np.argmin(hits, axis=0)


def _may_meet(shape: Shape, light: Floats, rays: Floats, distance: Floats) -> NDArray[np.bool_]:
    far = float(np.linalg.norm(shape.center - light))
    return _may_pass(shape, light, rays, distance) & (distance > far - shape.radius)


def _may_pass(shape: Shape, origin: Floats, rays: Floats, distance: Floats) -> NDArray[np.bool_]:
    """[n] whether rays [n, 3] of some length [n] from an origin point at the ball around a shape."""
    axis = shape.center - origin
    far = float(np.linalg.norm(axis))
    cosine = np.sqrt(max(0.0, 1.0 - (shape.radius / far) ** 2)) if far > shape.radius else -1.0
    return rays @ (axis / far) >= cosine * distance


def _window(shape: Shape, camera: Camera, camera_from_world: Floats) -> tuple[slice, slice] | None:
    """The pixels that the ball around a shape can cover; None where it lies outside the image."""
    everything = (slice(0, camera.height), slice(0, camera.width))
    if isinstance(shape.solid, ShellSolid):
        return everything
    x, y, z = transform_points(camera_from_world, shape.center)
    r = shape.radius
    if z + r <= NEAREST:
        return None
    if z - r <= NEAREST:
        return everything
    depths = np.array([z - r, z + r])
    u = camera.fx * np.array([(x - r) / depths, (x + r) / depths]) + camera.cx
    v = camera.fy * np.array([(y - r) / depths, (y + r) / depths]) + camera.cy
    left, right = max(0, int(np.floor(u.min()))), min(camera.width, int(np.ceil(u.max())) + 1)
    top, bottom = max(0, int(np.floor(v.min()))), min(camera.height, int(np.ceil(v.max())) + 1)
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None
