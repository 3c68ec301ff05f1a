# SPDX-License-Identifier: Apache-2.0
"""Masks, boxes, heat, captions and sheets show what they should, by their pixels."""

import numpy as np
import pytest

from ccl_lgs_ros import lettering
from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.boxes_in_pictures import BOX_COLOUR, EDGES, DrawnBox, hidden_edges, with_box, with_boxes
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.lettering import ink, line_height, text_width, wrapped
from ccl_lgs_ros.pictures import INK, MASK_COLOUR, PAPER, beside, captioned, heat, legend, with_mask

CAMERA = Camera(width=200, height=150, fx=150.0, fy=150.0, cx=100.0, cy=75.0)
LONG = 'the largest cup beside "Donaudampfschifffahrtsgesellschaftskapitänsmütze" on the left of it'


def cube(x: float = 0.0, y: float = 0.0, z: float = 4.0, size: float = 1.0) -> Box:
    return Box(center=np.array([x, y, z]), rotation=np.eye(3), size=np.full(3, size))


def grey(height: int = 150, width: int = 200) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def count_of(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((image == colour).all(axis=-1).sum())


def test_a_mask_is_tinted_inside_outlined_and_nothing_else_is_touched() -> None:
    mask = np.zeros((150, 200), bool)
    mask[40:80, 50:100] = True
    shown = with_mask(grey(), mask)
    inside = shown[45:75, 55:95]
    assert (inside == (0.6 * 100 + 0.4 * np.array(MASK_COLOUR)).astype(np.uint8)).all()
    assert (shown[40, 60] == MASK_COLOUR).all()
    assert (shown[:37] == 100).all() and (shown[:, 104:] == 100).all()
    plain = with_mask(grey(), mask, is_tinted=False)
    assert (plain[60, 75] == 100).all() and (plain[40, 60] == MASK_COLOUR).all()


@pytest.mark.parametrize(
    ("viewer", "count"), [((0, 0, -9), 8), ((9, 0, -9), 5), ((9, 9, -9), 3), ((0, 0, 0), 12)], ids=str
)
def test_a_box_hides_the_edges_behind_its_seen_sides(viewer: tuple[int, int, int], count: int) -> None:
    hidden = hidden_edges(cube(z=0.0), np.array(viewer, float))
    assert hidden.sum() == count
    near = [place for place, (a, b) in enumerate(EDGES) if not a >> 2 & 1 and not b >> 2 & 1]  # at the least z
    assert not hidden[near].any() or count == 12


def test_what_a_turned_box_hides_turns_with_it() -> None:
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    box = Box(center=np.array([1.0, 2.0, 3.0]), rotation=turn, size=np.array([1.0, 2.0, 3.0]))
    plain = Box(center=np.zeros(3), rotation=np.eye(3), size=box.size)
    viewer = np.array([5.0, 1.0, -4.0])
    assert (hidden_edges(box, box.center + turn @ viewer) == hidden_edges(plain, viewer)).all()


def test_edges_in_front_are_drawn_thicker_than_those_behind() -> None:
    shown = with_box(grey(), cube(), CAMERA, np.eye(4))
    yellow = (shown[75, :, 0].astype(int) - shown[75, :, 2]) / (BOX_COLOUR[0] - BOX_COLOUR[2])  # across the middle
    front, back = round(100 - 150 * 0.5 / 3.5), round(100 - 150 * 0.5 / 4.5)  # where the upright edges are
    assert 1.8 < yellow[front - 4 : front + 3].sum() < 3.5
    assert 0.5 < yellow[back - 1 : back + 3].sum() < 1.5


def test_a_box_behind_the_camera_is_not_drawn_and_one_around_it_does_not_fail() -> None:
    assert (with_box(grey(), cube(z=-4.0), CAMERA, np.eye(4), "behind") == 100).all()
    assert with_box(grey(), cube(z=0.2), CAMERA, np.eye(4), "around").shape == (150, 200, 3)


@pytest.mark.parametrize("x", [-2.6, 0.0, 2.6])
@pytest.mark.parametrize("y", [-2.0, 0.0, 2.0])
def test_a_label_stays_whole_in_the_picture(x: float, y: float) -> None:
    shown = with_box(grey(), cube(x, y), CAMERA, np.eye(4), "a red mug 0.95", colour=(0, 255, 0))
    rows, columns = np.nonzero((shown == (0, 255, 0)).all(axis=-1))
    patch = shown[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    is_patch = ((shown == (0, 255, 0)).all(axis=-1) | (shown.max(axis=-1) - shown.min(axis=-1) > 30)).sum()
    assert is_patch >= 0.95 * text_width("a red mug 0.95", 13) * line_height(13), patch.shape


def test_labels_of_boxes_at_one_place_are_moved_apart() -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
    boxes = [DrawnBox(cube(y=-1.9, size=0.4), f"box {i}", colour) for i, colour in enumerate(colours)]
    shown = with_boxes(grey(), boxes, CAMERA, np.eye(4))
    alone = [count_of(with_boxes(grey(), [box], CAMERA, np.eye(4)), box.colour) for box in boxes]
    for box, count in zip(boxes, alone, strict=True):
        assert count_of(shown, box.colour) > 0.5 * count


def test_heat_is_grey_where_nothing_is_relevant_and_red_where_everything_is() -> None:
    coloured = np.zeros((4, 4, 3), np.uint8) + np.array([200, 60, 20], np.uint8)
    cold, warm = heat(np.zeros((4, 4)), coloured), heat(np.ones((4, 4)), coloured)
    assert np.ptp(cold[0, 0]) == 0
    assert warm[0, 0, 0] > warm[0, 0, 1] + 50 and warm[0, 0, 0] > warm[0, 0, 2] + 50


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.98])
def test_the_legend_runs_from_one_to_zero_and_marks_the_threshold(threshold: float) -> None:
    shown = legend(240, threshold)
    bar = slice(10, 24)
    between = heat(np.array([[0.99, 0.01]]), np.full((1, 2, 3), 128, np.uint8))[0].astype(int)
    assert np.abs(shown[19, bar].astype(int) - between[0]).max() < 25 or threshold > 0.9
    assert np.abs(shown[220, bar].astype(int) - between[1]).max() < 25 or threshold == 0.0
    marked = np.flatnonzero((shown[:, bar] == INK).all(axis=(1, 2)))
    assert abs(marked.mean() - (15 + (1 - threshold) * 209)) <= 1.5
    assert (shown[[0, -1]] == PAPER).all()  # no letter touches the border


@pytest.mark.parametrize("width", [80, 200, 800])
def test_a_wrapped_text_has_all_its_letters_and_fits(width: int) -> None:
    lines = wrapped(LONG, width, 15)
    assert "".join(lines).replace(" ", "") == LONG.replace(" ", "")
    assert all(text_width(line, 15) <= width for line in lines)
    assert wrapped("two\nlines", 800, 15) == ["two", "lines"]


@pytest.mark.parametrize("is_above", [True, False])
def test_a_caption_loses_no_ink(is_above: bool) -> None:
    shown = captioned(grey(), LONG, 15, is_above=is_above)
    bar = shown[:-150] if is_above else shown[150:]
    drawn = (bar[..., 0].astype(float) - PAPER[0]) / (INK[0] - PAPER[0])
    expected = sum(ink(line, 15).astype(float).sum() / 255.0 for line in wrapped(LONG, 188, 15))
    assert drawn.sum() == pytest.approx(expected, rel=0.02)
    assert ((shown[-150:] if is_above else shown[:150]) == 100).all()


@pytest.mark.parametrize(("left", "top"), [(230, 10), (10, 170), (-90, 10), (10, -40)], ids=str)
def test_a_text_beside_the_picture_leaves_it_alone(left: int, top: int) -> None:
    image = grey()
    lettering.write(image, "far away", left, top, 15, INK)
    assert (image == 100).all()


def test_letters_are_not_cut_at_the_top_or_the_bottom() -> None:
    cover = ink("ÄgjpqyÅ|", 15)
    assert not cover[0].any() and not cover[-1].any()
    assert cover.any()


def test_letters_that_pillows_own_font_lacks_come_from_another() -> None:
    if len(lettering._fonts()) == 1:
        pytest.skip("this machine has no font beside Pillow's own")
    assert not np.array_equal(ink("ö", 20), ink(lettering.UNKNOWN, 20))
    assert not np.array_equal(ink("ж", 20), ink("я", 20))


def test_a_letter_that_no_font_has_is_drawn_as_something() -> None:
    assert ink("\U0001f9ff", 20).any()


def test_sheets_keep_every_picture_whole() -> None:
    red, green = np.full((10, 20, 3), (255, 0, 0), np.uint8), np.full((14, 12, 3), (0, 255, 0), np.uint8)
    row = beside(red, green, gap=3)
    assert row.shape == (14, 35, 3)
    sheet = beside(red, green, red, columns=2, gap=1)
    assert sheet.shape == (14 + 1 + 10, 20 + 1 + 12, 3)
    assert count_of(sheet, (255, 0, 0)) == 400 and count_of(sheet, (0, 255, 0)) == 168
