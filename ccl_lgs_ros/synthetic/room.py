# SPDX-License-Identifier: Apache-2.0
"""A furnished room made from a seed: where everything stands, exactly."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.synthetic.colours import FAMILIES, linear
from ccl_lgs_ros.synthetic.furniture import Furniture
from ccl_lgs_ros.synthetic.outlines import outline_of, placed, rectangle
from ccl_lgs_ros.synthetic.shapes import Floats, Shape, ShellSolid
from ccl_lgs_ros.synthetic.things import Part

SURFACE_DIRECTIONS, SURFACE_LINES = 300, 100  # lines that look for the surface of an object: good to a millimetre
FAR_EYE = 200.0  # metres
NO_OBJECT = 0  # in object maps and label images, as simulators publish them


@dataclass(frozen=True, kw_only=True)
class RoomObject:
    """One object that can be asked for."""

    id: int  # 1 and up: its value in label images
    kind: str  # "mug"
    family: str  # "red"
    parts: list[Part]
    x: float  # metres, where it stands
    y: float
    z: float
    yaw: float  # radians

    @property
    def category(self) -> str:
        """The prompt that names it; two objects of one kind and colour share it."""
        return f"{self.family} {self.kind}"

    @cached_property
    def world_from_thing(self) -> Floats:
        """[4, 4]."""
        return rigid(about_z(self.yaw), np.array([self.x, self.y, self.z]))

    @cached_property
    def outline(self) -> Floats:
        """[n, 2] its convex outline on the floor, world."""
        return placed(outline_of(self.parts), self.x, self.y, self.yaw)

    @cached_property
    def box(self) -> tuple[Floats, Floats, Floats]:
        """Centre [3], rotation [3, 3] world_from_box and full size [3] of the box around it, along its own axes."""
        corners = np.concatenate([part.corners for part in self.parts])
        low, high = corners.min(0), corners.max(0)
        rotation = self.world_from_thing[:3, :3]
        return rotation @ ((low + high) / 2) + self.world_from_thing[:3, 3], rotation, high - low

    @cached_property
    def surface(self) -> Floats:
        """[n, 3] points spread evenly over its surface, world, where no other part of it covers them."""
        return self._sampled[0]

    @property
    def part_names(self) -> tuple[str, ...]:
        """What its parts are called, each name once; four legs are one name."""
        return tuple(dict.fromkeys(part.name for part in self.parts))

    def family_of(self, name: str) -> str:
        """The colour that the parts of a name are known by where it is not that of the whole; else empty."""
        return next((part.family for part in self.parts if part.name == name), "")

    def part_surface(self, name: str) -> Floats:
        """[n, 3] the points of its surface that belong to the parts of that name, world; hidden ones have none."""
        surface, part = self._sampled
        return surface[np.isin(part, [index for index, other in enumerate(self.parts) if other.name == name])]

    @cached_property
    def _sampled(self) -> tuple[Floats, NDArray[np.int64]]:
        return surface_points(self, np.random.default_rng(self.id))

    @property
    def centroid(self) -> Floats:
        """[3] the mean of its surface, world."""
        return self.surface.mean(0)


@dataclass(frozen=True, kw_only=True)
class Paint:
    """How a shape is painted, and what it belongs to."""

    albedo: Floats  # [3] linear light
    object_id: int  # NO_OBJECT for the room and its furniture
    part_id: int  # 1 and up within an object, NO_OBJECT elsewhere
    is_shell: bool = False


@dataclass(frozen=True, kw_only=True)
class Room:
    """Everything in the room, in the map frame: origin in the middle of the floor, z up."""

    seed: int
    size: Floats  # [3] metres, inside
    objects: tuple[RoomObject, ...]
    furniture: tuple[tuple[Furniture, Floats], ...]  # with world_from_piece [4, 4]
    decoration: tuple[tuple[list[Part], Floats], ...]  # with world_from_part [4, 4]
    shapes: list[Shape] = field(init=False)
    paints: list[Paint] = field(init=False)

    def __post_init__(self) -> None:
        shell = Shape(solid=ShellSolid(self.size / 2), world_from_shape=rigid(np.eye(3), self.size * [0, 0, 0.5]))
        pairs = [(shell, Paint(albedo=np.ones(3), object_id=NO_OBJECT, part_id=NO_OBJECT, is_shell=True))]
        for piece, world_from_piece in self.furniture:
            pairs += _shapes_of(piece.parts, world_from_piece, (128, 128, 128))
        for parts, world_from_parts in self.decoration:
            pairs += _shapes_of(parts, world_from_parts, (128, 128, 128))
        for item in self.objects:
            pairs += _shapes_of(item.parts, item.world_from_thing, FAMILIES[item.family], item.id)
        object.__setattr__(self, "shapes", [shape for shape, _ in pairs])
        object.__setattr__(self, "paints", [paint for _, paint in pairs])

    @property
    def categories(self) -> tuple[str, ...]:
        """The prompts that the room answers, each once."""
        return tuple(dict.fromkeys(item.category for item in self.objects))

    @property
    def families(self) -> tuple[str, ...]:
        """The colour families of its objects, each once."""
        return tuple(dict.fromkeys(item.family for item in self.objects))

    def obstacles(self) -> list[Floats]:
        """Outlines [n, 2] of all that stands on the floor."""
        pieces = [placed_rectangle(piece, pose) for piece, pose in self.furniture]
        return pieces + [item.outline for item in self.objects if item.z < 0.05]


def placed_rectangle(piece: Furniture, world_from_piece: Floats) -> Floats:
    """[4, 2] the outline of a piece of furniture in the room."""
    return rectangle(*piece.half_size) @ world_from_piece[:2, :2].T + world_from_piece[:2, 3]


def about_z(yaw: float) -> Floats:
    """[3, 3] the rotation about z."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def surface_points(item: RoomObject, random: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """Points [n, 3] spread over the surface that an object shows to the outside, world, and the part [n] of each.

    They are the first hits of random lines.
    """
    shapes = [shape for shape, _ in _shapes_of(item.parts, item.world_from_thing, (0, 0, 0))]
    center, _, size = item.box
    reach = float(np.linalg.norm(size)) / 2
    found, parts = [], []
    for direction in _even_directions(SURFACE_DIRECTIONS):
        across = np.linalg.svd(direction[None])[2][1:]
        starts = random.uniform(-reach, reach, (SURFACE_LINES, 2)) @ across
        points, part = _first_hits(shapes, center - reach * direction, starts, direction)
        found.append(points)
        parts.append(part)
    points = np.concatenate(found)
    order = random.permutation(len(points))
    return points[order], np.concatenate(parts)[order]


def _even_directions(count: int) -> Floats:
    """[count, 3] unit vectors spread evenly: the spiral of Fibonacci."""
    height = 1.0 - (2.0 * np.arange(count) + 1.0) / count
    turn = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(count)
    flat = np.sqrt(1.0 - height**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)


def _first_hits(
    shapes: list[Shape], origin: Floats, starts: Floats, direction: Floats
) -> tuple[Floats, NDArray[np.int64]]:
    eye = origin - FAR_EYE * direction  # rays share an origin; from far away they are nearly parallel
    directions = origin + starts - eye
    hits = np.array([shape.hits(eye, directions) for shape in shapes])
    t = hits.min(axis=0)
    is_hit = np.isfinite(t)
    return eye + t[is_hit, None] * directions[is_hit], hits.argmin(axis=0)[is_hit]


def _shapes_of(
    parts: list[Part], world_from_thing: Floats, srgb: tuple[int, int, int], object_id: int = NO_OBJECT
) -> list[tuple[Shape, Paint]]:
    pairs = []
    for index, part in enumerate(parts):
        albedo = np.minimum(linear(part.paint or srgb) * part.shade, 0.95)
        part_id = index + 1 if object_id else NO_OBJECT
        shape = Shape(solid=part.solid, world_from_shape=world_from_thing @ part.thing_from_part)
        pairs.append((shape, Paint(albedo=albedo, object_id=object_id, part_id=part_id)))
    return pairs
