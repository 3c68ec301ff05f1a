# SPDX-License-Identifier: Apache-2.0
"""Objects a robot might be asked for, each a few solids: mug, box, ball, book, vase, lamp, bucket, chair, stool."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.synthetic.colours import METAL, PAPER
from ccl_lgs_ros.synthetic.shapes import (
    CuboidSolid,
    EllipsoidSolid,
    Floats,
    FrustumSolid,
    HandleSolid,
    Solid,
    TubeSolid,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One solid of a thing, in the frame of the thing: z up, z = 0 where it stands."""

    name: str
    solid: Solid
    thing_from_part: Floats  # [4, 4]
    paint: tuple[int, int, int] | None = None  # sRGB; None takes the colour of the thing
    shade: float = 1.0  # brightness beside the thing's own paint
    family: str = ""  # "red" where the part is known by a colour of its own

    @property
    def corners(self) -> Floats:
        """[8, 3] the corners of the box around it, in the frame of the thing."""
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T
        return (signs * self.solid.half_extent) @ self.thing_from_part[:3, :3].T + self.thing_from_part[:3, 3]


def _at(x: float, y: float, z: float) -> Floats:
    return rigid(np.eye(3), np.array([x, y, z]))


def block(name: str, size: tuple[float, float, float], at: tuple[float, float, float], **more: object) -> Part:
    """A box of a size [3], its middle at a place [3], metres."""
    return Part(name=name, solid=CuboidSolid(np.array(size) / 2), thing_from_part=_at(*at), **more)  # type: ignore[arg-type]


def frustum(name: str, bottom: float, top: float, low: float, high: float, **more: object) -> Part:
    """A round part with its axis up: radii at its bottom and its top, from a height to a height, metres."""
    solid = FrustumSolid(bottom, top, (high - low) / 2)
    return Part(name=name, solid=solid, thing_from_part=_at(0, 0, (low + high) / 2), **more)  # type: ignore[arg-type]


def _vessel(bottom: float, top: float, height: float, wall: float) -> list[Part]:
    tube = TubeSolid(bottom, top, height / 2, wall)
    return [
        Part(name="wall", solid=tube, thing_from_part=_at(0, 0, height / 2)),
        frustum("floor", bottom - wall / 2, bottom - wall / 2, 0.001, wall),
    ]


def mug(random: np.random.Generator) -> list[Part]:
    """A large mug with a handle."""
    radius, height = random.uniform(0.055, 0.07), random.uniform(0.13, 0.17)
    handle = HandleSolid(height * 0.27, 0.011)
    return [
        *_vessel(radius * 0.96, radius, height, 0.008),
        Part(name="handle", solid=handle, thing_from_part=_at(radius * 0.975, 0, height * 0.52)),
    ]


def box(random: np.random.Generator) -> list[Part]:
    """A carton with a lid that overlaps a little."""
    width, depth, height = random.uniform(0.16, 0.3), random.uniform(0.14, 0.22), random.uniform(0.12, 0.26)
    lid = 0.035
    return [
        block("body", (width, depth, height - lid), (0, 0, (height - lid) / 2)),
        block("lid", (width + 0.012, depth + 0.012, lid), (0, 0, height - lid / 2), shade=1.06),
    ]


def ball(random: np.random.Generator) -> list[Part]:
    """A ball."""
    radius = random.uniform(0.085, 0.13)
    return [Part(name="ball", solid=EllipsoidSolid(np.full(3, radius)), thing_from_part=_at(0, 0, radius))]


def book(random: np.random.Generator) -> list[Part]:
    """A thick book lying on its back, its pages showing on three sides."""
    width, depth, height = random.uniform(0.2, 0.26), random.uniform(0.27, 0.34), random.uniform(0.05, 0.08)
    cover = 0.3 * height  # thick boards, so that the colour shows from the side, too
    return [
        block("cover", (width, depth, cover), (0, 0, cover / 2)),
        block("pages", (width - 0.02, depth - 0.02, height - 2 * cover), (0.006, 0, height / 2), paint=PAPER),
        block("spine", (0.014, depth, height), (-width / 2 + 0.007, 0, height / 2)),
        block("front", (width, depth, cover), (0, 0, height - cover / 2)),
    ]


def vase(random: np.random.Generator) -> list[Part]:
    """A bellied vase with a neck."""
    belly, height = random.uniform(0.08, 0.1), random.uniform(0.26, 0.36)
    waist = height * 0.45
    return [
        frustum("foot", belly * 0.62, belly, 0.0, waist),
        frustum("shoulder", belly, belly * 0.42, waist, height * 0.75),
        frustum("neck", belly * 0.42, belly * 0.6, height * 0.75, height),
    ]


def lamp(random: np.random.Generator) -> list[Part]:
    """A table lamp with a painted shade and foot and a short metal pole."""
    radius, height = random.uniform(0.12, 0.16), random.uniform(0.4, 0.5)
    shade = height * 0.5
    return [
        frustum("foot", radius * 0.7, radius * 0.55, 0.0, height * 0.38),
        frustum("pole", 0.016, 0.016, height * 0.38, shade, paint=METAL),
        frustum("shade", radius, radius * 0.62, shade, height),
    ]


def bucket(random: np.random.Generator) -> list[Part]:
    """A bucket, open at the top."""
    top, height = random.uniform(0.13, 0.17), random.uniform(0.24, 0.32)
    return _vessel(top * 0.76, top, height, 0.012)


def chair(random: np.random.Generator) -> list[Part]:
    """A chair: seat, back and four legs."""
    width, seat, height = random.uniform(0.4, 0.46), random.uniform(0.4, 0.46), random.uniform(0.78, 0.9)
    leg, reach = 0.05, width / 2 - 0.03
    legs = [block("leg", (leg, leg, seat), (x * reach, y * reach, seat / 2)) for x in (-1, 1) for y in (-1, 1)]
    return [
        block("seat", (width, width, 0.05), (0, 0, seat)),
        block("back", (0.045, width, height - seat), (-width / 2 + 0.0225, 0, (height + seat) / 2)),
        *legs,
    ]


def stool(random: np.random.Generator) -> list[Part]:
    """A round stool on three thick legs."""
    radius, height = random.uniform(0.17, 0.21), random.uniform(0.4, 0.5)
    turns = np.arange(3) * 2 * np.pi / 3
    legs = [
        Part(
            name="leg",
            solid=FrustumSolid(0.028, 0.028, (height - 0.04) / 2),
            thing_from_part=_at(radius * 0.68 * np.cos(a), radius * 0.68 * np.sin(a), (height - 0.04) / 2),
        )
        for a in turns
    ]
    return [frustum("seat", radius, radius, height - 0.06, height), *legs]


KINDS: MappingProxyType[str, Callable[[np.random.Generator], list[Part]]] = MappingProxyType(
    {
        "mug": mug,
        "box": box,
        "ball": ball,
        "book": book,
        "vase": vase,
        "lamp": lamp,
        "bucket": bucket,
        "chair": chair,
        "stool": stool,
    }
)
ON_FLOOR = ("chair", "stool", "bucket", "ball", "box")
ON_FURNITURE = ("mug", "box", "ball", "book", "vase", "lamp")
