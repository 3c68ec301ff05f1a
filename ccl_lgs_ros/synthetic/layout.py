# SPDX-License-Identifier: Apache-2.0
"""Furnishes a room from a seed: which pieces stand where, which objects stand on them, which of those touch."""

from dataclasses import dataclass, replace

import numpy as np

from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.synthetic.colours import ALIKE, FAMILIES
from ccl_lgs_ros.synthetic.furniture import Furniture, Surface, cabinet, door, picture, rug, shelf, sofa, table, window
from ccl_lgs_ros.synthetic.outlines import distance_to_touch, gap, is_inside, outline_of, placed, rectangle
from ccl_lgs_ros.synthetic.room import Room, RoomObject, about_z, placed_rectangle
from ccl_lgs_ros.synthetic.shapes import Floats
from ccl_lgs_ros.synthetic.things import KINDS, ON_FLOOR, ON_FURNITURE, Part
from ccl_lgs_ros.synthetic.two_tone import two_toned

MAX_LAYOUTS = 200  # attempts at a room before giving up; a few are the rule
TRIES = 60  # places tried for one thing
LANE = 0.62  # metres between pieces, so that a robot passes
CLEAR = 0.06  # metres between objects that do not touch
TOUCH = 0.0015  # metres between objects that touch
TOUCH_CHANCE = 0.35  # share of objects put against a neighbour
STACK_CHANCE = 0.5  # share of books that carry something


class NoRoomError(RuntimeError):
    """This attempt at a layout does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An object that still needs a place."""

    kind: str
    family: str
    parts: list[Part]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A surface in the room with what stands on it."""

    surface: Surface
    world_from_piece: Floats  # [4, 4]
    taken: list[RoomObject]

    @property
    def outline(self) -> Floats:
        """[4, 2] its edge, world."""
        center = np.array(self.surface.center[:2])
        corners = rectangle(*self.surface.half_size) + center
        return corners @ self.world_from_piece[:2, :2].T + self.world_from_piece[:2, 3]


def furnished_room(seed: int, attempt: int = 0, *, twins_touch: bool = False, two_tone: bool = False) -> Room:
    """The room of a seed and an attempt: the same numbers give the same room.

    Args:
        twins_touch: two objects of one kind and colour stand against each other.
        two_tone: things have a part in the colour of another thing: handles, lids, cushions, bands.

    Raises:
        NoRoomError: if no attempt fits, which no seed is known to do.
    """
    random = np.random.default_rng([seed, attempt])
    for _ in range(MAX_LAYOUTS):
        try:
            room = _attempt(seed, random, twins_touch)
            return replace(room, objects=two_toned(room.objects, seed)) if two_tone else room
        except NoRoomError:
            continue
    raise NoRoomError(f"seed {seed}: found no layout in {MAX_LAYOUTS} attempts")


def _attempt(seed: int, random: np.random.Generator, twins_touch: bool) -> Room:
    size = np.array([random.uniform(4.6, 6.0), random.uniform(4.2, 5.4), 2.6])
    furniture = _furnish(random, size)
    objects = _place_objects(random, size, furniture, _shopping_list(random), twins_touch)
    if not any(_touch(a, b) for a in objects for b in objects if a.id < b.id):
        raise NoRoomError
    decoration = _decorate(random, size, furniture)
    return Room(seed=seed, size=size, objects=objects, furniture=furniture, decoration=decoration)


def _furnish(random: np.random.Generator, size: Floats) -> tuple[tuple[Furniture, Floats], ...]:
    walls = list(random.permutation(4))
    makers = [shelf, cabinet, *([sofa] if random.random() < 0.6 else [table])]
    middle = rigid(about_z(random.choice([0.0, np.pi / 2]) + random.normal(0, 0.12)), random.uniform(-0.35, 0.35, 3))
    middle[2, 3] = 0.0
    found = [(table(random), middle)]
    for make, wall in zip(makers, walls, strict=False):
        piece = make(random)
        for _ in range(TRIES):
            pose = _against_wall(random, size, piece, int(wall))
            outline = placed_rectangle(piece, pose)
            if all(gap(outline, placed_rectangle(*other)) > LANE for other in found):
                found.append((piece, pose))
                break
        else:
            raise NoRoomError
    return tuple(found)


def _against_wall(random: np.random.Generator, size: Floats, piece: Furniture, wall: int) -> Floats:
    length, depth = (size[0], size[1]) if wall % 2 == 0 else (size[1], size[0])
    slack = length / 2 - piece.half_size[0] - 0.05
    along, out = random.uniform(-slack, slack), -depth / 2 + piece.half_size[1] + 0.01
    turn = about_z(wall * np.pi / 2)
    return rigid(turn, turn @ np.array([along, out, 0.0]))


def _decorate(
    random: np.random.Generator, size: Floats, furniture: tuple[tuple[Furniture, Floats], ...]
) -> tuple[tuple[list[Part], Floats], ...]:
    """A rug under the table, and a door, a window and pictures where no furniture stands in front of them."""
    found = [(rug(random), furniture[0][1])]
    blocked = [placed_rectangle(*piece) for piece in furniture[1:]]
    makers = [door, lambda: window(random), lambda: picture(random), lambda: picture(random)]
    for make, wall in zip(makers, random.permutation(4), strict=True):
        parts = make()
        half = max(abs(part.corners[:, 0]).max() for part in parts)
        low = min(part.corners[:, 2].min() for part in parts)
        length, depth = (size[0], size[1]) if wall % 2 == 0 else (size[1], size[0])
        turn = about_z(wall * np.pi / 2)
        for _ in range(TRIES):
            along = random.uniform(-1, 1) * (length / 2 - half - 0.1)
            pose = rigid(turn, turn @ np.array([along, -depth / 2, 0.0]))
            outline = placed(rectangle(half, 0.3), pose[0, 3], pose[1, 3], wall * np.pi / 2)
            if low > 0.9 or all(gap(outline, other) > 0.05 for other in blocked):
                found.append((parts, pose))
                break
    return tuple(found)


def _shopping_list(random: np.random.Generator) -> list[Wanted]:
    """7 or 8 categories, each of its own colour family, one to four of them twice: 8 to 12 objects."""
    families = [str(family) for family in random.permutation(list(FAMILIES))]
    for pair in ALIKE:
        families.remove(max(pair, key=families.index))
    families = families[: int(random.integers(7, 9))]
    sure = ["mug", "box", "ball", "book", "lamp", str(random.choice(["chair", "stool", "bucket"]))]
    more = [
        str(kind)
        for kind in random.choice(["mug", "box", "vase", "ball", "bucket", "stool"], len(families) - len(sure))
    ]
    wanted = [_wanted(random, kind, family) for kind, family in zip(sure + more, families, strict=True)]
    small = [item for item in wanted if item.kind in ("mug", "box", "ball", "book", "vase")]
    twice = random.permutation(len(small))[: int(random.integers(1, min(5, 13 - len(wanted), len(small) + 1)))]
    twins = [replace(small[i]) for i in twice]
    return sorted([*wanted, *twins], key=lambda item: -_breadth(item.parts))


def _wanted(random: np.random.Generator, kind: str, family: str) -> Wanted:
    return Wanted(kind=kind, family=family, parts=KINDS[kind](random))


def _breadth(parts: list[Part]) -> float:
    return float(np.ptp(outline_of(parts), axis=0).max())


def _place_objects(
    random: np.random.Generator,
    size: Floats,
    furniture: tuple[tuple[Furniture, Floats], ...],
    wanted: list[Wanted],
    twins_touch: bool,
) -> tuple[RoomObject, ...]:
    places = [
        Place(surface=surface, world_from_piece=pose, taken=[])
        for piece, pose in furniture
        for surface in piece.surfaces
    ]
    obstacles = [placed_rectangle(*piece) for piece in furniture]
    objects: list[RoomObject] = []
    for item in wanted:
        twin = next((other for other in objects if twins_touch and other.parts is item.parts), None)
        if twin is not None:
            objects.append(_beside_twin(random, size, obstacles, places, item, twin, len(objects) + 1))
            continue
        may_stand = item.kind in ON_FLOOR and (item.kind not in ON_FURNITURE or random.random() < 0.3)
        if may_stand:
            found = _on_floor(random, size, obstacles, item, len(objects) + 1)
            obstacles.append(found.outline)
        else:
            found, place = _on_furniture(random, places, item, len(objects) + 1)
            place.taken.append(found)
            if found.kind == "book" and random.random() < STACK_CHANCE:
                places.append(_top_of(found, place))
        objects.append(found)
    return tuple(objects)


def _on_floor(random: np.random.Generator, size: Floats, obstacles: list[Floats], item: Wanted, id: int) -> RoomObject:
    outline = outline_of(item.parts)
    floor = rectangle(*(size[:2] / 2))
    for _ in range(TRIES):
        x, y = random.uniform(-1, 1, 2) * (size[:2] / 2 - 0.3)
        found = _object(item, id, x, y, 0.0, random.uniform(-np.pi, np.pi))
        here = placed(outline, x, y, found.yaw)
        gaps = [gap(here, other) for other in obstacles]
        near_something = min(gaps) < 0.15 or not is_inside(here, floor, 0.4)
        if is_inside(here, floor, 0.04) and min(gaps) > 0.02 and near_something:
            return found
    raise NoRoomError


def _beside_twin(
    random: np.random.Generator,
    size: Floats,
    obstacles: list[Floats],
    places: list[Place],
    item: Wanted,
    twin: RoomObject,
    id: int,
) -> RoomObject:
    """Where its twin stands, against it; what sticks out of either points away from the other."""
    place = next((place for place in places if any(other is twin for other in place.taken)), None)
    edge, margin = (rectangle(*(size[:2] / 2)), 0.04) if place is None else (place.outline, 0.005)
    around = obstacles if place is None else [other.outline for other in place.taken]
    outline = outline_of(item.parts)
    for _ in range(TRIES):
        angle, turn = twin.yaw + np.pi + random.uniform(-np.pi / 2, np.pi / 2), random.uniform(-np.pi / 2, np.pi / 2)
        x, y = _against(twin, outline, angle, angle + turn)
        found = _object(item, id, x, y, twin.z, angle + turn)
        gaps = [gap(found.outline, other) for other in around]
        is_clear = all(g > CLEAR or 0 < g < 2 * TOUCH for g in gaps)
        if is_clear and is_inside(found.outline, edge, margin):
            obstacles.append(found.outline) if place is None else place.taken.append(found)
            return found
    raise NoRoomError


def _on_furniture(random: np.random.Generator, places: list[Place], item: Wanted, id: int) -> tuple[RoomObject, Place]:
    outline = outline_of(item.parts)
    height = max(part.corners[:, 2].max() for part in item.parts)
    fitting = [place for place in places if place.surface.headroom > height + 0.05]
    for _ in range(TRIES):
        place = fitting[int(random.integers(len(fitting)))]
        yaw = random.uniform(-np.pi, np.pi)
        offset = random.uniform(-1, 1, 2) * place.surface.half_size
        at = place.world_from_piece[:3, :3] @ [*(offset + place.surface.center[:2]), place.surface.center[2]]
        x, y, z = at + place.world_from_piece[:3, 3]
        if place.taken and random.random() < TOUCH_CHANCE:
            x, y = _against_neighbour(random, outline, yaw, place.taken[int(random.integers(len(place.taken)))])
        found = _object(item, id, float(x), float(y), float(z), yaw)
        gaps = [gap(found.outline, other.outline) for other in place.taken]
        is_clear = all(g > CLEAR or 0 < g < 2 * TOUCH for g in gaps)
        if is_clear and is_inside(found.outline, place.outline, 0.005):
            return found, place
    raise NoRoomError


def _against_neighbour(
    random: np.random.Generator, outline: Floats, yaw: float, neighbour: RoomObject
) -> tuple[float, float]:
    return _against(neighbour, outline, random.uniform(-np.pi, np.pi), yaw)


def _against(neighbour: RoomObject, outline: Floats, angle: float, yaw: float) -> tuple[float, float]:
    """Where an outline turned by yaw touches a neighbour, seen from it in the direction of an angle."""
    direction = np.array([np.cos(angle), np.sin(angle)])
    start = placed(outline, neighbour.x, neighbour.y, yaw)
    far = distance_to_touch(start, neighbour.outline, direction, 2.0, TOUCH)
    return float(neighbour.x + far * direction[0]), float(neighbour.y + far * direction[1])


def _top_of(item: RoomObject, below: Place) -> Place:
    size = item.box[2]
    headroom = below.surface.headroom - size[2]
    surface = Surface(center=(0.0, 0.0, float(size[2])), half_size=(size[0] / 2, size[1] / 2), headroom=headroom)
    return Place(surface=surface, world_from_piece=item.world_from_thing, taken=[])


def _object(item: Wanted, id: int, x: float, y: float, z: float, yaw: float) -> RoomObject:
    return RoomObject(id=id, kind=item.kind, family=item.family, parts=item.parts, x=x, y=y, z=z, yaw=yaw)


def _touch(first: RoomObject, second: RoomObject) -> bool:
    stacked = abs(first.z + first.box[2][2] - second.z) < TOUCH or abs(second.z + second.box[2][2] - first.z) < TOUCH
    apart = gap(first.outline, second.outline)
    return (stacked and apart < 0) or (abs(first.z - second.z) < TOUCH and 0 < apart < 2 * TOUCH)
