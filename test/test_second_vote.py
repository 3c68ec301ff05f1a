# SPDX-License-Identifier: Apache-2.0
"""Two votes on tracks, in tables of rows written down by hand."""

import pytest
import torch
from torch import Tensor

from ccl_lgs_ros.association.second_vote import agreed

NONE = -1
MUG, BOOK, LEAN = (1.0, 0.0), (0.0, 1.0), (0.8, 0.6)  # the third is a mug by cosine 0.8


def vote(*rows: tuple[int, int, int, tuple[float, float]], fill: bool = True) -> list[int]:
    """Rows are (first, second, keyframe, feature)."""
    first, second, keyframe = (torch.tensor([row[i] for row in rows], dtype=torch.int64) for i in range(3))
    features = torch.tensor([row[3] for row in rows])
    return agreed(first, second, keyframe, features, torch.ones(len(rows)), min_agreement=0.7, fill=fill).tolist()


def test_two_tracks_that_were_followed_into_each_other_become_one() -> None:
    rows = [(0, 5, 0, MUG), (0, 5, 1, MUG), (1, 5, 2, MUG), (1, 5, 3, LEAN)]
    assert vote(*rows) == [0, 0, 0, 0]


def test_tracks_that_nothing_connects_stay_two() -> None:
    assert vote((0, 5, 0, MUG), (0, 5, 1, MUG), (1, 6, 2, MUG), (1, 6, 3, MUG)) == [0, 0, 1, 1]


def test_one_slip_of_the_video_model_joins_nothing() -> None:
    rows = [(0, 5, 0, MUG), (0, 5, 1, MUG), (0, 5, 2, MUG), (1, 5, 3, MUG), (1, 6, 4, MUG), (1, 6, 5, MUG)]
    assert vote(*rows) == [0, 0, 0, 1, 1, 1]


def test_half_of_the_shorter_track_is_not_enough() -> None:
    """Two of its four segments; with a third of five it is 3 / 5."""
    long = [(0, 5, index, MUG) for index in range(4)]
    half = [(1, second, 10 + index, MUG) for index, second in enumerate((5, 5, 6, 6))]
    assert vote(*long, *half)[4:] == [1, 1, 1, 1]
    assert vote(*long, *half, (1, 5, 20, MUG))[4:] == [0, 0, 0, 0, 0]


def test_things_that_look_different_stay_two_however_they_were_followed() -> None:
    rows = [(0, 5, 0, MUG), (0, 5, 1, MUG), (1, 5, 2, BOOK), (1, 5, 3, BOOK)]
    assert vote(*rows) == [0, 0, 1, 1]


def test_things_that_show_in_one_keyframe_stay_two() -> None:
    rows = [(0, 5, 0, MUG), (0, 5, 1, MUG), (1, 5, 2, MUG), (1, 5, 3, MUG), (1, 6, 1, MUG)]
    assert vote(*rows) == [0, 0, 1, 1, 1]


def test_a_thing_cut_in_two_once_in_ten_keyframes_is_one_thing() -> None:
    first = [(0, 5, index, MUG) for index in range(10)]
    second = [(1, 5, 10 + index, MUG) for index in range(9)]
    assert set(vote(*first, *second, (1, 7, 9, MUG))) == {0}
    assert set(vote(*first, *second[:8], (1, 7, 9, MUG))) == {0, 1}  # one of nine is more than a tenth


def test_three_tracks_are_joined_only_if_all_are_apart() -> None:
    """0-1 is the stronger link; 2 shows beside 1 in both of its keyframes, so it cannot join the two."""
    rows = [
        *((0, 5, index, MUG) for index in range(4)),
        *((1, 5, 4 + index, MUG) for index in range(4)),
        (2, 5, 8, MUG),
        (2, 5, 9, MUG),
        (2, 6, 4, MUG),
    ]
    assert vote(*rows) == [0] * 8 + [1] * 3


def test_a_segment_without_a_track_takes_the_one_that_it_was_followed_from() -> None:
    rows = [(0, 5, 0, MUG), (0, 5, 1, MUG), (NONE, 5, 2, LEAN)]
    assert vote(*rows) == [0, 0, 0]
    assert vote(*rows, fill=False) == [0, 0, NONE]


@pytest.mark.parametrize(
    "row",
    [
        (NONE, NONE, 2, MUG),  # the second does not know it either
        (NONE, 6, 2, MUG),  # the second knows it as another thing
        (NONE, 5, 1, MUG),  # the thing is in this keyframe already
        (NONE, 5, 2, BOOK),  # it looks different
    ],
)
def test_a_segment_without_a_track_stays_so_where_it_is_not_sure(row: tuple) -> None:
    assert vote((0, 5, 0, MUG), (0, 5, 1, MUG), row) == [0, 0, NONE]


def test_a_second_track_that_shows_two_things_equally_fills_neither() -> None:
    rows = [(0, 5, 0, MUG), (0, 5, 1, MUG), (1, 5, 0, BOOK), (1, 5, 1, BOOK), (NONE, 5, 2, MUG)]
    assert vote(*rows)[-1] == NONE


def test_two_free_segments_of_one_keyframe_never_get_one_track() -> None:
    rows = [(0, 5, 0, MUG), (0, 5, 1, MUG), (NONE, 5, 2, MUG), (NONE, 5, 2, MUG)]
    assert vote(*rows) == [0, 0, 0, NONE]


def test_what_the_first_put_together_is_never_split_and_numbers_have_no_gaps() -> None:
    generator = torch.Generator().manual_seed(4)
    first = torch.randint(-1, 12, (300,), generator=generator)
    first[first == 3] = NONE
    second = torch.randint(-1, 9, (300,), generator=generator)
    keyframe = torch.arange(300)
    features = torch.nn.functional.normalize(torch.rand(300, 4, generator=generator) + 1, dim=1)
    track = agreed(first, second, keyframe, features, torch.ones(300), min_agreement=0.0)
    for t in torch.unique(first[first != NONE]).tolist():
        assert len(torch.unique(track[first == t])) == 1
    assert sorted(torch.unique(track[track != NONE]).tolist()) == list(range(int(track.max()) + 1))


def test_the_order_of_the_rows_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(5)
    first = torch.arange(40) // 4
    second = first // 2
    keyframe = torch.arange(40)
    features = torch.nn.functional.normalize(torch.rand(40, 4, generator=generator) + 1, dim=1)
    order = torch.randperm(40, generator=generator)

    def track(rows: Tensor) -> Tensor:
        weight = torch.ones(40)
        return agreed(first[rows], second[rows], keyframe[rows], features[rows], weight, min_agreement=0.5)

    assert track(torch.arange(40)).tolist() == (torch.arange(40) // 8).tolist()
    assert track(order).tolist() == track(torch.arange(40))[order].tolist()


def test_no_rows_give_no_rows_and_unequal_ones_are_refused() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert agreed(none, none, none, torch.zeros(0, 3), torch.zeros(0), min_agreement=0.7).tolist() == []
    with pytest.raises(ValueError, match="equally many rows"):
        agreed(none, none, torch.zeros(1), torch.zeros(0, 3), torch.zeros(0), min_agreement=0.7)
