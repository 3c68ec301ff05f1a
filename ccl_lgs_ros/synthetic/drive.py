# SPDX-License-Identifier: Apache-2.0
"""Plans the way of a simulated robot through a room, past every object, looking at what it passes."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import distance_transform_edt, gaussian_filter1d
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import invert_rigid, rigid, transform_points
from ccl_lgs_ros.synthetic.raycaster import first_shape
from ccl_lgs_ros.synthetic.room import Room, about_z
from ccl_lgs_ros.synthetic.shapes import Floats

CELL = 0.06  # metres
ROBOT_RADIUS = 0.24  # metres
CANDIDATES = 160  # places that are tried as viewpoints
SIGHT = (0.75, 2.1)  # metres from which an object is worth looking at
PROBES = 8  # points of an object that are looked for
SECTORS = 6  # directions from which an object can be seen
SECTORS_WANTED = 3
MARGIN = 0.1  # share of the image at its border where an object does not count as seen
MAX_VIEWPOINTS = 14
TURN_COST = 0.6  # metres of driving that one radian of turning is worth
SPEED = 0.5  # metres (or turning worth as much) per second
STEP = 0.02  # metres between the points of a planned path
LONG_WAY = 0.7  # metres from one viewpoint to the next, from which on something is looked at between
BEST_SIGHT = 1.5  # metres from which an object is looked at on the way
SMOOTHING = 0.22  # metres over which corners are rounded


@dataclass(frozen=True, kw_only=True)
class CameraMount:
    """Where the camera sits on the robot."""

    forward: float = 0.12  # metres from the middle of the base
    height: float = 1.0  # metres
    pitch: float = 0.35  # radians, looking down

    @property
    def base_from_camera_link(self) -> Floats:
        """[4, 4] axes of the mount: x forward along the view, z up."""
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        rotation = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
        return rigid(rotation, np.array([self.forward, 0.0, self.height]))

    @property
    def base_from_camera(self) -> Floats:
        """[4, 4] optical frame."""
        return self.base_from_camera_link @ LINK_FROM_OPTICAL


LINK_FROM_OPTICAL = rigid(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))


@dataclass(frozen=True, kw_only=True)
class Drive:
    """A smooth motion of the robot's base, from second 0 to its duration."""

    mount: CameraMount
    duration: float  # seconds
    x_y_yaw: CubicSpline

    def world_from_base(self, seconds: float) -> Floats:
        """[4, 4]."""
        x, y, yaw = self.x_y_yaw(seconds)
        return rigid(about_z(yaw), np.array([x, y, 0.0]))

    def world_from_camera(self, seconds: float) -> Floats:
        """[4, 4], optical frame."""
        return self.world_from_base(seconds) @ self.mount.base_from_camera


@dataclass(frozen=True, slots=True)
class Floor:
    """The cells of the floor that the middle of the robot may enter, and how to get from one to another."""

    cells: NDArray[np.int64]  # [n, 2] row, column
    places: Floats  # [n, 2] metres
    graph: coo_matrix  # [n, n] metres between neighbours, dearer near obstacles


class BlockedError(RuntimeError):
    """The robot cannot get around in this room."""


def planned_drive(room: Room, camera: Camera, seed: int) -> Drive:
    """A drive past all objects of a room.

    Raises:
        BlockedError: if an object cannot be seen from anywhere that the robot can go.
    """
    random = np.random.default_rng([seed, 5])
    mount = CameraMount(height=random.uniform(0.8, 1.2), pitch=random.uniform(0.3, 0.42))
    floor = _free_floor(room)
    spots, yaws = _viewpoints(room, camera, mount, floor, random)
    return _smooth_drive(room, floor, spots, yaws, mount)


def orbit_drive(room: Room, camera: Camera, seed: int) -> Drive:
    """One round about the middle of the room, looking inwards."""
    random = np.random.default_rng([seed, 6])
    mount = CameraMount(height=1.2, pitch=0.42)
    half = room.size[:2] / 2 - 0.45
    angles = np.linspace(0, 2 * np.pi, 240) + random.uniform(0, 2 * np.pi)
    x, y = half[0] * np.cos(angles), half[1] * np.sin(angles)
    return _timed(np.stack([x, y, np.unwrap(np.arctan2(-y, -x))], axis=1), mount)


def _free_floor(room: Room) -> Floor:
    shape = np.ceil(room.size[:2] / CELL).astype(int)
    free = np.zeros(shape, dtype=np.uint8)
    free[1:-1, 1:-1] = 1
    for outline in room.obstacles():
        corners = ((outline + room.size[:2] / 2) / CELL)[:, ::-1]
        cv2.fillConvexPoly(free, np.round(corners).astype(np.int32), 0)
    clearance = np.asarray(distance_transform_edt(free)) * CELL
    index = np.full(shape, -1)
    cells = np.argwhere(clearance > ROBOT_RADIUS)
    index[tuple(cells.T)] = np.arange(len(cells))
    rows, columns, lengths = [], [], []
    for step in ((0, 1), (1, 0), (1, 1), (1, -1)):
        there = cells + step
        inside = ((there >= 0) & (there < shape)).all(1)
        neighbour = np.where(inside, index[tuple(np.clip(there, 0, shape - 1).T)], -1)
        linked = neighbour >= 0
        rows.append(np.flatnonzero(linked))
        columns.append(neighbour[linked])
        narrow = clearance[tuple(cells[linked].T)]
        lengths.append(CELL * np.hypot(*step) * (1.0 + 0.12 / narrow**2 * CELL))
    edges = (np.concatenate(rows), np.concatenate(columns))
    graph = coo_matrix((np.concatenate(lengths), edges), shape=(len(cells), len(cells)))
    label = connected_components(graph, directed=False)[1]
    main = label == np.bincount(label).argmax()
    kept = graph.tocsr()[main][:, main].tocoo()
    return Floor(cells[main], (cells[main] + 0.5) * CELL - room.size[:2] / 2, kept)


def _viewpoints(
    room: Room, camera: Camera, mount: CameraMount, floor: Floor, random: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """Cells [n] and yaws [n] that together show every object from several directions, chosen greedily."""
    cells = random.choice(len(floor.places), min(CANDIDATES, len(floor.places)), replace=False)
    targets = np.stack([item.box[0] for item in room.objects])
    probes = np.concatenate([item.surface[:PROBES] for item in room.objects])
    options = []
    for cell in cells:
        place = floor.places[cell]
        is_clear = _clear_sight(room, np.array([*place, mount.height]), probes)
        for yaw in _worthwhile_yaws(place, targets):
            seen = _seen_sectors(camera, mount, place, yaw, targets, is_clear)
            if seen:
                options.append((cell, yaw, seen))
    chosen: list[tuple[int, float]] = []
    covered: set[tuple[int, int]] = set()
    while len(chosen) < MAX_VIEWPOINTS and options:
        gains = [sum(_gain(pair, covered) for pair in seen - covered) for _, _, seen in options]
        best = int(np.argmax(gains))
        if gains[best] <= 0:
            break
        chosen.append(options[best][:2])
        covered |= options[best][2]
    if {item for item, _ in covered} != set(range(len(targets))):
        raise BlockedError
    return np.array([cell for cell, _ in chosen]), np.array([yaw for _, yaw in chosen])


def _gain(pair: tuple[int, int], covered: set[tuple[int, int]]) -> float:
    times = sum(item == pair[0] for item, _ in covered)
    return max(0, SECTORS_WANTED - times) / SECTORS_WANTED


def _worthwhile_yaws(place: Floats, targets: Floats) -> list[float]:
    away = targets[:, :2] - place
    distance = np.hypot(*away.T)
    near = (distance > SIGHT[0]) & (distance < SIGHT[1])
    return [float(np.arctan2(y, x)) for x, y in away[near]]


def _clear_sight(room: Room, eye: Floats, probes: Floats) -> NDArray[np.bool_]:
    """[n] whether most of each object can be seen from a place, over the tops of others."""
    first = first_shape(room.shapes, eye, probes)
    owner = np.array([paint.object_id for paint in room.paints])[first].reshape(len(room.objects), PROBES)
    return (owner == np.array([[item.id] for item in room.objects])).mean(1) > 0.5


def _seen_sectors(
    camera: Camera, mount: CameraMount, place: Floats, yaw: float, targets: Floats, is_clear: NDArray[np.bool_]
) -> set[tuple[int, int]]:
    """The (object, direction) pairs that one pose of the robot shows."""
    world_from_camera = rigid(about_z(yaw), np.array([*place, 0.0])) @ mount.base_from_camera
    in_camera = transform_points(invert_rigid(world_from_camera), targets)
    pixel = camera.project(in_camera) / [camera.width, camera.height]
    distance = np.linalg.norm(in_camera, axis=1)
    framed = (np.abs(pixel - 0.5) < 0.5 - MARGIN).all(1) & (distance > SIGHT[0]) & (distance < SIGHT[1] + 0.3)
    found = np.flatnonzero(framed & is_clear)
    bearing = np.arctan2(*(world_from_camera[:2, 3] - targets[found, :2]).T[::-1])
    sector = np.floor((bearing + np.pi) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    return {(int(i), int(s)) for i, s in zip(found, sector, strict=True)}


def _smooth_drive(room: Room, floor: Floor, spots: NDArray[np.int64], yaws: Floats, mount: CameraMount) -> Drive:
    targets = np.stack([item.box[0][:2] for item in room.objects])
    order = _short_tour(floor, spots)
    pieces, at = [], yaws[order[0]]
    for a, b in pairwise(order):
        way = _resampled(floor.places[_route(floor, spots[a], spots[b])])
        yaw = _gaze(way, at, yaws[b], targets)
        pieces.append(np.column_stack([way, yaw]))
        at = yaw[-1]
    path = np.concatenate(pieces)
    return _timed(gaussian_filter1d(path, SMOOTHING / STEP / 2, axis=0, mode="nearest"), mount)


def _gaze(way: Floats, start: float, end: float, targets: Floats) -> Floats:
    """Yaws [n] along a way [n, 2]; on a long way the robot looks at an object half-way, not at the walls."""
    knots, yaws = [0.0, 1.0], [start, start + _turn(start, end)]
    if len(way) * STEP > LONG_WAY:
        away = targets - way[len(way) // 2]
        distance = np.hypot(*away.T)
        bearing = np.arctan2(away[:, 1], away[:, 0])
        effort = np.abs(_turn(start, bearing)) + np.abs(_turn(bearing, end)) + np.abs(distance - BEST_SIGHT)
        middle = start + _turn(start, bearing[np.argmin(effort)])
        knots, yaws = [0.0, 0.5, 1.0], [start, middle, middle + _turn(middle, end)]
    return np.interp(np.linspace(0.0, 1.0, len(way)), knots, yaws)


def _turn(before: Any, after: Any) -> Any:
    return (after - before + np.pi) % (2 * np.pi) - np.pi


def _short_tour(floor: Floor, spots: NDArray[np.int64]) -> list[int]:
    """The spots in the order of a short way: nearest next, improved by turning stretches around."""
    lengths = dijkstra(floor.graph, directed=False, indices=spots)[:, spots]
    order = [0]
    while len(order) < len(spots):
        left = [i for i in range(len(spots)) if i not in order]
        order.append(min(left, key=lambda i: lengths[order[-1], i]))
    improved = True
    while improved:
        improved = False
        for i in range(1, len(order) - 1):
            for j in range(i + 1, len(order)):
                other = order[:i] + order[i : j + 1][::-1] + order[j + 1 :]
                if _length(other, lengths) < _length(order, lengths) - 1e-9:
                    order, improved = other, True
    return order


def _length(order: list[int], lengths: Floats) -> float:
    return float(sum(lengths[a, b] for a, b in pairwise(order)))


def _route(floor: Floor, start: int, end: int) -> list[int]:
    before = dijkstra(floor.graph, directed=False, indices=start, return_predecessors=True)[1]
    route = [int(end)]
    while route[-1] != start:
        route.append(int(before[route[-1]]))
    return route[::-1]


def _resampled(points: Floats) -> Floats:
    """A path with a point every STEP metres, and at least enough of them to turn on the spot."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    count = max(20, int(np.ceil(along[-1] / STEP)))
    at = np.linspace(0, along[-1], count)
    return np.stack([np.interp(at, along, points[:, k]) for k in (0, 1)], axis=1)


def _timed(path: Floats, mount: CameraMount) -> Drive:
    step = np.diff(path, axis=0)
    effort = np.hypot(step[:, 0], step[:, 1]) + TURN_COST * np.abs(step[:, 2]) + 1e-6
    seconds = np.concatenate([[0.0], np.cumsum(effort)]) / SPEED
    at = np.linspace(0, seconds[-1], max(8, int(seconds[-1] * 10)))
    knots = np.stack([np.interp(at, seconds, path[:, k]) for k in range(3)], axis=1)
    knots = gaussian_filter1d(knots, 2.0, axis=0, mode="nearest")
    return Drive(mount=mount, duration=float(seconds[-1]), x_y_yaw=CubicSpline(at, knots))
