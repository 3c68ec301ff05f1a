# SPDX-License-Identifier: Apache-2.0
"""Where a robot stands well to deal with a thing: at a distance, facing it, its body free, the thing in sight."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box, Instance
from ccl_lgs_ros.geometry import invert_rigid, rigid, transform_points
from ccl_lgs_ros.grid import OCCUPIED, looked_up
from ccl_lgs_ros.navigation.body import is_body_free
from ccl_lgs_ros.navigation.columns import Columns
from ccl_lgs_ros.navigation.free_space import FreeSpace, distance_to
from ccl_lgs_ros.navigation.sight import is_in_sight

APART = 0.3  # metres between two poses that are proposed
AMPLE = 0.5  # metres of clearance beyond the robot; more is no better
FACING, DISTANCE, CLEARANCE, NEARNESS = 0.4, 0.3, 0.2, 0.2  # weights in the score
REASONS = ("occupied", "unknown", "unreachable", "hidden")  # why a place is not proposed, in the order of the tests


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Approach:
    """A pose of the robot's base from which it can deal with a thing."""

    world_from_base: NDArray[np.float64]  # [4, 4] x forward, z up, at floor height
    distance: float  # metres from the middle of the base to the near side of the thing's box, along the floor
    clearance: float  # metres from the middle of the base to what is not free, at least
    score: float  # in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Approaches:
    """Poses to deal with a thing, best first; why there are none, or not more."""

    poses: tuple[Approach, ...]
    message: str
    places: int  # that were looked at
    refused: Mapping[str, int]  # how many of them by reason, in the words of REASONS


def approaches(
    instance: Instance,
    space: FreeSpace,
    columns: Columns,
    *,
    standoff: float,
    tolerance: float,
    max_approaches: int,
    near: NDArray[np.floating] | None = None,
) -> Approaches:
    """The poses at which a robot faces a thing, at the middle of cells, best first.

    Args:
        instance: the thing; its box says where it is, its surface normal from where it is best seen.
        space: where the robot fits.
        columns: what hides one thing behind another.
        standoff: metres from the middle of the robot to the near side of the thing.
        tolerance: metres by which the standoff may be missed.
        max_approaches: how many at most.
        near: [3] where the robot is, in the world; it must get there from here, and nearer is better.
    """
    grid, robot = space.grid, space.robot
    grid_from_world = invert_rigid(grid.world_from_grid)
    outline = _outline(instance.box, grid_from_world)
    cells, distance = _ring(outline, grid.resolution, max(standoff - tolerance, 0.0), standoff + tolerance)
    places = (cells[:, ::-1] + 0.5) * grid.resolution
    middle = transform_points(grid_from_world, instance.box.center)[:2]
    headings = np.arctan2(*(middle - places).T[::-1])
    refused = _refused(space, cells, places, headings, space.region_near(near))
    fits = np.flatnonzero(refused == "")
    sensors = transform_points(
        grid.world_from_grid, np.column_stack([places[fits], np.full(len(fits), robot.sensor_height)])
    )
    refused[fits[~is_in_sight(instance, sensors, columns)]] = "hidden"
    good = np.flatnonzero(refused == "")
    clearance = looked_up(space.clearance, cells[good], np.float32(0))
    score = _scores(
        places[good],
        middle,
        distance[good],
        clearance - robot.inner_radius,
        standoff,
        tolerance,
        None if instance.surface_normal is None else grid_from_world[:3, :3] @ instance.surface_normal,
        None if near is None else transform_points(grid_from_world, np.asarray(near, dtype=np.float64))[:2],
    )
    poses = tuple(
        Approach(
            world_from_base=grid.world_from_grid @ _base(places[good[i]], headings[good[i]]),
            distance=float(distance[good[i]]),
            clearance=float(clearance[i]),
            score=float(score[i]),
        )
        for i in _spread(places[good], score, max_approaches)
    )
    counts = {reason: int((refused == reason).sum()) for reason in REASONS}
    message = _message(len(poses), len(good), len(cells), counts)
    return Approaches(poses=poses, message=message, places=len(cells), refused=counts)


def _outline(box: Box, grid_from_world: NDArray[np.floating]) -> NDArray[np.float64]:
    """[k, 2] the convex outline of a box on the floor, in metres in the grid, anticlockwise."""
    corners = np.array([[(i & 1), (i >> 1 & 1), (i >> 2 & 1)] for i in range(8)]) - 0.5
    world = box.center + (corners * box.size) @ box.rotation.T
    flat = transform_points(grid_from_world, world)[:, :2].astype(np.float32)
    return cv2.convexHull(flat)[:, 0].astype(np.float64)


def _ring(
    outline: NDArray[np.floating], resolution: float, near: float, far: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The cells [n, 2] whose middles are from `near` to `far` metres off an outline, and how far they are [n]."""
    low = np.floor((outline.min(0) - far) / resolution).astype(np.int64)
    high = np.ceil((outline.max(0) + far) / resolution).astype(np.int64)
    x, y = (np.arange(a, b + 1) for a, b in zip(low, high, strict=True))
    cells = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = distance_to_outline((cells[:, ::-1] + 0.5) * resolution, outline)
    inside = (distance >= near) & (distance <= far) & (distance > 0)
    return cells[inside], distance[inside]


def distance_to_outline(points: NDArray[np.floating], outline: NDArray[np.floating]) -> NDArray[np.float64]:
    """[n] metres from points [n, 2] to a convex outline [k, 2]; 0 inside."""
    edge = np.roll(outline, -1, axis=0) - outline
    away = points[:, None] - outline  # [n, k, 2]
    share = np.clip((away * edge).sum(-1) / np.maximum((edge**2).sum(-1), 1e-12), 0.0, 1.0)
    to_edges = np.linalg.norm(away - share[..., None] * edge, axis=-1).min(1)
    side = edge[:, 0] * away[..., 1] - edge[:, 1] * away[..., 0]
    is_inside = (side >= 0).all(1) | (side <= 0).all(1)
    return np.where(is_inside, 0.0, to_edges)


def _refused(
    space: FreeSpace,
    cells: NDArray[np.int64],
    places: NDArray[np.floating],
    headings: NDArray[np.floating],
    region: int,
) -> NDArray[np.str_]:
    """[n] why the robot cannot stand at cells [n, 2]; '' where it can."""
    grid, robot = space.grid, space.robot
    here = space.regions_at(cells)
    is_free = (here > 0) & is_body_free(grid, places, headings, robot.outline)
    to_occupied = distance_to(grid.cells >= OCCUPIED, grid.resolution, beyond=False)
    is_blocked = looked_up(to_occupied, cells, np.float32(np.inf)) < robot.inner_radius
    refused = np.where(is_free & (here != region), "unreachable", "").astype("<U11")
    refused[~is_free] = np.where(is_blocked[~is_free], "occupied", "unknown")
    return refused


def _scores(
    places: NDArray[np.floating],
    middle: NDArray[np.floating],
    distance: NDArray[np.floating],
    spare: NDArray[np.floating],
    standoff: float,
    tolerance: float,
    normal: NDArray[np.floating] | None,
    near: NDArray[np.floating] | None,
) -> NDArray[np.float64]:
    """[n] in [0, 1]: how well places face a thing, keep the standoff, keep clear, and are near the robot."""
    missed = np.abs(distance - standoff) / max(tolerance, 1e-6)
    parts = [(DISTANCE, 1.0 - np.minimum(missed, 1.0)), (CLEARANCE, np.clip(spare / AMPLE, 0.0, 1.0))]
    if normal is not None:
        towards = places - middle
        towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-9)
        level = float(np.linalg.norm(normal[:2]))
        parts.append((FACING * level, np.clip(towards @ normal[:2] / max(level, 1e-9), 0.0, 1.0)))
    if near is not None:
        parts.append((NEARNESS, 1.0 / (1.0 + np.linalg.norm(places - near, axis=1))))
    weights = np.array([weight for weight, _ in parts])
    return weights @ np.stack([part for _, part in parts]) / weights.sum()


def _spread(places: NDArray[np.floating], score: NDArray[np.floating], count: int) -> list[int]:
    """The best places, each some way from all better ones."""
    chosen: list[int] = []
    left = score.astype(np.float64).copy()
    while len(chosen) < count and len(left) and left.max() > -np.inf:
        best = int(left.argmax())
        chosen.append(best)
        left[np.linalg.norm(places - places[best], axis=1) < APART] = -np.inf
    return chosen


def _base(place: NDArray[np.floating], heading: float) -> NDArray[np.float64]:
    cos, sin = np.cos(heading), np.sin(heading)
    return rigid(np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]), np.array([*place, 0.0]))


def _message(proposed: int, good: int, places: int, refused: Mapping[str, int]) -> str:
    """What was found, in words."""
    why = {
        "occupied": "{} are too near to something",
        "unknown": "{} are too near to what was never seen free",
        "unreachable": "{} cannot be reached",
        "hidden": "{} do not see it",
    }
    if proposed:
        return f"{proposed} of {good} good places out of {places} around it"
    reasons = ", ".join(why[name].format(count) for name, count in refused.items() if count)
    return f"no pose: of {places} places around it {reasons}" if reasons else "no pose: there is no place around it"
