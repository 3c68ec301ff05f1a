# SPDX-License-Identifier: Apache-2.0
"""Laws of the codebooks."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.codebook.contrastive import ContrastiveFitter
from ccl_lgs_ros.codebook.exact import ExactFitter
from ccl_lgs_ros.codebook.kmeans import KMeansFitter
from ccl_lgs_ros.codebook.online import OnlineFitter, decoded
from ccl_lgs_ros.codebook.seeding import distinct, plus_plus
from ccl_lgs_ros.protocols import CodebookFitter
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


def fitters() -> dict[str, CodebookFitter]:
    options = {"iterations": 100, "learning_rate": 1e-3, "batch": 32}
    losses = {"pull_weight": 0.25, "push_weight": 0.25, "margin": 0.7}
    return {
        "contrastive": ContrastiveFitter(size=8, seed=0, **options, **losses),
        "kmeans": KMeansFitter(size=8, seed=0),
        "none": ExactFitter(),
    }


@pytest.mark.parametrize("name", fitters())
def test_a_few_distinct_features_become_the_entries(name):
    features = torch.eye(6)[[0, 1, 1, 4, 4, 4]]
    codebook = fitters()[name].fit(features, torch.arange(6), torch.ones(6), None)
    assert len(codebook) == 3
    assert codebook.weight[codebook.assign(features)].tolist() == [1, 2, 2, 3, 3, 3]
    torch.testing.assert_close(codebook.entries[codebook.assign(features)], features, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", fitters())
def test_every_fitter_begins_with_the_entries_it_is_given(name):
    start = Codebook(entries=torch.eye(6)[[3, 0]], weight=torch.ones(2))
    features = torch.eye(6)[[0, 1, 3]]
    codebook = fitters()[name].fit(features, torch.arange(3), torch.ones(3), start)
    torch.testing.assert_close(codebook.entries[:2], start.entries, atol=1e-5, rtol=0)
    assert codebook.weight.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", fitters())
def test_no_features_leave_what_every_fitter_was_given(name):
    start = Codebook(entries=torch.eye(6)[:2], weight=torch.ones(2))
    none = torch.zeros(0, dtype=torch.int64)
    assert len(fitters()[name].fit(torch.zeros(0, 6), none, torch.zeros(0), None)) == 0
    codebook = fitters()[name].fit(torch.zeros(0, 6), none, torch.zeros(0), start)
    assert torch.equal(codebook.entries, start.entries)
    assert not codebook.weight.any()


def test_the_mean_direction_of_a_cluster_by_hand():
    features = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    codebook = KMeansFitter(size=2, seed=0).fit(features, torch.arange(3), torch.tensor([1.0, 3.0, 1.0]), None)
    code = codebook.assign(features).tolist()
    assert code[0] == code[1] != code[2]
    mean = normalize(torch.tensor([1.0 + 3 * 0.8, 3 * 0.6, 0.0]), dim=0)
    torch.testing.assert_close(codebook.entries[code[0]], mean)
    assert codebook.weight[code[0]] == 4.0


@pytest.mark.parametrize("seed", range(3))
def test_k_means_has_converged(seed):
    features, weight = random_features(400), torch.rand(400, generator=torch.Generator().manual_seed(1))
    codebook = KMeansFitter(size=12, seed=seed).fit(features, torch.arange(400), weight, None)
    code = codebook.assign(features)
    sums = torch.zeros(12, 6).index_add_(0, code, features * weight[:, None])
    torch.testing.assert_close(normalize(sums, dim=1), codebook.entries, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.bincount(code, weights=weight, minlength=12), codebook.weight)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(2))
    again = KMeansFitter(size=12, seed=seed).fit(features[order], torch.arange(400), weight[order], None)
    assert torch.equal(again.entries, codebook.entries)


def test_without_a_codebook_no_direction_is_lost():
    features = random_features(300)
    codebook = ExactFitter().fit(features, torch.arange(300), torch.ones(300), None)
    assert torch.equal(codebook.entries[codebook.assign(features)], features)


def test_first_entries_are_drawn_where_no_entry_is_near():
    near, far = random_features(1)[0], -random_features(1)[0]
    features = normalize(torch.cat([near + 1e-3 * random_features(99, seed=1), far[None]]), dim=1)
    drawn = [
        plus_plus(distinct(features, torch.ones(100)), near[None], 2, torch.Generator().manual_seed(seed))[1]
        for seed in range(20)
    ]
    assert all(entry @ far > 0.99 for entry in drawn)
