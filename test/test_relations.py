# SPDX-License-Identifier: Apache-2.0
"""Relations and choices, worked out by hand for things that stand in a world with any up."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from placed_things import UPS, Place, World, shell, table

from ccl_lgs_ros.query.choices import ordered
from ccl_lgs_ros.query.placed import is_same
from ccl_lgs_ros.query.relations import YES, ramp, relate
from ccl_lgs_ros.query.viewpoint import standing_at, where_from
from ccl_lgs_ros.query.wording import RELATIONS

SOUTH, NORTH = (0.0, -3.0, np.pi / 2), (0.0, 3.0, -np.pi / 2)  # stand there, look at the middle
Points = NDArray[np.float64]


def mug(x: float, y: float, z: float = 0.0) -> Points:
    return shell((x, y, z), (0.12, 0.12, 0.12))


def box(x: float, y: float, z: float = 0.0, size: Place = (0.4, 0.4, 0.4)) -> Points:
    return shell((x, y, z), size, is_open=True)


def shelf() -> Points:
    """Three boards of 1 x 0.4 metres between two sides and a back."""
    boards = [shell((0, 0, z), (1.0, 0.4, 0.03)) for z in (0.1, 0.6, 1.1)]
    sides = [shell((x, 0, 0), (0.03, 0.4, 1.13)) for x in (-0.5, 0.5)]
    return np.concatenate([*boards, *sides, shell((0, 0.2, 0), (1.0, 0.02, 1.13))])


WALL = shell((0, 0.05, 0), (4.0, 0.1, 2.5))
PICTURE = shell((0, -0.015, 1.2), (0.6, 0.03, 0.4))

CASES = [
    # relation, thing, anchor, whether it holds, who looks
    ("on", mug(0.2, 0.1, 0.70), table(0, 0), True),
    ("on", mug(0.2, 0.1, 0.74), table(0, 0), True),  # its foot was not seen
    ("on", mug(0.59, 0.0, 0.70), table(0, 0), True),  # half over the edge
    ("on", mug(0.2, 0.1, 0.0), table(0, 0), False),
    ("on", mug(0.2, 0.1, 1.0), table(0, 0), False),
    ("on", mug(0.9, 0.1, 0.70), table(0, 0), False),
    ("on", table(0, 0), mug(0.2, 0.1, 0.70), False),
    ("on", mug(0.2, 0.0, 0.63), shelf(), True),  # the middle board
    ("on", PICTURE, WALL, True),  # hangs there
    ("on", box(0, -0.21), WALL, False),  # stands in front of it
    ("under", mug(0.2, 0.1), table(0, 0), True),
    ("under", mug(0.2, 0.1, 0.70), table(0, 0), False),
    ("under", mug(2.0, 0.1), table(0, 0), False),
    ("under", table(0, 0), mug(0.2, 0.1, 0.70), True),
    ("under", mug(0.2, 0.0, 0.63), shelf(), False),
    ("under", shell((0, 0, 0.63), (0.3, 0.2, 0.04)), shelf(), False),  # a book on the board
    ("above", shell((0, 0, 1.5), (0.3, 0.3, 0.3)), table(0, 0), True),
    ("above", mug(0.2, 0.1), table(0, 0), False),
    ("above", shell((2, 0, 1.5), (0.3, 0.3, 0.3)), table(0, 0), False),
    ("in", mug(0.05, 0.05, 0.02), box(0, 0), True),
    ("in", shell((0, 0, 0.05), (0.3, 0.3, 0.5)), box(0, 0), True),  # higher than its rim
    ("in", mug(0.05, 0.05, 0.4), box(0, 0), False),  # on its lid
    ("in", mug(0.3, 0.0), box(0, 0), False),
    ("in", mug(0.2, 0.1), table(0, 0), False),
    ("in", mug(0.2, 0.0, 0.63), shelf(), True),
    ("next to", mug(0.4, 0.0), mug(0, 0), True),
    ("next to", mug(0.8, 0.0), mug(0, 0), False),
    ("next to", mug(0.0, 0.0, 0.4), box(0, 0), False),  # on it
    ("next to", mug(0.3, 0.0, 1.0), mug(0, 0), False),  # far above
    ("next to", box(1.0, 0.0), table(0, 0), True),
    ("near", mug(0.8, 0.0), mug(0, 0), True),
    ("near", mug(2.0, 0.0), mug(0, 0), False),
    ("against", box(0, -0.21), WALL, True),
    ("against", box(0, -0.5), WALL, False),
    ("against", mug(0.2, 0.1, 0.70), table(0, 0), False),
    ("left of", mug(-0.5, 0.0), box(0, 0), True, SOUTH),
    ("left of", mug(0.5, 0.0), box(0, 0), False, SOUTH),
    ("left of", mug(0.5, 0.0), box(0, 0), True, NORTH),
    ("left of", mug(-0.5, 0.1), table(0, 0), False, SOUTH),  # over it
    ("right of", mug(0.5, 0.2), box(0, 0), True, SOUTH),
    ("right of", mug(0.0, 0.6), box(0, 0), False, SOUTH),
    ("in front of", mug(0.1, -0.6), box(0, 0), True, SOUTH),
    ("in front of", mug(0.1, -0.6), box(0, 0), False, NORTH),
    ("in front of", mug(0.5, -0.5), table(0, 0), True, SOUTH),  # of its right end
    ("behind", mug(0.1, -0.6), box(0, 0), True, NORTH),
    ("behind", mug(0.8, 0.0), box(0, 0), False, NORTH),
]


@pytest.mark.parametrize("up", UPS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[3]}")
def test_a_relation_holds_where_people_say_so(case: tuple, up: Points) -> None:
    relation, thing, anchor, holds, *stand = case
    world = World(up=up)
    a, b = world.place(thing, anchor)
    score = relate(relation, a, [[b]], world.viewer(*stand[0]) if stand else None)
    assert 0.0 <= score <= 1.0
    assert (score >= YES) == holds, score


@pytest.mark.parametrize("up", UPS, ids=str)
def test_between_is_where_the_two_are_on_opposite_sides(up: Points) -> None:
    lamp, door, middle, off = World(up=up).place(mug(-1, 0), mug(1.5, 0), mug(0.1, 0.1), mug(0.1, 1.5))
    assert relate("between", middle, [[lamp], [door]], None) >= YES
    assert relate("between", middle, [[lamp, door]], None) >= YES  # "between the mugs"
    assert relate("between", off, [[lamp], [door]], None) < YES
    assert relate("between", lamp, [[middle], [door]], None) < YES
    assert relate("between", middle, [[lamp], [lamp]], None) == 0.0  # not between a thing and itself


def test_every_relation_of_the_grammar_has_a_geometry() -> None:
    world = World(up=UPS[0])
    a, b = world.place(mug(0, 0), mug(1, 0))
    for relation in set(RELATIONS.values()):
        assert 0.0 <= relate(relation, a, [[b], [b]] if relation == "between" else [[b]], world.viewer(*SOUTH)) <= 1.0


def test_the_best_anchor_counts_and_nothing_is_next_to_itself() -> None:
    one, far, close = World(up=UPS[0]).place(mug(0, 0), mug(5, 0), mug(0.3, 0))
    assert relate("next to", one, [[far, close]], None) >= YES
    assert relate("next to", one, [[one]], None) == 0.0
    assert is_same(one.instance, replace(one.instance, gaussian_ids=one.instance.gaussian_ids[::3]))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("largest", [2, 1, 0, 3]),
        ("smallest", [3, 0, 1, 2]),
        ("tallest", [3, 2, 1, 0]),
        ("shortest", [0, 1, 2, 3]),
        ("highest", [0, 3, 2, 1]),
        ("lowest", [1, 2, 3, 0]),
        ("leftmost", [1, 3, 0, 2]),
        ("rightmost", [2, 0, 3, 1]),
        ("nearest", [0, 3, 1, 2]),
        ("farthest", [2, 1, 3, 0]),
    ],
)
@pytest.mark.parametrize("up", UPS, ids=str)
def test_choices_put_things_in_order(choice: str, expected: list[int], up: Points) -> None:
    world = World(up=up)
    shapes = [
        shell((0.2, -1.0, 1.0), (0.2, 0.2, 0.1)),
        shell((-1.0, 0.5, 0.0), (0.3, 0.3, 0.2)),
        shell((2.0, 1.5, 0.0), (0.5, 0.5, 0.5)),
        shell((-0.2, 0.0, 0.0), (0.04, 0.04, 0.6)),
    ]
    order = ordered(choice, world.place(*shapes), [], world.viewer(*SOUTH))
    assert [thing.instance.id for thing in order] == expected


def test_the_nearest_is_measured_between_surfaces() -> None:
    wide, small, anchor = World(up=UPS[0]).place(
        shell((-1.2, 0, 0), (2.0, 0.2, 0.2)), mug(0.8, 0), shell((0.2, 0, 0), (0.2, 0.2, 0.2))
    )
    assert [t.instance.id for t in ordered("nearest", [small, wide], [anchor], None)] == [0, 1]
    assert [t.instance.id for t in ordered("farthest", [wide, small], [anchor], None)] == [1, 0]


def test_a_viewer_turns_to_what_is_behind() -> None:
    world = World(up=UPS[0])
    things = world.place(mug(-0.3, -5), mug(0.3, -5))
    order = ordered("leftmost", things, [], world.viewer(*SOUTH))
    assert [thing.instance.id for thing in order] == [1, 0]


@pytest.mark.parametrize("tilt", [0.0, 0.5, np.pi / 2])
def test_left_is_left_however_the_camera_looks_down(tilt: float) -> None:
    world = World(up=UPS[0])
    things = world.place(mug(-0.3, 0), mug(0.3, 0))
    pose = standing_at(np.array([0, -1.0, 2.0]), np.pi / 2, UPS[0])
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    pose[:3, :3] = pose[:3, :3] @ turn  # about the camera's own x
    view = where_from(UPS[0], torch.zeros(1, 3), pose, None)(things)
    assert view.forward @ (0.0, 1.0) == pytest.approx(1.0)
    assert [thing.instance.id for thing in ordered("leftmost", things, [], view)] == [0, 1]


def test_without_any_viewer_it_is_the_middle_of_the_map() -> None:
    things = World(up=UPS[0]).place(mug(3.0, 1.0), mug(3.0, -1.0))
    view = where_from(UPS[0], torch.zeros(5, 3), None, None)(things)
    assert view.said == "as seen from the middle of the map"
    assert [thing.instance.id for thing in ordered("leftmost", things, [], view)] == [0, 1]


def test_a_ramp_falls_either_way() -> None:
    assert [ramp(x, 1.0, 3.0) for x in (0.0, 1.0, 2.0, 3.0, 9.0)] == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert [ramp(x, 3.0, 1.0) for x in (0.0, 1.0, 2.0, 3.0, 9.0)] == [0.0, 0.0, 0.5, 1.0, 1.0]
