# SPDX-License-Identifier: Apache-2.0
"""How the things of a room stand to each other, by exact geometry: yes, no, or too close to call.

Lengths and angles leave room between yes and no, so that what is called clear is clear to any person. None of it knows
how a map is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.synthetic.outlines import convex, gap, is_inside
from ccl_lgs_ros.synthetic.room import Room, RoomObject, placed_rectangle
from ccl_lgs_ros.synthetic.shapes import Floats

STANDS = 0.01  # metres between a bottom and what it stands on
BESIDE, AWAY = 0.25, 1.2  # metres between outlines: next to, and not
LEVEL, OTHER_LEVEL = 0.3, 0.8  # metres between heights of things side by side: next to, and not
SAME_WAY, OTHER_WAY = np.radians([30.0, 80.0])  # between a direction and left, right, front or back: yes, and no
OPPOSITE, SAME_SIDE = np.radians([155.0, 70.0])  # angle at a thing between two others: between them, and not
LONGEST = 3.0  # metres that what is left of, behind or between others may be away from them to be called so
FIRST_FURNITURE = 1000  # ids of furniture count from here

Verdict = bool | None  # None: too close to call


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """An object or a piece of furniture, where it stands."""

    id: int
    name: str
    outline: Floats  # [n, 2] convex, on the floor
    low: float  # metres
    high: float
    supports: tuple[float, ...]  # heights on which things stand
    is_open_below: bool  # things can be under it

    @property
    def middle(self) -> Floats:
        """[3]."""
        return np.array([*self.outline.mean(0), (self.low + self.high) / 2])

    @property
    def corners(self) -> Floats:
        """[2n, 3] of the prism that it fills."""
        return np.concatenate(
            [np.column_stack([self.outline, np.full(len(self.outline), z)]) for z in (self.low, self.high)]
        )

    @property
    def volume(self) -> float:
        """Of the upright box along its own sides, cubic metres."""
        sides = np.roll(self.outline, -1, axis=0) - self.outline
        along = sides / np.linalg.norm(sides, axis=1, keepdims=True)
        across = np.column_stack([-along[:, 1], along[:, 0]])
        areas = np.ptp(self.outline @ along.T, axis=0) * np.ptp(self.outline @ across.T, axis=0)
        return float(areas.min() * (self.high - self.low))


def standing_objects(room: Room, by_colour: bool) -> list[Standing]:
    """The objects, each named by its colour and kind, or by its kind alone."""
    return [_object(item, item.category if by_colour else item.kind) for item in room.objects]


def standing_furniture(room: Room) -> list[Standing]:
    """The pieces of furniture, by name."""
    found = []
    for index, (piece, pose) in enumerate(room.furniture):
        found.append(
            Standing(
                id=FIRST_FURNITURE + index,
                name=piece.name,
                outline=convex(placed_rectangle(piece, pose)),
                low=0.0,
                high=float(max(part.corners[:, 2].max() for part in piece.parts)),
                supports=tuple(surface.center[2] for surface in piece.surfaces),
                is_open_below=piece.name == "table",
            )
        )
    return found


def _object(item: RoomObject, name: str) -> Standing:
    top = item.z + item.box[2][2]
    return Standing(
        id=item.id, name=name, outline=item.outline, low=item.z, high=top, supports=(top,), is_open_below=False
    )


def is_on(a: Standing, b: Standing) -> Verdict:
    """It stands on one of the other's boards, or on its top."""
    if gap(a.outline, b.outline) > 0 or a.high < min(b.supports, default=np.inf):
        return False
    stands = any(abs(a.low - height) < STANDS for height in b.supports)
    return True if stands and is_inside(a.middle[None, :2], b.outline) else None


def is_under(a: Standing, b: Standing) -> Verdict:
    """It lies beneath the other, all of which is higher, or stands under a table."""
    if gap(a.outline, b.outline) > 0 or a.low >= b.high - STANDS:
        return False
    if is_on(b, a) or (b.is_open_below and a.high < max(b.supports) and is_inside(a.outline, b.outline)):
        return True
    return None


def is_beside(a: Standing, b: Standing) -> Verdict:
    """Next to: at about its height, with a hand between them at most."""
    apart, heights = gap(a.outline, b.outline), max(a.low - b.high, b.low - a.high)
    if apart > AWAY or heights > OTHER_LEVEL:
        return False
    return True if 0 < apart < BESIDE and heights < 0 and abs(a.low - b.low) < LEVEL else None


def is_between(a: Standing, b: Standing, c: Standing) -> Verdict:
    """The other two are on opposite sides of it, not far away."""
    one, other = b.middle - a.middle, c.middle - a.middle
    angle = angle_between(one, other)
    if angle < SAME_SIDE:
        return False
    is_near = max(np.linalg.norm(one), np.linalg.norm(other)) < LONGEST
    return True if angle > OPPOSITE and is_near else None


def is_towards(turn: float) -> Callable[[Standing, Standing, Floats], Verdict]:
    """In a direction of the other: turned by an angle from away, anticlockwise as seen from above."""

    def verdict(a: Standing, b: Standing, world_from_viewer: Floats) -> Verdict:
        sight = b.middle[:2] - world_from_viewer[:2, 3]
        cos, sin = np.cos(turn), np.sin(turn)
        wanted = np.array([[cos, -sin], [sin, cos]]) @ sight
        step = a.middle[:2] - b.middle[:2]
        if gap(a.outline, b.outline) <= 0:
            return None
        angle = angle_between(step, wanted)
        if angle > OTHER_WAY:
            return False
        return True if angle < SAME_WAY and np.linalg.norm(step) < LONGEST else None

    return verdict


PLAIN = {"on": is_on, "under": is_under, "next to": is_beside}
VIEWED = {
    "left of": is_towards(np.pi / 2),
    "right of": is_towards(-np.pi / 2),
    "behind": is_towards(0.0),
    "in front of": is_towards(np.pi),
}


def extent_seen(thing: Standing, world_from_viewer: Floats) -> tuple[float, float]:
    """The least and the largest angle to the right of straight ahead at which a thing is seen, radians."""
    x, _, z = transform_points(invert_rigid(world_from_viewer), thing.corners).T
    angles = np.arctan2(x, z)
    return float(angles.min()), float(angles.max())


def angle_between(a: Floats, b: Floats) -> float:
    """Radians in [0, pi]."""
    return float(np.arccos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0)))
