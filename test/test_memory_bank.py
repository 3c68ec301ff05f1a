# SPDX-License-Identifier: Apache-2.0
"""Which segments join one group of the memory bank, on views made up by hand."""

import itertools

import pytest
import torch
from mini_scene import BLUE, RED, associator, lifter, partition, segments_of, votes_of
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.association.memory_bank import MemoryBankAssociator, front_gaussians
from ccl_lgs_ros.association.tracks import extended, merged, relabelled
from ccl_lgs_ros.protocols import Associator
from ccl_lgs_ros.structures import NONE, Tracks, Votes, VoteTable

LEFT, RIGHT = range(0, 40), range(60, 100)  # of a thing of 100 Gaussians: two ends that no view need show together


def bank(front_share: float = 0.9) -> MemoryBankAssociator:
    return MemoryBankAssociator(min_overlap=0.1, min_votes=1.0, front_share=front_share)


def remembered(*groups: int) -> VoteTable:
    """One vote of each Gaussian for its group, -1 none."""
    votes = votes_of(torch.tensor(groups))
    return lifter().accumulate(VoteTable.empty(len(groups), 4), votes)


def known(count: int) -> Tracks:
    rows = torch.eye(8)[:1].repeat(count, 1)
    return Tracks(features=rows, weight=torch.ones(count), num_segments=torch.ones(count, dtype=torch.int64))


def joined(segment_of_gaussian: list[int], table: VoteTable, num_groups: int) -> list[int]:
    """The group of each segment of a view that shows every Gaussian as of one segment, -1 none."""
    segment = torch.tensor(segment_of_gaussian)
    found = segments_of(RED.repeat(int(segment.max()) + 1, 1))
    return bank(front_share=1.0).associate(found, votes_of(segment), table, known(num_groups)).tolist()


def mapped(who: Associator, views: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[list[int]]]:
    """The group of each Gaussian [200] and of the segments of each view, after views came in this order.

    A view is the segment of each Gaussian and the features of the segments.
    """
    tracks, table, joined = Tracks.empty(8), VoteTable.empty(200, 4), []
    for segment, rows in views:
        found, votes = segments_of(rows), votes_of(segment)
        joined.append(who.associate(found, votes, table, tracks))
        tracks = extended(tracks, found, votes, joined[-1])
        table = lifter().accumulate(table, relabelled(votes, joined[-1]))
    root = who.merge(table, tracks)
    _, table = merged(tracks, table, root)
    return lifter().resolve(table)[0], [root[group].tolist() for group in joined]


def view(*shown: range) -> Tensor:
    segment = torch.full((200,), NONE)
    for number, gaussians in enumerate(shown):
        segment[list(gaussians)] = number
    return segment


def test_three_gaussians_and_two_masks_by_hand():
    table = remembered(0, 0, 1)
    assert joined([0, 0, 1], table, 2) == [0, 1]
    assert joined([1, 1, 0], table, 2) == [1, 0]  # whatever a view calls them
    assert joined([0, 1, 0], table, 2) == [0, 0]  # 1 of 2 each: the first; two masks of a view may join one group
    assert joined([0, 0, 0], table, 2) == [0]  # 2 of 3 against 1 of 3
    assert joined([0, 0, 0], remembered(NONE, NONE, 1), 2) == [1]
    assert joined([0, 0, 1], remembered(NONE, NONE, NONE), 0) == [0, 1]


@pytest.mark.parametrize(("shared", "expected"), [(9, 1), (10, 0)])
def test_a_mask_joins_from_a_tenth_of_its_gaussians_on(shared: int, expected: int):
    assert joined([0] * 100, remembered(*[0] * shared, *[NONE] * (100 - shared)), 1) == [expected]


def test_the_share_is_of_the_mask_and_not_of_the_group():
    assert joined([0, *[NONE] * 99], remembered(*[0] * 100), 1) == [0]


def test_new_groups_are_numbered_without_gaps():
    assert joined([0, 1, 2, 3], remembered(NONE, 0, NONE, NONE), 5) == [5, 0, 6, 7]


def test_a_mask_without_support_in_3d_joins_no_group():
    votes = Votes(
        gaussian=torch.tensor([0]), label=torch.tensor([1]), weight=torch.tensor([0.5]), visibility=torch.ones(1)
    )
    assert bank().associate(segments_of(RED.repeat(2, 1)), votes, remembered(0), known(1)).tolist() == [NONE, NONE]


def test_gaussians_in_front_are_the_heaviest_of_a_segments_own():
    votes = Votes(
        gaussian=torch.tensor([0, 1, 2, 3, 3, 4, 4]),
        label=torch.tensor([0, 0, 0, 0, 1, 0, 1]),
        weight=torch.tensor([6.0, 0.1, 3.0, 2.0, 5.0, 1.0, 1.0]),  # 3 is the other's; 4 is nobody's
        visibility=torch.tensor([6.0, 0.1, 3.0, 7.0, 2.0]),
    )
    gaussian, segment = front_gaussians(votes, 2, front_share=0.9)
    assert gaussian.tolist() == [0, 2, 3] and segment.tolist() == [0, 0, 1]
    gaussian, segment = front_gaussians(votes, 2, front_share=0.01)
    assert gaussian.tolist() == [0, 3] and segment.tolist() == [0, 1]


def test_what_shines_through_from_behind_does_not_join_what_stands_before_it():
    votes = Votes(  # 10 Gaussians of a chair before 30 of a wall that is known already
        gaussian=torch.arange(40),
        label=torch.zeros(40, dtype=torch.int64),
        weight=torch.tensor([1.0] * 10 + [0.03] * 30),
        visibility=torch.tensor([1.0] * 10 + [0.03] * 30),
    )
    table = remembered(*[NONE] * 10, *[0] * 30)
    assert bank().associate(segments_of(RED[None]), votes, table, known(1)).tolist() == [1]


def test_a_thing_that_is_lit_differently_is_one_in_every_order_of_its_views():
    lights = {"day": RED, "dusk": normalize(RED + BLUE, dim=0), "lamp": BLUE}

    def outcomes(who: Associator) -> set[frozenset[frozenset[str]]]:
        found = set()
        for order in itertools.permutations(lights):
            _, groups = mapped(who, [(view(range(100)), lights[light][None]) for light in order])
            number = dict(zip(order, (group for (group,) in groups), strict=True))
            found.add(frozenset(frozenset(x for x in order if number[x] == y) for y in number.values()))
        return found

    assert outcomes(bank()) == {frozenset({frozenset(lights)})}
    assert len(outcomes(associator())) == 2  # dusk goes with whichever came first


def test_cut_and_whole_views_of_three_things_give_one_partition_in_every_order():
    views = [
        (view(range(60), range(60, 120), range(120, 200)), RED.repeat(3, 1)),
        (view(range(120, 180), range(20, 60)), BLUE.repeat(2, 1)),
        (view(range(70, 120), range(130, 200), range(50)), RED.repeat(3, 1)),
        (view(range(60), range(60, 120)), BLUE.repeat(2, 1)),
    ]
    expected = {frozenset(range(60)), frozenset(range(60, 120)), frozenset(range(120, 200))}
    for order in itertools.permutations(views):
        assert partition(mapped(bank(), list(order))[0]) == expected


def test_few_views_far_apart_are_joined_by_a_tenth_of_what_they_share():
    near, far = range(0, 104), range(92, 200)  # 12 of 108
    views = [(view(near), RED[None]), (view(far), BLUE[None])]
    assert partition(mapped(bank(), views)[0]) == {frozenset(range(200))}
    assert len(partition(mapped(associator(), views)[0])) == 2


def test_ends_that_nothing_joined_in_time_stay_two_groups():
    views = [(view(LEFT), RED[None]), (view(RIGHT), RED[None]), (view(range(100)), RED[None])]
    assert len(partition(mapped(bank(), views)[0])) == 2
    assert len(partition(mapped(bank(), [views[2], *views[:2]])[0])) == 1


def test_later_views_put_a_gaussian_right_that_a_first_one_gave_to_another():
    wrong = view(range(110), range(110, 200))
    right = view(range(100), range(100, 200))
    rows = RED.repeat(2, 1)
    expected = {frozenset(range(100)), frozenset(range(100, 200))}
    assert partition(mapped(bank(), [(wrong, rows), (right, rows), (right, rows)])[0]) == expected
