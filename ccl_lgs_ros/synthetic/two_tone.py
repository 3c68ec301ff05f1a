# SPDX-License-Identifier: Apache-2.0
"""Gives each thing one part in the colour of another thing of the room, so that parts can be named by colour.

Handles and lids are painted; chairs and stools get a cushion; lamps, vases and buckets a painted band.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ccl_lgs_ros.synthetic.colours import FAMILIES
from ccl_lgs_ros.synthetic.room import RoomObject
from ccl_lgs_ros.synthetic.shapes import FrustumSolid, TubeSolid
from ccl_lgs_ros.synthetic.things import Part, block, frustum

PAINTED = {"mug": "handle", "box": "lid"}
CUSHIONED = {"chair": "seat", "stool": "seat"}
BANDED = {"lamp": "shade", "vase": "foot", "bucket": "wall"}
CUSHION_HEIGHT, CUSHION_SHARE = 0.04, 0.9  # metres, share of the width of the seat
BAND, BAND_HEIGHT = (0.3, 0.65), 0.004  # from where to where on its part, 0 at the bottom; metres that it stands out


def two_toned(objects: Sequence[RoomObject], seed: int) -> tuple[RoomObject, ...]:
    """The objects of a room, each that can have a part in a colour of its own with one; books and balls have none.

    Twins, which share their kind and colour, are painted alike.
    """
    random = np.random.default_rng([seed, 83])
    families = list(dict.fromkeys(item.family for item in objects))
    of_category: dict[str, str] = {}
    for item in objects:
        others = [family for family in families if family != item.family]
        of_category.setdefault(item.category, str(random.choice(others)))
    return tuple(replace(item, parts=_painted(item, of_category[item.category])) for item in objects)


def _painted(item: RoomObject, family: str) -> list[Part]:
    """The parts of an object, one of them in the colour of a family."""
    paint = {"paint": FAMILIES[family], "family": family, "shade": 1.0}
    if item.kind in PAINTED:
        return [replace(part, **paint) if part.name == PAINTED[item.kind] else part for part in item.parts]
    if item.kind in CUSHIONED:
        return [*item.parts, replace(_cushion(_part(item, CUSHIONED[item.kind])), **paint)]
    if item.kind in BANDED:
        return [*item.parts, replace(_band(_part(item, BANDED[item.kind])), **paint)]
    return item.parts


def _part(item: RoomObject, name: str) -> Part:
    return next(part for part in item.parts if part.name == name)


def _cushion(seat: Part) -> Part:
    """What lies on a seat, round or square as it is."""
    half, low = seat.solid.half_extent, float(seat.corners[:, 2].max())
    if isinstance(seat.solid, FrustumSolid):
        radius = CUSHION_SHARE * seat.solid.top
        return frustum("cushion", radius, radius, low, low + CUSHION_HEIGHT)
    width, depth = 2 * CUSHION_SHARE * half[:2]
    return block("cushion", (width, depth, CUSHION_HEIGHT), (0, 0, low + CUSHION_HEIGHT / 2))


def _band(part: Part) -> Part:
    """What runs around a round part."""
    solid, low = part.solid, float(part.corners[:, 2].min())
    assert isinstance(solid, FrustumSolid | TubeSolid)
    bottom, top = (solid.bottom + share * (solid.top - solid.bottom) + BAND_HEIGHT for share in BAND)
    start, end = (low + 2 * solid.half_height * share for share in BAND)
    if isinstance(solid, FrustumSolid):
        return frustum("band", bottom, top, start, end)
    tube = TubeSolid(bottom, top, (end - start) / 2, 2 * BAND_HEIGHT)
    return replace(part, name="band", solid=tube, thing_from_part=frustum("", 1, 1, start, end).thing_from_part)
