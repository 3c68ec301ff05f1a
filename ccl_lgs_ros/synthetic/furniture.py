# SPDX-License-Identifier: Apache-2.0
"""Neutral furniture that objects stand on or hide behind: table, shelf, cabinet, sofa, and what hangs on walls."""

from dataclasses import dataclass

import numpy as np

from ccl_lgs_ros.synthetic.colours import FRAME, FURNITURE, METAL, SOFA
from ccl_lgs_ros.synthetic.things import Part, block

Paint = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A rectangle of a piece of furniture on which objects can stand."""

    center: tuple[float, float, float]  # metres, frame of the piece
    half_size: tuple[float, float]  # metres
    headroom: float  # metres free above it


@dataclass(frozen=True, slots=True, kw_only=True)
class Furniture:
    """A piece of furniture in its own frame: z = 0 is the floor, its back looks along -y."""

    name: str
    parts: list[Part]
    half_size: tuple[float, float]  # of its outline, metres
    surfaces: list[Surface]


def table(random: np.random.Generator) -> Furniture:
    """A table with four legs that one can drive around."""
    width, depth, height = random.uniform(1.1, 1.5), random.uniform(0.65, 0.8), random.uniform(0.5, 0.68)
    paint, leg_paint = _paint(random), FURNITURE[int(random.integers(4))]
    leg = 0.06
    reach_x, reach_y = width / 2 - leg, depth / 2 - leg
    legs = [
        block("leg", (leg, leg, height - 0.04), (x * reach_x, y * reach_y, (height - 0.04) / 2), paint=leg_paint)
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    top = block("top", (width, depth, 0.04), (0, 0, height - 0.02), paint=paint)
    surface = Surface(center=(0, 0, height), half_size=(width / 2, depth / 2), headroom=2.0)
    return Furniture(name="table", parts=[top, *legs], half_size=(width / 2, depth / 2), surfaces=[surface])


def shelf(random: np.random.Generator) -> Furniture:
    """An open shelf against a wall with two or three boards to stand things on."""
    width, depth, gap = random.uniform(0.9, 1.3), random.uniform(0.36, 0.44), random.uniform(0.42, 0.5)
    boards = int(random.integers(2, 4))
    paint, height, thick = _paint(random), 0.12, 0.03
    levels = [height + i * gap for i in range(boards)]
    top = levels[-1] + 0.002
    sides = [block("side", (thick, depth, top), (x * (width - thick) / 2, 0, top / 2), paint=paint) for x in (-1, 1)]
    back = block("back", (width - 2 * thick, 0.015, top), (0, -depth / 2 + 0.0075, top / 2), paint=paint)
    planks = [
        block("board", (width - 2 * thick, depth - 0.016, thick), (0, 0.008, z - thick / 2), paint=paint)
        for z in levels
    ]
    half = (width / 2 - thick, depth / 2 - 0.02)
    surfaces = [
        Surface(center=(0, 0.01, z), half_size=half, headroom=gap - thick if z != levels[-1] else 2.0) for z in levels
    ]
    return Furniture(name="shelf", parts=[*sides, back, *planks], half_size=(width / 2, depth / 2), surfaces=surfaces)


def cabinet(random: np.random.Generator) -> Furniture:
    """A closed cabinet against a wall with two doors."""
    width, depth, height = random.uniform(0.9, 1.4), random.uniform(0.4, 0.48), random.uniform(0.55, 0.8)
    paint = _paint(random)
    door = (width / 2 - 0.02, 0.016, height - 0.12)
    parts = [block("body", (width, depth, height), (0, 0, height / 2), paint=paint)]
    for side in (-1, 1):
        at = (side * width / 4, depth / 2 + 0.008, height / 2 + 0.02)
        parts.append(block("door", door, at, paint=paint, shade=0.9))
        knob = (side * 0.05, depth / 2 + 0.026, height / 2 + 0.1)
        parts.append(block("knob", (0.02, 0.02, 0.09), knob, paint=METAL))
    surface = Surface(center=(0, 0, height), half_size=(width / 2, depth / 2), headroom=2.0)
    return Furniture(name="cabinet", parts=parts, half_size=(width / 2, depth / 2 + 0.04), surfaces=[surface])


def sofa(random: np.random.Generator) -> Furniture:
    """A grey sofa against a wall; nothing stands on it."""
    width, depth = random.uniform(1.4, 1.8), random.uniform(0.75, 0.85)
    arm = 0.16
    seat = (width - 2 * arm) / 2
    parts = [
        block("base", (width, depth, 0.22), (0, 0, 0.16), paint=SOFA),
        block("back", (width, 0.2, 0.72), (0, -depth / 2 + 0.1, 0.41), paint=SOFA),
        *[block("arm", (arm, depth, 0.52), (x * (width - arm) / 2, 0, 0.31), paint=SOFA) for x in (-1, 1)],
        *[
            block("cushion", (seat - 0.01, depth - 0.22, 0.15), (x * seat / 2, 0.1, 0.345), paint=SOFA, shade=1.15)
            for x in (-1, 1)
        ],
    ]
    return Furniture(name="sofa", parts=parts, half_size=(width / 2, depth / 2), surfaces=[])


def door() -> list[Part]:
    """A door on a wall, in the frame of the wall: x along it, y out of it."""
    return [
        block("frame", (0.98, 0.05, 2.1), (0, 0.0, 1.05), paint=FURNITURE[1]),
        block("leaf", (0.84, 0.03, 2.0), (0, 0.025, 1.0), paint=FURNITURE[0], shade=0.92),
        block("panel", (0.56, 0.012, 0.7), (0, 0.042, 1.5), paint=FURNITURE[0]),
        block("panel", (0.56, 0.012, 0.6), (0, 0.042, 0.6), paint=FURNITURE[0]),
        block("handle", (0.13, 0.03, 0.025), (0.32, 0.06, 1.02), paint=METAL),
    ]


def window(random: np.random.Generator) -> list[Part]:
    """A window with an overcast sky behind it, in the frame of the wall."""
    width, height, middle = random.uniform(1.0, 1.6), 1.05, 1.5
    bars = [block("bar", (0.05, 0.03, height), (x * width / 2, 0.03, middle), paint=FURNITURE[0]) for x in (-1, 0, 1)]
    rails = [
        block("bar", (width + 0.05, 0.03, 0.05), (0, 0.03, middle + z * height / 2), paint=FURNITURE[0])
        for z in (-1, 1)
    ]
    sill = block("sill", (width + 0.2, 0.16, 0.03), (0, 0.06, middle - height / 2 - 0.03), paint=FURNITURE[0])
    pane = block("pane", (width, 0.02, height), (0, 0.01, middle), paint=(225, 229, 231), shade=1.25)
    return [pane, *bars, *rails, sill]


def picture(random: np.random.Generator) -> list[Part]:
    """A framed grey picture, in the frame of the wall."""
    width, height, middle = random.uniform(0.5, 0.9), random.uniform(0.4, 0.6), random.uniform(1.35, 1.6)
    split = random.uniform(-0.2, 0.2) * height
    return [
        block("frame", (width, 0.03, height), (0, 0.012, middle), paint=FRAME),
        block("mat", (width - 0.06, 0.01, height - 0.06), (0, 0.025, middle), paint=(232, 231, 228)),
        block("hill", (width - 0.2, 0.006, height * 0.3), (0, 0.031, middle - height * 0.13), paint=(140, 141, 141)),
        block(
            "sky", (width * 0.18, 0.006, height * 0.2), (split, 0.031, middle + height * 0.18), paint=(178, 178, 177)
        ),
    ]


def rug(random: np.random.Generator) -> list[Part]:
    """A flat grey rug, z = 0 on the floor."""
    width, depth = random.uniform(1.8, 2.4), random.uniform(1.3, 1.7)
    return [
        block("border", (width, depth, 0.008), (0, 0, 0.004), paint=(92, 93, 95)),
        block("field", (width - 0.16, depth - 0.16, 0.012), (0, 0, 0.006), paint=(182, 182, 179)),
    ]


def _paint(random: np.random.Generator) -> Paint:
    return FURNITURE[int(random.integers(4))]
