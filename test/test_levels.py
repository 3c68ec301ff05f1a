# SPDX-License-Identifier: Apache-2.0
"""The segments of a level, worked out by hand on 3x3 images."""

import pytest
import torch

from ccl_lgs_ros.masks.levels import label_map
from ccl_lgs_ros.structures import MaskProposals

LEFT, RIGHT = ["XX.", "XX.", "XX."], ["..X", "..X", "..X"]
TOP, ALL, CORNER, NOTHING = ["XXX", "...", "..."], ["XXX", "XXX", "XXX"], ["X..", "...", "..."], ["...", "...", "..."]


def proposals(*rows):
    """Proposals from (picture, predicted IoU, stability, granularity)."""
    masks = [[[cell == "X" for cell in line] for line in picture] for picture, *_ in rows]
    return MaskProposals(
        masks=torch.tensor(masks, dtype=torch.bool).reshape(-1, 3, 3),
        predicted_iou=torch.tensor([row[1] for row in rows], dtype=torch.float32),
        stability=torch.tensor([row[2] for row in rows], dtype=torch.float32),
        granularity=torch.tensor([row[3] for row in rows], dtype=torch.int64),
    )


def segments(*rows, level="sp", min_area_px=1, min_quality=0.3, max_overlap=0.8, max_inner=1.0):
    labels, quality = label_map(
        proposals(*rows),
        level,
        min_area_px=min_area_px,
        min_quality=min_quality,
        max_overlap=max_overlap,
        max_inner=max_inner,
    )
    assert labels.dtype == torch.int32 and quality.dtype == torch.float32
    return labels.tolist(), [round(q, 4) for q in quality.tolist()]


def test_the_better_mask_wins_where_two_overlap():
    labels, quality = segments((LEFT, 0.8, 0.5, 0), (TOP, 1.0, 0.9, 0))
    assert labels == [[0, 0, 0], [1, 1, -1], [1, 1, -1]]
    assert quality == [0.9, 0.4]


def test_quality_is_predicted_iou_times_stability():
    labels, quality = segments((LEFT, 0.9, 0.5, 0), (TOP, 0.6, 0.8, 0))
    assert labels == [[0, 0, 0], [1, 1, -1], [1, 1, -1]]
    assert quality == [0.48, 0.45]


def test_levels_take_their_granularities():
    rows = ((CORNER, 1.0, 1.0, 0), (RIGHT, 1.0, 0.9, 1), (LEFT, 1.0, 0.8, 2))
    assert segments(*rows, level="sp")[0] == [[0, -1, 1], [-1, -1, 1], [-1, -1, 1]]
    assert segments(*rows, level="wp")[0] == [[1, 1, 0], [1, 1, 0], [1, 1, 0]]


def test_a_poor_mask_is_dropped():
    assert segments((LEFT, 0.5, 0.5, 0)) == ([[-1] * 3] * 3, [])


def test_a_small_mask_is_dropped():
    assert segments((CORNER, 1.0, 1.0, 0), min_area_px=2) == ([[-1] * 3] * 3, [])


def test_a_mask_much_like_a_better_one_is_dropped():
    almost_all = ["XXX", "XXX", "XX."]  # IoU 8/9
    assert segments((ALL, 1.0, 0.9, 0), (almost_all, 1.0, 1.0, 0))[0] == [[0, 0, 0], [0, 0, 0], [0, 0, -1]]
    both = segments((ALL, 1.0, 0.9, 0), (almost_all, 1.0, 1.0, 0), max_overlap=0.9)
    assert both[0] == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_a_mask_like_one_that_was_dropped_itself_stays():
    first, second, third = ["XXX", "XX.", "..."], ["XXX", "XXX", "..."], ["XXX", "XXX", "X.."]  # IoU 5/6, 6/7, 5/7
    labels, quality = segments((first, 1.0, 1.0, 0), (second, 1.0, 0.9, 0), (third, 1.0, 0.8, 0))
    assert labels == [[0, 0, 0], [0, 0, 1], [1, -1, -1]]
    assert quality == [1.0, 0.8]


def test_a_part_poorer_than_the_whole_around_it_vanishes_and_a_better_one_is_cut_out():
    assert segments((ALL, 1.0, 0.9, 0), (CORNER, 1.0, 0.8, 1)) == ([[0] * 3] * 3, [0.9])
    assert segments((ALL, 1.0, 0.8, 0), (CORNER, 1.0, 0.9, 1))[0] == [[0, 1, 1], [1, 1, 1], [1, 1, 1]]


COLUMN = ["X..", "X..", "X.."]


@pytest.mark.parametrize("quality_of_column", [0.8, 1.0])
def test_an_inner_mask_is_dropped_even_if_it_is_the_better_one(quality_of_column):
    # the column lies in the whole by 1 and fills 3/9 of it: 1 - 1 * 1/3 = 0.667
    rows = ((ALL, 1.0, 0.9, 0), (COLUMN, 1.0, quality_of_column, 1))
    assert segments(*rows, max_inner=0.66) == ([[0] * 3] * 3, [0.9])


def test_an_inner_mask_stays_up_to_the_limit_and_where_the_test_is_off():
    rows = ((ALL, 1.0, 0.9, 0), (COLUMN, 1.0, 1.0, 1))
    expected = [[0, 1, 1]] * 3
    assert segments(*rows, max_inner=0.67)[0] == segments(*rows)[0] == expected


def test_a_mask_that_fills_half_of_the_one_around_it_is_not_inner():
    eight, four = ["XXX", "XXX", "XX."], ["XX.", "XX.", "..."]  # 4/8 is not below 0.5
    rows = ((eight, 1.0, 0.9, 0), (four, 1.0, 1.0, 1))
    assert segments(*rows, max_inner=0.5)[1] == [1.0, 0.9]


def test_a_mask_that_reaches_out_of_the_one_around_it_is_not_inner():
    outer, reaching = ["XX.", "XX.", "XXX"], ["..X", "..X", "..X"]  # 1/3 of the second lies in the first
    rows = ((outer, 1.0, 0.9, 0), (reaching, 1.0, 1.0, 1))
    assert segments(*rows, max_inner=0.0)[1] == [1.0, 0.9]


def test_a_mask_in_one_that_was_dropped_stays():
    almost_all = ["XXX", "XXX", "XX."]  # IoU 8/9 with the whole, so that the whole goes
    rows = ((almost_all, 1.0, 1.0, 0), (ALL, 1.0, 0.9, 0), (["...", "...", "..X"], 1.0, 0.8, 1))
    assert segments(*rows, max_inner=0.5)[1] == [1.0, 0.8]


def test_a_mask_hidden_below_the_least_area_is_dropped():
    assert segments((LEFT, 1.0, 0.8, 0), (["XX.", "XX.", "X.."], 1.0, 1.0, 0), min_area_px=2, max_overlap=0.9) == (
        [[0, 0, -1], [0, 0, -1], [0, -1, -1]],
        [1.0],
    )


def test_the_order_of_proposals_changes_nothing():
    rows = [(LEFT, 0.8, 0.5, 0), (TOP, 1.0, 0.9, 1), (RIGHT, 0.9, 0.7, 0), (CORNER, 0.9, 0.6, 0)]
    assert segments(*rows) == segments(*rows[::-1])


@pytest.mark.parametrize("level", ["sp", "wp"])
def test_no_proposals_give_no_segments(level):
    assert segments(level=level) == ([[-1] * 3] * 3, [])


def test_an_empty_mask_gives_no_segment():
    assert segments((NOTHING, 1.0, 1.0, 0))[1] == []


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="level"):
        segments((ALL, 1.0, 1.0, 0), level="xl")
