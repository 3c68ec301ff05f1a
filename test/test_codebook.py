# SPDX-License-Identifier: Apache-2.0
"""Laws of the online codebook."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.codebook.online import OnlineFitter, decoded
from ccl_lgs_ros.structures import NONE, Codebook

MERGE_COSINE = 0.9


def fit(features: Tensor, weight: Tensor | None = None, start: Codebook | None = None) -> Codebook:
    weight = torch.ones(len(features)) if weight is None else weight
    return OnlineFitter(merge_cosine=MERGE_COSINE).fit(features, torch.arange(len(features)), weight, start)


def random_features(count: int, seed: int = 0, dim: int = 6) -> Tensor:
    return normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_three_vectors_of_which_two_are_near_make_two_entries_by_hand():
    features = normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), dim=1)
    codebook = fit(features, torch.tensor([1.0, 3.0, 2.0]))
    torch.testing.assert_close(codebook.entries, features[[1, 2]])
    assert codebook.weight.tolist() == [4.0, 2.0]
    assert codebook.assign(features).tolist() == [0, 0, 1]


def test_decoding_the_code_of_a_feature_keeps_its_direction_within_the_bound():
    features = random_features(500)
    codebook = fit(features)
    assert len(codebook) < 500
    cosine = (decoded(codebook, codebook.assign(features)) * features).sum(dim=1)
    assert cosine.min() >= MERGE_COSINE - 1e-6


def test_no_two_entries_are_nearer_than_the_bound():
    codebook = fit(random_features(500))
    cosine = codebook.entries @ codebook.entries.T - 2 * torch.eye(len(codebook))
    assert cosine.max() < MERGE_COSINE


def test_the_order_of_features_does_not_matter():
    features, weight = random_features(200), torch.rand(200, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(200, generator=torch.Generator().manual_seed(2))
    assert torch.equal(fit(features, weight).entries, fit(features[order], weight[order]).entries)
    assert torch.equal(fit(features).entries, fit(features[order]).entries)


def test_entries_keep_their_place_and_direction_as_the_codebook_grows():
    first = fit(random_features(50, seed=0))
    second = fit(random_features(80, seed=1), start=first)
    assert len(second) > len(first)
    assert torch.equal(second.entries[: len(first)], first.entries)


def test_fitting_what_the_codebook_knows_adds_nothing():
    features = random_features(50)
    first = fit(features)
    assert torch.equal(fit(features, start=first).entries, first.entries)
    assert torch.equal(fit(features, start=first).weight, first.weight)


def test_weights_count_the_features_and_an_unused_entry_is_dead():
    start = Codebook(entries=torch.eye(3), weight=torch.ones(3))
    codebook = fit(torch.eye(3)[[0, 0, 2]], torch.tensor([1.0, 2.0, 4.0]), start)
    assert codebook.weight.tolist() == [3.0, 0.0, 4.0]


@pytest.mark.parametrize("start", [None, Codebook(entries=torch.eye(6)[:2], weight=torch.ones(2))])
def test_no_features_leave_the_codebook_as_it_is(start):
    codebook = fit(torch.zeros(0, 6), start=start)
    assert len(codebook) == (0 if start is None else 2)
    assert not codebook.weight.any()


def test_a_code_of_none_decodes_to_no_direction():
    assert not decoded(fit(torch.eye(3)), torch.tensor([NONE])).any()
