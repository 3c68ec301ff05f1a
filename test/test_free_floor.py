# SPDX-License-Identifier: Apache-2.0
"""Exact room for a robot, worked out by hand."""

import numpy as np
import pytest

from ccl_lgs_ros.synthetic.free_floor import clearance, distance_to
from ccl_lgs_ros.synthetic.layout import furnished_room
from ccl_lgs_ros.synthetic.outlines import rectangle


@pytest.mark.parametrize(
    ("place", "metres"), [((0.0, 0.0), 0.0), ((1.5, 0.0), 0.5), ((4.0, 6.0), 5.0), ((0.9, -2.25), 0.25)]
)
def test_distance_to_a_rectangle(place: tuple[float, float], metres: float) -> None:
    assert distance_to(rectangle(1.0, 2.0), np.array(place)) == metres


def test_clearance_counts_walls_furniture_and_what_stands_on_the_floor() -> None:
    room = furnished_room(5)
    x, y = room.size[:2] / 2
    assert clearance(room, np.array([x - 0.1, y - 0.1])) <= 0.1 + 1e-9
    assert clearance(room, np.array([x + 0.1, 0.0])) == 0.0
    assert clearance(room, room.furniture[0][1][:2, 3]) == 0.0
    for item in room.objects:
        if item.z < 0.05:
            assert clearance(room, np.array([item.x, item.y])) == 0.0
