# SPDX-License-Identifier: Apache-2.0
"""Labels of segments by hand, and laws of the centres."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.codebook.labels import labels_of, voted
from ccl_lgs_ros.codebook.online import OnlineFitter
from ccl_lgs_ros.codebook.robust import medians
from ccl_lgs_ros.labelling import LevelLabels, SegmentTable
from ccl_lgs_ros.structures import NONE, Codebook

AXES = torch.eye(3)
# Two keyframes of three segments each; track 0 looks once like its neighbour, which has no track in the second.
BY_HAND = SegmentTable(
    features=AXES[[0, 1, 2, 0, 1, 1]],
    track=torch.tensor([0, 1, NONE, 0, 0, NONE]),
    weight=torch.tensor([2.0, 1.0, 1.0, 2.0, 3.0, 1.0]),
    start=torch.tensor([0, 3, 6]),
)


class Axes:
    """A fitter whose entries are the axes, whatever it is given; keeps what that was."""

    def fit(
        self, features: Tensor, track_of_feature: Tensor, weight: Tensor, start: Codebook | None, progress: object
    ) -> Codebook:
        self.features, self.track, self.weight = features, track_of_feature, weight
        return Codebook(entries=AXES, weight=torch.ones(3))


def labelled(table: SegmentTable, vote_codes: bool = False, track_feature: str = "views", fitter=None) -> LevelLabels:
    return labels_of(table, fitter or Axes(), vote_codes=vote_codes, track_feature=track_feature)


def pairs(labels: LevelLabels) -> list[tuple[int, int]]:
    """The track and code of every row."""
    track, code = labels.track_of_label[labels.label_of_row], labels.code_of_label[labels.label_of_row]
    return list(zip(track.tolist(), code.tolist(), strict=True))


def random_table(rows: int = 200, tracks: int = 12, seed: int = 0) -> SegmentTable:
    generator = torch.Generator().manual_seed(seed)
    track = torch.randint(-1, tracks, (rows,), generator=generator)
    centres = torch.randn(tracks + 1, 16, generator=generator)
    features = normalize(centres[track] + torch.randn(rows, 16, generator=generator), dim=1)
    weight = torch.rand(rows, generator=generator)
    return SegmentTable(features=features, track=track, weight=weight, start=torch.arange(0, rows + 1, 20))


def test_the_paper_gives_every_segment_its_own_code():
    labels = labelled(BY_HAND)
    assert pairs(labels) == [(0, 0), (1, 1), (NONE, 2), (0, 0), (0, 1), (NONE, 1)]
    assert labels.track_of_label.tolist() == [NONE, NONE, 0, 0, 1]
    assert labels.code_of_label.tolist() == [1, 2, 0, 1, 1]


def test_a_vote_gives_a_track_the_code_of_most_weight():
    assert pairs(labelled(BY_HAND, vote_codes=True)) == [(0, 0), (1, 1), (NONE, 2), (0, 0), (0, 0), (NONE, 1)]


@pytest.mark.parametrize(
    ("code", "weight", "winner"),
    [
        ([2, 1, 1], [5.0, 2.0, 2.0], 2),
        ([2, 1, 1], [5.0, 3.0, 3.0], 1),
        ([2, 0, 1], [2.0, 2.0, 1.0], 0),
        ([2, 1, 2], [0.0, 0.0, 0.0], 2),
    ],
)
def test_a_vote_counts_weights_and_takes_the_first_code_at_a_tie(code, weight, winner):
    track = torch.tensor([4, 4, 4])
    assert voted(torch.tensor(code), track, torch.tensor(weight)).tolist() == [winner] * 3


def test_the_median_is_what_the_codebook_is_fitted_to():
    fitter = Axes()
    labels = labelled(BY_HAND, track_feature="median", fitter=fitter)
    assert pairs(labels) == [(0, 0), (1, 1), (NONE, 2), (0, 0), (0, 0), (NONE, 1)]
    assert fitter.track.tolist() == [0, 1, NONE, NONE]
    assert fitter.weight.tolist() == [7.0, 1.0, 1.0, 1.0]
    torch.testing.assert_close(fitter.features[1:], AXES[[1, 2, 1]])
    torch.testing.assert_close(fitter.features.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("track_feature", ["views", "mean", "median"])
@pytest.mark.parametrize("vote_codes", [False, True])
def test_permuting_keyframes_changes_nothing(vote_codes, track_feature):
    table = random_table()
    order = torch.arange(200).view(10, 20)[torch.randperm(10, generator=torch.Generator().manual_seed(1))].flatten()
    moved = SegmentTable(
        features=table.features[order], track=table.track[order], weight=table.weight[order], start=table.start
    )
    first, second = (labelled(t, vote_codes, track_feature, OnlineFitter(merge_cosine=0.8)) for t in (table, moved))
    assert torch.equal(first.codebook.entries, second.codebook.entries)
    assert torch.equal(first.label_of_row[order], second.label_of_row)
    assert torch.equal(first.code_of_label, second.code_of_label)


def test_every_label_is_used_and_names_one_pair():
    labels = labelled(random_table(), fitter=OnlineFitter(merge_cosine=0.8))
    count = len(labels.code_of_label)
    assert torch.unique(labels.label_of_row).tolist() == list(range(count))
    assert len({*zip(labels.track_of_label.tolist(), labels.code_of_label.tolist(), strict=True)}) == count


@pytest.mark.parametrize("track_feature", ["views", "mean", "median"])
def test_no_segments_have_no_labels(track_feature):
    none = torch.zeros(0, dtype=torch.int64)
    table = SegmentTable(features=torch.zeros(0, 3), track=none, weight=torch.zeros(0), start=torch.tensor([0, 0]))
    labels = labelled(table, vote_codes=True, track_feature=track_feature, fitter=OnlineFitter(merge_cosine=0.9))
    assert len(labels.label_of_row) == len(labels.code_of_label) == len(labels.codebook) == 0


def test_the_median_of_three_views_in_a_plane_is_the_middle_one_by_hand():
    angle = torch.tensor([0.0, 0.1, 1.2])  # the median of points on an arc lies at the middle point
    views = torch.stack([angle.cos(), angle.sin()], dim=1)
    centre = medians(views, torch.zeros(3, dtype=torch.int64), torch.ones(3), 1)
    torch.testing.assert_close(centre, views[1:2], atol=2e-3, rtol=0)


def test_views_of_another_thing_move_the_median_less_than_the_mean():
    generator = torch.Generator().manual_seed(0)
    true, other = normalize(torch.randn(2, 64, generator=generator), dim=1)
    noise = torch.randn(40, 64, generator=generator) * 0.05
    views = normalize(torch.where(torch.arange(40)[:, None] < 12, other, true) + noise, dim=1)
    robust = medians(views, torch.zeros(40, dtype=torch.int64), torch.ones(40), 1)[0]
    assert robust @ true > 0.97 > normalize(views.mean(dim=0), dim=0) @ true


def test_one_view_that_agrees_with_none_is_dropped():
    generator = torch.Generator().manual_seed(0)
    true, other = normalize(torch.randn(2, 64, generator=generator), dim=1)
    views = normalize(true + torch.randn(20, 64, generator=generator) * 0.02, dim=1)
    group = torch.zeros(21, dtype=torch.int64)
    without = medians(views, group[:20], torch.ones(20), 1)
    torch.testing.assert_close(medians(torch.cat([views, other[None]]), group, torch.ones(21), 1), without)


def test_the_median_no_longer_moves_when_it_is_returned():
    table = random_table()
    group, weight = table.track + 1, table.weight
    centre = medians(table.features, group, weight, 13)
    gap = table.features - centre[group]
    pull = torch.zeros(13, 16).index_add_(0, group, table.features * (weight / gap.norm(dim=1))[:, None])
    assert (normalize(pull, dim=1) * centre).sum(dim=1).min() > 1 - 1e-5


def test_a_group_without_weight_counts_its_views_equally():
    centre = medians(AXES[[0, 1]], torch.zeros(2, dtype=torch.int64), torch.zeros(2), 1)
    torch.testing.assert_close(centre, normalize(torch.tensor([[1.0, 1.0, 0.0]]), dim=1))
