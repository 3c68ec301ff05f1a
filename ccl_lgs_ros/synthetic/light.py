# SPDX-License-Identifier: Apache-2.0
"""Shades what a camera sees: soft shadows of area lights, ambient light that corners and contacts dim, texture."""

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.synthetic.colours import CEILING, FLOOR, WALL, linear
from ccl_lgs_ros.synthetic.raycaster import View, is_lit
from ccl_lgs_ros.synthetic.room import Room
from ccl_lgs_ros.synthetic.shapes import Floats, Shape, squared_length

AMBIENT_SIDE, AMBIENT_UP = 0.63, 0.09  # light from everywhere, and more of it from above
DIRECT = 0.46  # light of all lamps together, straight below them
LIGHT_HEIGHT = 0.03  # metres under the ceiling
PANEL = 0.35  # metres, half the edge of a light
SELF_OFFSET = 0.003  # metres by which a surface is lifted before its shadow is asked for
CONTACT = 0.07  # metres over which a neighbour keeps ambient light out
CONTACT_STRENGTH = 0.34
DARKEST = 0.8  # share of ambient light that reaches the deepest corner
GRAIN = 0.025  # relative brightness of the texture
GRAIN_PITCH, GRAIN_WAVES = 9.0, 4  # radians per metre of its coarsest wave, and the number of waves
PLANK = (0.16, 1.35)  # metres
SKIRTING = 0.08  # metres


def radiance(room: Room, view: View) -> NDArray[np.float64]:
    """[H, W, 3] linear light towards the camera; 1 is a white surface in full light."""
    points, normals, shape = view.points.reshape(-1, 3), view.normals.reshape(-1, 3), view.shape.ravel()
    albedo = _albedo(room, points, normals, shape)
    ambient = (AMBIENT_SIDE + AMBIENT_UP * normals[:, 2]) * _openness(room, points, shape)
    direct = _smooth(_direct(room, points, normals).reshape(view.shape.shape), view.shape).ravel()
    return (albedo * (ambient + direct)[:, None]).reshape(view.points.shape)


def lights(room: Room) -> Floats:
    """[n, 3] samples of the two square panels on the ceiling."""
    along = np.array([1.0, 0.0, 0.0]) if room.size[0] > room.size[1] else np.array([0.0, 1.0, 0.0])
    reach = max(room.size[:2]) * 0.22
    corners = np.array([[-PANEL, -PANEL / 2, 0], [PANEL / 2, -PANEL, 0], [-PANEL / 2, PANEL, 0], [PANEL, PANEL / 2, 0]])
    height = np.array([0.0, 0.0, room.size[2] - LIGHT_HEIGHT])
    return np.concatenate([corners[::2] + height - reach * along, corners[1::2] + height + reach * along])


def _direct(room: Room, points: Floats, normals: Floats) -> Floats:
    total = np.zeros(len(points))
    samples = lights(room)
    lifted = points + SELF_OFFSET * normals
    for light in samples:
        towards = light - points
        square = squared_length(towards)
        distance = np.sqrt(square)
        facing = (towards * normals).sum(1) / distance
        down = towards[:, 2] / distance
        # Flat panels send most light down; the reference distance keeps a floor at about 1.
        strength = np.clip(facing, 0, None) * np.clip(down, 0, None) * np.minimum(5.5 / (square + 1.5), 1.0)
        lit = np.zeros(len(points))
        asked = np.flatnonzero(strength > 1e-3)
        lit[asked] = is_lit(room.shapes, lifted[asked], light)
        total += strength * lit
    return DIRECT * 2.0 * total / len(samples)


def _openness(room: Room, points: Floats, shape: NDArray[np.int32]) -> Floats:
    half = room.size / 2
    walls = half[:2] - np.abs(points[:, :2])
    heights = np.stack([points[:, 2], room.size[2] - points[:, 2]], axis=1)
    corners = np.sort(np.concatenate([walls, heights], axis=1), axis=1)
    is_shell = shape == 0
    # On a wall the nearest plane is the wall itself; the next one makes the corner.
    beside = np.where(is_shell, corners[:, 1], corners[:, 0])
    open_ = 1.0 - CONTACT_STRENGTH * np.exp(-beside / (3 * CONTACT))
    for index, other in enumerate(room.shapes):
        if index == 0:
            continue
        near = np.flatnonzero(_is_near(other, points) & (shape != index))
        if near.size:
            open_[near] *= 1.0 - CONTACT_STRENGTH * np.exp(-other.box_distance(points[near]) / CONTACT)
    return np.maximum(open_, DARKEST)


def _is_near(shape: Shape, points: Floats) -> NDArray[np.bool_]:
    reach = shape.radius + 4 * CONTACT
    away = points - shape.center
    return squared_length(away) < reach * reach


def _albedo(room: Room, points: Floats, normals: Floats, shape: NDArray[np.int32]) -> Floats:
    paint = np.stack([paint.albedo for paint in room.paints])
    albedo = paint[np.maximum(shape, 0)]
    shell = shape == 0
    albedo[shell] = _shell_albedo(points[shell], normals[shell])
    for index in np.unique(shape[shape > 0]):
        here = shape == index
        albedo[here] *= _grain(room.shapes[index].local(points[here]), index)[:, None]
    return albedo


def _shell_albedo(points: Floats, normals: Floats) -> Floats:
    albedo = np.where(normals[:, 2:] < -0.5, linear(CEILING), linear(WALL))
    is_floor = normals[:, 2] > 0.5
    row = np.floor(points[:, 1] / PLANK[0])
    along = points[:, 0] / PLANK[1] + 0.37 * row
    tone = 0.09 * (_hash(row * 57.0 + np.floor(along)) - 0.5)
    seam = np.minimum(np.abs(points[:, 1] / PLANK[0] - row) * PLANK[0], (along - np.floor(along)) * PLANK[1]) < 0.006
    floor = linear(FLOOR) * (1.0 + tone + 0.4 * (_grain(points * [1, 6, 1], 3) - 1) - 0.25 * seam)[:, None]
    skirting = (np.abs(normals[:, 2]) < 0.5) & (points[:, 2] < SKIRTING)
    albedo = np.where(skirting[:, None], albedo * 0.82, albedo)
    return np.where(is_floor[:, None], floor, albedo)


def _grain(local: Floats, salt: float) -> Floats:
    """Smooth blotches of brightness fixed to a surface, around 1."""
    waves = np.zeros(len(local))
    for k in range(GRAIN_WAVES):
        turn = np.sin(salt + np.array([1.7, 2.9, 4.3]) * (k + 1)) * GRAIN_PITCH * 1.6**k
        bend = np.sin(local[:, [1, 2, 0]] @ turn[::-1] * 0.7 + k)
        waves += np.sin(local @ turn + 2.0 * bend + salt * (k + 2)) / (1 + k)
    return 1.0 + GRAIN * waves


def _hash(value: Floats) -> Floats:
    """A fixed number in [0, 1) for every whole number."""
    return np.mod(np.sin(value * 12.9898) * 43758.5453, 1.0)


def _smooth(values: Floats, shape: NDArray[np.int32]) -> Floats:
    """The mean over 5x5 pixels of the same shape: hides the steps between light samples."""
    for axis in (0, 1):
        total, count = np.zeros_like(values), np.zeros_like(values)
        for shift in (-2, -1, 0, 1, 2):
            same = np.roll(shape, shift, axis) == shape
            total += np.roll(values, shift, axis) * same
            count += same
        values = total / count
    return values
