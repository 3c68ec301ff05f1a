# SPDX-License-Identifier: Apache-2.0
"""Questions with true answers: verdicts worked out by hand, and questions of a room held against its geometry."""

from functools import cache

import numpy as np
import pytest

from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.synthetic.outlines import rectangle
from ccl_lgs_ros.synthetic.questions import Question, questions
from ccl_lgs_ros.synthetic.scene import Scene, make_room_scene
from ccl_lgs_ros.synthetic.standing import PLAIN, VIEWED, Standing, extent_seen, is_between

# At the origin, looking along +x: the axes of a camera are right, down, forward.
VIEWER = rigid(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))


def block(x: float, y: float, low: float = 0.0, *, side: float = 0.2, height: float = 0.2) -> Standing:
    """A box with its middle at x, y."""
    outline, high = rectangle(side / 2, side / 2) + [x, y], low + height
    return Standing(id=1, name="box", outline=outline, low=low, high=high, supports=(high,), is_open_below=False)


TABLE = Standing(
    id=9, name="table", outline=rectangle(0.6, 0.4), low=0.0, high=0.6, supports=(0.6,), is_open_below=True
)


@pytest.mark.parametrize(
    ("relation", "thing", "anchor", "verdict"),
    [
        ("on", block(0, 0, 0.6), TABLE, True),
        ("on", block(0, 0, 0.0), TABLE, False),
        ("on", block(2, 0, 0.6), TABLE, False),
        ("on", block(0, 0, 0.8), TABLE, None),  # on something that is on it
        ("under", block(0, 0, 0.0), TABLE, True),
        ("under", block(0, 0, 0.6), TABLE, False),
        ("under", block(0.6, 0, 0.0), TABLE, None),  # half of it
        ("next to", block(0.3, 0), block(0, 0), True),
        ("next to", block(2, 0), block(0, 0), False),
        ("next to", block(0.8, 0), block(0, 0), None),
        ("next to", block(0.3, 0, 0.15), block(0, 0), True),
        ("next to", block(0.3, 0, 1.5), block(0, 0), False),
    ],
)
def test_a_verdict_is_yes_no_or_too_close_to_call(
    relation: str, thing: Standing, anchor: Standing, verdict: bool | None
) -> None:
    assert PLAIN[relation](thing, anchor) is verdict


@pytest.mark.parametrize(
    ("relation", "at"),
    [("left of", (3.0, 1.0)), ("right of", (3.0, -1.0)), ("behind", (4.0, 0.0)), ("in front of", (2.0, 0.0))],
)
def test_left_is_where_the_viewer_has_it(relation: str, at: tuple[float, float]) -> None:
    verdicts = {name: towards(block(*at), block(3.0, 0.0), VIEWER) for name, towards in VIEWED.items()}
    assert verdicts == {name: name == relation for name in VIEWED}


def test_what_is_half_left_and_half_behind_is_neither_for_sure() -> None:
    diagonal = block(3.7, 0.7)
    assert VIEWED["left of"](diagonal, block(3.0, 0.0), VIEWER) is None
    assert VIEWED["behind"](diagonal, block(3.0, 0.0), VIEWER) is None
    assert VIEWED["right of"](diagonal, block(3.0, 0.0), VIEWER) is False


def test_between_is_on_the_line_of_two() -> None:
    assert is_between(block(1, 0.05), block(0, 0), block(2, 0)) is True
    assert is_between(block(3, 0), block(0, 0), block(2, 0)) is False
    assert is_between(block(1, 0.6), block(0, 0), block(2, 0)) is None


def test_angles_grow_to_the_right() -> None:
    left, right = extent_seen(block(3, 1), VIEWER), extent_seen(block(3, -1), VIEWER)
    assert left[0] < left[1] < 0 < right[0] < right[1]


@cache
def scene() -> Scene:
    return make_room_scene(5, width=80, height=60, twins_touch=True)


@cache
def asked(by_colour: bool) -> list[Question]:
    return questions(scene(), 0, by_colour=by_colour, per_sort=6)


def test_the_same_seed_asks_the_same_and_each_text_once() -> None:
    first, second = asked(True), questions(scene(), 0, by_colour=True, per_sort=6)
    assert [q.text for q in first] == [q.text for q in second]
    assert len({(q.text, q.sort) for q in first}) == len(first) >= 10


def test_by_colour_nothing_without_a_colour_is_named() -> None:
    furniture = {piece.name for piece, _ in scene().room.furniture}
    assert not any(furniture & set(q.text.split()) for q in asked(True))
    assert any(furniture & set(q.text.split()) for q in asked(False))


def test_answers_are_objects_of_the_name_and_few_questions_have_none() -> None:
    found = asked(False)
    kind_of = {item.id: item.kind for item in scene().room.objects}
    for question in found:
        assert all(kind_of[number] in question.text for number in question.objects)
        assert bool(question.part) == (question.sort == "part")
    absent = [question for question in found if not question.objects]
    assert 0 < len(absent) <= 0.4 * len(found)


def test_a_thing_on_a_table_has_its_height() -> None:
    tops = {
        height
        for piece, _ in scene().room.furniture
        if piece.name == "table"
        for height in [piece.surfaces[0].center[2]]
    }
    found = [q for q in asked(False) if q.sort == "on" and q.text.endswith("table")]
    for question in found:
        for number in question.objects:
            assert any(abs(scene().room.objects[number - 1].z - top) < 1e-6 for top in tops)


def test_by_colour_only_parts_with_a_colour_of_their_own_are_asked_for() -> None:
    assert not any(question.part for question in asked(True))
    two_tone = make_room_scene(5, width=80, height=60, twins_touch=True, two_tone=True)
    parts = [question for question in questions(two_tone, 0, by_colour=True, per_sort=6) if question.part]
    assert len(parts) >= 3
    for question in parts:
        items = [item for item in two_tone.room.objects if item.id in question.objects]
        assert question.text == f"{items[0].family_of(question.part)} {question.part} of the {items[0].category}"
