# SPDX-License-Identifier: Apache-2.0
"""Where a robot truly fits in a room: the walls, the furniture and what stands on the floor, exactly."""

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.synthetic.outlines import convex
from ccl_lgs_ros.synthetic.room import Room
from ccl_lgs_ros.synthetic.shapes import Floats


def clearance(room: Room, place: NDArray[np.floating]) -> float:
    """Metres from a place [2] on the floor to the nearest wall or thing that stands there; 0 within one."""
    to_walls = float((room.size[:2] / 2 - np.abs(place)).min())
    return max(0.0, min([to_walls, *(distance_to(convex(outline), place) for outline in room.obstacles())]))


def distance_to(outline: Floats, place: NDArray[np.floating]) -> float:
    """Metres from a place [2] to a convex outline [n, 2], anticlockwise; 0 inside it."""
    edges = np.roll(outline, -1, axis=0) - outline
    away = place - outline
    along = np.clip((away * edges).sum(1) / (edges**2).sum(1), 0.0, 1.0)
    is_inside = (edges[:, 0] * away[:, 1] - edges[:, 1] * away[:, 0] >= 0).all()
    return 0.0 if is_inside else float(np.linalg.norm(away - along[:, None] * edges, axis=1).min())
