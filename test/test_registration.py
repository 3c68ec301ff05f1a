# SPDX-License-Identifier: Apache-2.0
"""Laws of the vote table: exact while it has room, bounded when it has not."""

import pytest
import torch
from mini_scene import cpu_seconds, votes_of
from torch import Tensor

from ccl_lgs_ros.field.registration import RegistrationLifter
from ccl_lgs_ros.structures import NONE, Votes, VoteTable


def lifter(slots: int, min_confidence: float = 0.3, min_labelled: float = 0.2) -> RegistrationLifter:
    return RegistrationLifter(slots=slots, min_confidence=min_confidence, min_labelled=min_labelled)


def votes_from(dense: Tensor) -> Votes:
    """The votes of one view given as [N, T] weights, 0 for none; all that is seen is labelled."""
    gaussian, label = torch.nonzero(dense, as_tuple=True)
    return Votes(gaussian=gaussian, label=label, weight=dense[gaussian, label], visibility=dense.sum(dim=1))


def random_views(count: int, num_gaussians: int, num_tracks: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (num_gaussians, num_tracks)
    return [
        torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.2) for _ in range(count)
    ]


def accumulated(views: list[Tensor], slots: int) -> VoteTable:
    table = VoteTable.empty(len(views[0]), slots)
    for view in views:
        table = lifter(slots).accumulate(table, votes_from(view))
    return table


def dense_from(table: VoteTable, num_tracks: int) -> Tensor:
    dense = torch.zeros(len(table.lost), num_tracks)
    row, slot = torch.nonzero(table.track != NONE, as_tuple=True)
    dense[row, table.track[row, slot].long()] = table.weight[row, slot]
    return dense


def test_two_views_of_three_gaussians_add_up_by_hand():
    table = VoteTable.empty(3, 2)
    table = lifter(2).accumulate(table, votes_from(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.25, 0.0], [0.0, 0.0, 0.0]])))
    table = lifter(2).accumulate(table, votes_from(torch.tensor([[0.0, 3.0, 0.0], [0.0, 0.0, 0.125], [0.0, 0.0, 0.0]])))
    assert table.track.tolist() == [[1, 0], [0, 1], [NONE, NONE]]
    assert table.weight.tolist() == [[3.0, 1.0], [0.5, 0.25], [0.0, 0.0]]
    assert table.lost.tolist() == [0.0, 0.125, 0.0]
    assert table.visibility.tolist() == [4.0, 0.875, 0.0]


def test_a_table_with_room_for_all_tracks_is_exact():
    views = random_views(6, 50, 8)
    table = accumulated(views, slots=8)
    torch.testing.assert_close(dense_from(table, 8), sum(views))
    assert not table.lost.any()


def test_every_true_sum_lies_within_the_weight_and_what_was_lost():
    views = random_views(30, 60, 20)
    table, true = accumulated(views, slots=3), sum(views)
    held = dense_from(table, 20)
    assert table.lost.any()
    assert (held <= true + 1e-4).all()
    assert (true <= held + table.lost[:, None] + 1e-4).all()


def test_a_track_that_holds_most_votes_of_a_gaussian_is_never_lost():
    generator = torch.Generator().manual_seed(1)
    views = []
    for _ in range(40):
        view = torch.zeros(30, 50)
        view[torch.arange(30), torch.randint(1, 50, (30,), generator=generator)] = 1.0
        view[:, 0] = 1.5
        views.append(view)
    assert (accumulated(views, slots=4).track[:, 0] == 0).all()


def test_rows_are_heaviest_first_and_filled_from_the_left():
    table = accumulated(random_views(10, 60, 20), slots=5)
    assert (table.weight.diff(dim=1) <= 0).all()
    assert ((table.track == NONE) == (table.weight == 0)).all()


def test_the_order_of_views_does_not_matter_while_there_is_room():
    views = random_views(6, 40, 8)
    forth, back = accumulated(views, slots=8), accumulated(views[::-1], slots=8)
    torch.testing.assert_close(dense_from(forth, 8), dense_from(back, 8))


def test_gaussians_without_votes_keep_their_rows_and_the_given_table_is_not_written_to():
    before = accumulated(random_views(3, 10, 5), slots=3)
    copies = [before.track.clone(), before.weight.clone(), before.lost.clone(), before.visibility.clone()]
    view = torch.zeros(10, 5)
    view[4, 2] = 1.0
    after = lifter(3).accumulate(before, votes_from(view))
    others = torch.arange(10) != 4
    assert torch.equal(after.track[others], before.track[others])
    assert torch.equal(after.weight[others], before.weight[others])
    for old, now in zip(copies, [before.track, before.weight, before.lost, before.visibility], strict=True):
        assert torch.equal(old, now)


def test_a_view_that_shows_nothing_changes_nothing():
    table = accumulated(random_views(2, 10, 5), slots=3)
    after = lifter(3).accumulate(table, votes_of(torch.full((10,), NONE), torch.zeros(10, dtype=torch.bool)))
    assert torch.equal(after.track, table.track)
    assert torch.equal(after.visibility, table.visibility)


def test_confidence_is_the_share_of_the_winner():
    table = accumulated([torch.tensor([[3.0, 1.0], [1.0, 0.0], [0.0, 0.0]])], slots=2)
    track, confidence = lifter(2).resolve(table)
    assert track.dtype == torch.int32 and confidence.dtype == torch.uint8
    assert track.tolist() == [0, 0, NONE]
    assert confidence.tolist() == [191, 255, 0]


def test_an_undecided_gaussian_has_no_track():
    table = accumulated([torch.ones(1, 4)], slots=4)
    assert lifter(4, min_confidence=0.3).resolve(table)[0].tolist() == [NONE]
    assert lifter(4, min_confidence=0.2).resolve(table)[0].tolist() != [NONE]


@pytest.mark.parametrize(("unlabelled_views", "expected"), [(3, 0), (5, NONE)])
def test_a_gaussian_that_most_views_leave_unlabelled_has_no_track(unlabelled_views, expected):
    table = lifter(2).accumulate(VoteTable.empty(1, 2), votes_of(torch.tensor([0])))
    for _ in range(unlabelled_views):
        table = lifter(2).accumulate(table, votes_of(torch.tensor([NONE])))
    assert lifter(2, min_labelled=0.2).resolve(table)[0].tolist() == [expected]


def test_100_000_gaussians_take_300_000_votes_well_within_a_second():
    generator = torch.Generator().manual_seed(0)
    table = VoteTable.empty(100_000, 6)
    keys = torch.randperm(100_000 * 40, generator=generator)[:300_000].sort().values
    votes = Votes(
        gaussian=keys // 40,
        label=keys % 40,
        weight=torch.rand(300_000, generator=generator) + 0.01,
        visibility=torch.ones(100_000),
    )
    shifted = Votes(gaussian=votes.gaussian, label=votes.label + 7, weight=votes.weight, visibility=votes.visibility)
    table = lifter(6).accumulate(table, votes)
    assert cpu_seconds(lambda: lifter(6).accumulate(table, shifted)) < 0.7


def test_what_a_view_hardly_shows_has_no_vote_in_it() -> None:
    votes = Votes(
        gaussian=torch.tensor([0, 1]),
        label=torch.tensor([3, 3]),
        weight=torch.tensor([2.0, 0.4]),
        visibility=torch.tensor([2.0, 0.4]),
    )
    gated = RegistrationLifter(slots=2, min_confidence=0.5, min_labelled=0.4, min_visibility=0.5)
    table = gated.accumulate(VoteTable.empty(2, 2), votes)
    assert table.visibility.tolist() == [2.0, 0.0]
    assert gated.resolve(table)[0].tolist() == [3, -1]
    free = RegistrationLifter(slots=2, min_confidence=0.5, min_labelled=0.4)
    assert free.resolve(free.accumulate(VoteTable.empty(2, 2), votes))[0].tolist() == [3, 3]
