# SPDX-License-Identifier: Apache-2.0
"""Which segments become one track, on views made up by hand: 0 to 9 is one thing, 10 to 19 another, and so on."""

import itertools

import pytest
import torch
from mini_scene import BLUE, GREEN, RED, Mapper, associator, partition, segments_of, votes_of

from ccl_lgs_ros.association.tracks import extended, merged, relabelled, relabelled_table
from ccl_lgs_ros.structures import NONE, Tracks, Votes, VoteTable

SIZE = 100  # Gaussians per thing


def view(*runs: tuple[int, int, int], things: int = 3) -> torch.Tensor:
    """The segment of each Gaussian, from (first Gaussian, one past the last, segment)."""
    segment = torch.full((things * SIZE,), NONE)
    for first, end, number in runs:
        segment[first:end] = number
    return segment


A, B, C = (0, SIZE), (SIZE, 2 * SIZE), (2 * SIZE, 3 * SIZE)
AB = (0, 2 * SIZE)
A_LEFT, A_RIGHT = (0, SIZE // 2), (SIZE // 2, SIZE)


def features(*rows: torch.Tensor) -> torch.Tensor:
    return torch.stack(rows)


def test_the_first_view_makes_a_track_per_segment_numbered_without_gaps():
    mapper = Mapper(3 * SIZE)
    assert mapper.add(view((*A, 0), (*B, 1), (*C, 2)), features(RED, RED, BLUE)).tolist() == [0, 1, 2]
    assert mapper.tracks.num_segments.tolist() == [1, 1, 1]


def test_a_thing_seen_again_keeps_its_track_whatever_its_segment_is_called():
    mapper = Mapper(3 * SIZE)
    mapper.add(view((*A, 0), (*B, 1)), features(RED, RED))
    assert mapper.add(view((*B, 0), (*A, 1)), features(RED, RED)).tolist() == [1, 0]
    assert len(mapper.tracks) == 2


def test_a_segment_without_support_in_3d_joins_no_track():
    mapper = Mapper(3 * SIZE)
    assert mapper.add(view((*A, 0), (SIZE, SIZE + 5, 1)), features(RED, BLUE)).tolist() == [0, NONE]
    assert mapper.add(view((*A, 1)), features(BLUE, RED)).tolist() == [NONE, 0]


def test_a_view_without_segments_is_taken():
    mapper = Mapper(3 * SIZE)
    assert mapper.add(view(), torch.zeros(0, 8)).tolist() == []
    assert len(mapper.tracks) == 0


def test_what_looks_different_in_the_same_place_is_another_track():
    mapper = Mapper(3 * SIZE)
    mapper.add(view((*A, 0)), features(RED))
    assert mapper.add(view((*A, 0)), features(BLUE)).tolist() == [1]


def test_a_thing_that_comes_into_view_little_by_little_is_one_track():
    mapper = Mapper(3 * SIZE)
    for end in range(30, 3 * SIZE, 30):
        seen = torch.zeros(3 * SIZE, dtype=torch.bool)
        seen[max(0, end - 60) : end] = True
        mapper.add(view((0, 3 * SIZE, 0)), features(RED), seen)
    assert len(mapper.tracks) == 1


def test_a_new_thing_that_touches_a_known_one_of_its_colour_is_another_track():
    mapper = Mapper(3 * SIZE)
    mapper.add(view((*A, 0)), features(RED))
    assert mapper.add(view((0, 95, 0), (95, 200, 1)), features(RED, RED)).tolist() == [0, 1]


def test_a_segment_that_spans_two_known_things_does_not_join_them():
    mapper = Mapper(3 * SIZE)
    for _ in range(4):
        mapper.add(view((*A, 0), (*B, 1)), features(RED, RED))
    mapper.add(view((*AB, 0)), features(RED))
    mapper.merge()
    assert partition(mapper.track_of_gaussian()) == {frozenset(range(*A)), frozenset(range(*B))}


def test_two_things_seen_as_one_at_first_are_told_apart_by_later_views():
    mapper = Mapper(3 * SIZE)
    mapper.add(view((*AB, 0)), features(RED))
    for _ in range(4):
        mapper.add(view((*A, 0), (*B, 1)), features(RED, RED))
    mapper.merge()
    assert partition(mapper.track_of_gaussian()) == {frozenset(range(*A)), frozenset(range(*B))}


@pytest.mark.parametrize("first_in_pieces", [True, False])
def test_a_thing_that_few_views_cut_in_pieces_becomes_one(first_in_pieces):
    mapper = Mapper(3 * SIZE)
    pieces = (view((*A_LEFT, 0), (*A_RIGHT, 1)), features(RED, RED))
    whole = (view((*A, 0)), features(RED))
    order = [pieces, pieces, whole, whole, whole, whole] if first_in_pieces else [whole] * 4 + [pieces] * 2
    for segment, rows in order:
        mapper.add(segment, rows)
    mapper.merge()
    assert partition(mapper.track_of_gaussian()) == {frozenset(range(*A))}
    assert len(mapper.tracks) == 1


def test_pieces_of_different_looks_stay_apart():
    mapper = Mapper(3 * SIZE)
    for _ in range(2):
        mapper.add(view((*A_LEFT, 0), (*A_RIGHT, 1)), features(RED, BLUE))
    mapper.merge()
    assert len(mapper.tracks) == 2


def test_a_speck_inside_a_thing_joins_it_at_once():
    mapper = Mapper(3 * SIZE)
    mapper.add(view((*A, 0)), features(RED))
    assert mapper.add(view((0, 85, 0), (85, 100, 1)), features(RED, RED)).tolist() == [0, 0]


def test_a_hidden_thing_gets_no_votes_from_what_hides_it():
    mapper = Mapper(3 * SIZE)
    mapper.add(view((*A, 0), (*B, 1)), features(RED, BLUE))
    seen = torch.ones(3 * SIZE, dtype=torch.bool)
    seen[: SIZE // 2] = False  # B now stands before half of A
    assert mapper.add(view((*A, 0), (*B, 1)), features(RED, BLUE), seen).tolist() == [0, 1]
    assert mapper.table.weight[: SIZE // 2].sum() == SIZE // 2
    assert partition(mapper.track_of_gaussian()) == {frozenset(range(*A)), frozenset(range(*B))}


def test_the_order_of_keyframes_does_not_change_which_gaussians_belong_together():
    seen_left, seen_right = torch.ones(3 * SIZE, dtype=torch.bool), torch.ones(3 * SIZE, dtype=torch.bool)
    seen_left[-SIZE // 2 :] = False
    seen_right[: SIZE // 2] = False
    views = [
        (view((*A, 0), (*B, 1), (*C, 2)), features(RED, BLUE, GREEN), None),
        (view((*C, 0), (*B, 1), (*A, 2)), features(GREEN, BLUE, RED), seen_left),
        (view((*B, 0), (*C, 1)), features(BLUE, GREEN), None),
        (view((*A, 0), (*C, 1)), features(RED, GREEN), seen_right),
    ]
    expected = {frozenset(range(*thing)) for thing in (A, B, C)}
    for order in itertools.permutations(views):
        mapper = Mapper(3 * SIZE)
        for one in order:
            mapper.add(*one)
        mapper.merge()
        assert partition(mapper.track_of_gaussian()) == expected


def test_a_part_of_a_part_is_part_of_the_whole():
    table = VoteTable(
        track=torch.tensor([[2, 1, 0], [2, 1, NONE], [2, NONE, NONE]], dtype=torch.int32),
        weight=torch.tensor([[9.0, 6.0, 2.0], [9.0, 6.0, 0.0], [9.0, 0.0, 0.0]]),
        lost=torch.zeros(3),
        visibility=torch.full((3,), 17.0),
    )
    tracks = Tracks(features=RED.repeat(3, 1), weight=torch.tensor([2.0, 12, 27]), num_segments=torch.tensor([1, 2, 3]))
    assert associator().merge(table, tracks).tolist() == [2, 2, 2]


def test_merging_an_empty_map_is_possible():
    assert associator().merge(VoteTable.empty(0, 4), Tracks.empty(8)).tolist() == []


def test_merging_again_changes_nothing():
    mapper = Mapper(3 * SIZE)
    for rows in ([(*A_LEFT, 0), (*A_RIGHT, 1)], [(*A, 0)], [(*A, 0)]):
        mapper.add(view(*rows), RED.repeat(len(rows), 1))
    mapper.merge()
    assert torch.equal(associator().merge(mapper.table, mapper.tracks), torch.arange(len(mapper.tracks)))


def test_two_tracks_that_become_one_add_up_by_hand():
    tracks = Tracks(features=torch.eye(3), weight=torch.tensor([3.0, 4.0, 1.0]), num_segments=torch.tensor([2, 5, 1]))
    table = VoteTable(
        track=torch.tensor([[1, 0, 2], [2, NONE, NONE]], dtype=torch.int32),
        weight=torch.tensor([[3.0, 2.0, 1.0], [4.0, 0.0, 0.0]]),
        lost=torch.tensor([0.5, 0.0]),
        visibility=torch.tensor([7.0, 4.0]),
    )
    joined, renamed = merged(tracks, table, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(
        joined.features, torch.tensor([[0.9487, 0.0, 0.3162], [0.0, 1.0, 0.0]]), atol=1e-4, rtol=0
    )
    assert joined.weight.tolist() == [4.0, 4.0]
    assert joined.num_segments.tolist() == [2, 5]
    assert renamed.track.tolist() in ([[0, 1, NONE], [0, NONE, NONE]], [[1, 0, NONE], [0, NONE, NONE]])
    assert renamed.weight.tolist() == [[3.0, 3.0, 0.0], [4.0, 0.0, 0.0]]
    assert renamed.lost.tolist() == [1.0, 0.0]


def test_renaming_tracks_one_to_one_moves_no_weight():
    generator = torch.Generator().manual_seed(0)
    table = VoteTable(
        track=torch.stack([torch.randperm(6, generator=generator)[:4] for _ in range(20)]).to(torch.int32),
        weight=torch.rand(20, 4, generator=generator).sort(dim=1, descending=True).values,
        lost=torch.rand(20, generator=generator),
        visibility=torch.full((20,), 9.0),
    )
    order = torch.randperm(6, generator=generator)
    renamed = relabelled_table(table, order)
    assert torch.equal(renamed.track, order[table.track.long()].to(torch.int32))
    assert torch.equal(renamed.weight, table.weight)
    assert torch.equal(renamed.lost, table.lost)


def test_votes_for_segments_become_votes_for_tracks_by_hand():
    votes = Votes(
        gaussian=torch.tensor([0, 0, 0, 1]),
        label=torch.tensor([0, 1, 2, 2]),
        weight=torch.tensor([1.0, 2.0, 4.0, 8.0]),
        visibility=torch.tensor([7.0, 8.0]),
    )
    renamed = relabelled(votes, torch.tensor([5, NONE, 5]))
    assert renamed.gaussian.tolist() == [0, 1]
    assert renamed.label.tolist() == [5, 5]
    assert renamed.weight.tolist() == [5.0, 8.0]
    assert torch.equal(renamed.visibility, votes.visibility)


def test_a_track_is_the_unit_mean_of_what_it_saw_and_an_outlier_moves_it_little():
    tracks = Tracks.empty(8)
    near = torch.nn.functional.normalize(RED + 0.2 * BLUE, dim=0)
    outlier = torch.nn.functional.normalize(RED + 2.0 * GREEN, dim=0)
    one = votes_of(torch.zeros(50, dtype=torch.int64))
    for row in (RED, near, near, outlier):
        tracks = extended(tracks, segments_of(row[None]), one, torch.tensor([0]))
    torch.testing.assert_close(tracks.features.norm(dim=1), torch.ones(1))
    assert tracks.num_segments.tolist() == [4]
    assert tracks.weight.tolist() == [200.0]
    plain_mean = torch.nn.functional.normalize(RED + 2 * near + outlier, dim=0)
    assert tracks.features[0] @ near > plain_mean @ near + 0.02


def test_segments_without_a_track_leave_the_tracks_alone():
    tracks = extended(
        Tracks.empty(8), segments_of(RED[None]), votes_of(torch.zeros(50, dtype=torch.int64)), torch.tensor([NONE])
    )
    assert len(tracks) == 0
