# SPDX-License-Identifier: Apache-2.0
"""Laws of the two-level codebook, on points that anyone would cluster the same way."""

import torch

from ccl_lgs_ros.field.joined_clusters import joined
from ccl_lgs_ros.field.two_level_codebook import (
    Clusters,
    clustered,
    coarse_clusters,
    fine_clusters,
    nearest,
    places,
    settled_within,
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def same_parts(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two partitions of rows are one, whatever their numbers."""
    return torch.equal(found[:, None] == found, expected[:, None] == expected)


def four_things() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, places and things of 80 rows: two places far apart, two features in each, the same in both."""
    thing = torch.arange(4).repeat_interleave(20)
    noise = 0.003 * torch.randn(80, 2, generator=torch.Generator().manual_seed(1))
    feature = torch.tensor([[0.35, 0.5], [0.65, 0.5]])[thing % 2] + noise
    place = torch.tensor([[-0.9, 0.0, 0.0], [0.9, 0.0, 0.0]])[thing // 2]
    return feature, place, thing


def test_the_mean_of_a_cluster_is_its_centre():
    rows = torch.tensor([[0.0], [2.0], [7.0]])
    clusters = Clusters(of_row=torch.tensor([0, 0, 2]), count=3)
    assert clusters.centres(rows).tolist() == [[1.0], [0.0], [7.0]]


def test_a_round_moves_rows_to_the_nearest_centre_and_revives_nothing():
    rows = torch.tensor([[0.0], [1.0], [6.0], [7.0]])
    # Centres 2.33 and 7; cluster 1 is empty and its zeros must not draw the first row.
    clusters = Clusters(of_row=torch.tensor([0, 0, 0, 2]), count=3).settled(rows)
    assert clusters.of_row.tolist() == [0, 0, 2, 2]


def test_clusters_are_the_heaps_that_rows_lie_in():
    feature, place, thing = four_things()
    found = clustered(torch.cat([feature, place], dim=1), 4, generator())
    assert same_parts(found.of_row, thing)


def test_rows_that_repeat_make_no_empty_clusters():
    found = clustered(torch.tensor([[1.0], [1.0], [4.0]]), 10, generator())
    assert found.count == 2
    assert found.of_row[0] == found.of_row[1] != found.of_row[2]


def test_the_data_ask_for_clusters_until_features_differ_less_than_in_a_mask():
    feature, place, thing = four_things()
    assert coarse_clusters(feature, place, 0, 1.0, generator()).count == 1  # masks differ more than things do
    coarse = coarse_clusters(feature, place, 0, 1e-4, generator())
    assert same_parts(coarse.of_row, thing)
    assert fine_clusters(feature, coarse, 0, 1e-3, generator()).count == 4
    fine = fine_clusters(feature, coarse, 0, 1e-4, generator())  # a tenth of it is less than the noise
    assert fine.count > 4
    means = place + 0.1 * torch.rand(80, 3, generator=generator())
    assert same_parts(joined(fine, feature, means, 1e-4).of_row, thing)


def row_of_points(values: list[float]) -> tuple[Clusters, torch.Tensor, torch.Tensor]:
    """Clusters of ten points on a line, one after the other, each with one feature."""
    number = torch.arange(len(values)).repeat_interleave(10)
    means = torch.zeros(len(number), 3)
    means[:, 0] = torch.arange(len(number), dtype=torch.float32)
    return Clusters(of_row=number, count=len(values)), torch.tensor(values)[number][:, None], means


def test_clusters_that_touch_and_differ_little_are_one():
    clusters, feature, means = row_of_points([0.0, 0.1, 1.0, 0.1])
    # The last is like the second, but does not touch it.
    assert joined(clusters, feature, means, 0.02).of_row.unique_consecutive().tolist() == [0, 1, 2]


def test_the_nearest_two_are_joined_first_and_are_their_mean_from_then_on():
    clusters, feature, means = row_of_points([0.0, 0.2, 0.35])
    # 0.2 and 0.35 become 0.275, too far from 0; joined the other way round all would be one.
    assert joined(clusters, feature, means, 0.25**2).of_row.unique_consecutive().tolist() == [0, 1]
    assert joined(clusters, feature, means, 0.28**2).count == 1


def test_one_cluster_or_none_stays_what_it_is():
    one = Clusters(of_row=torch.zeros(5, dtype=torch.int64), count=3)
    assert joined(one, torch.zeros(5, 2), torch.zeros(5, 3), 1.0).count == 1
    none = Clusters(of_row=torch.zeros(0, dtype=torch.int64), count=0)
    assert joined(none, torch.zeros(0, 2), torch.zeros(0, 3), 1.0).count == 0


def test_fine_clusters_never_leave_their_coarse_one():
    feature, place, thing = four_things()
    coarse = coarse_clusters(feature, place, 2, 0.0, generator())
    fine = fine_clusters(feature, coarse, 2, 0.0, generator())
    shifted = feature.flip(0)  # now each row looks like the other thing of its place
    again = settled_within(shifted, fine, coarse)
    assert same_parts(again.of_row, thing)
    for cluster in range(again.count):
        assert len(coarse.of_row[again.of_row == cluster].unique()) == 1


def test_equal_generators_give_equal_clusters():
    rows = torch.rand(200, 3, generator=torch.Generator().manual_seed(5))
    first, second = (clustered(rows, 7, generator()).of_row for _ in range(2))
    assert torch.equal(first, second)


def test_nobody_is_nearest_to_an_infinite_centre():
    centres = torch.tensor([[torch.inf], [3.0]])
    assert nearest(torch.tensor([[0.0], [9.0]]), centres).tolist() == [1, 1]


def test_the_longest_side_of_the_map_has_a_length_of_one():
    line = torch.linspace(0, 20, 201)
    means = torch.stack([line, line / 2, torch.zeros(201)], dim=1)
    found = places(means)
    torch.testing.assert_close(found[190] - found[10], torch.tensor([1.0, 0.5, 0.0]))
    assert places(means[:0]).shape == (0, 3)
