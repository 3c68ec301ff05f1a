# SPDX-License-Identifier: Apache-2.0
"""The losses of the contrastive codebook by hand, and laws of what is learnt."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.codebook.contrastive import ContrastiveFitter, batches
from ccl_lgs_ros.codebook.losses import assignment_loss, pair_counts, pull_loss, push_loss
from ccl_lgs_ros.structures import NONE, Codebook

MARGIN = 0.7
THREE = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])  # cosines 0.6, 0.8 and 0


def fitter(**options) -> ContrastiveFitter:
    defaults = {
        "size": 16,
        "iterations": 200,
        "learning_rate": 1e-2,
        "batch": 64,
        "pull_weight": 0.25,
        "push_weight": 0.25,
        "margin": MARGIN,
        "seed": 0,
    }
    return ContrastiveFitter(**{**defaults, **options})


def fit(features: Tensor, track: Tensor, start: Codebook | None = None, **options) -> Codebook:
    return fitter(**options).fit(features, track, torch.ones(len(features)), start)


def random_scene(tracks: int = 10, views: int = 8, dim: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy views of things, every fifth without a track."""
    generator = torch.Generator().manual_seed(seed)
    centres = normalize(torch.randn(tracks, dim, generator=generator), dim=1)
    track = torch.arange(tracks).repeat_interleave(views)
    features = normalize(centres[track] + 0.1 * torch.randn(len(track), dim, generator=generator), dim=1)
    track[::5] = NONE
    return features, track


def pairwise(entries: Tensor, code: Tensor, track: Tensor, is_wanted) -> list[Tensor]:
    """The cosines of the entries of all pairs i < k of tracked segments that are wanted: the paper, read literally."""
    unit = normalize(entries, dim=1)
    return [
        unit[code[i]] @ unit[code[k]]
        for i in range(len(code))
        for k in range(i + 1, len(code))
        if track[i] != NONE and track[k] != NONE and is_wanted(track[i], track[k])
    ]


def test_assignment_loss_by_hand():
    features = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    assert assignment_loss(features, torch.eye(2), torch.tensor([1, 0])).item() == pytest.approx((0.2 + 0.0) / 2)


def test_gradient_of_the_assignment_loss_by_hand():
    entries = torch.tensor([[2.0, 0.0], [0.0, 1.0]], requires_grad=True)
    assignment_loss(torch.tensor([[0.6, 0.8]]), normalize(entries, dim=1), torch.tensor([0])).backward()
    # -(F - cos u) / |T| for F = (0.6, 0.8), u = (1, 0), |T| = 2; the other entry is not chosen and gets nothing
    torch.testing.assert_close(entries.grad, torch.tensor([[0.0, -0.4], [0.0, 0.0]]))


def test_pull_and_push_by_hand():
    # tracks 5: codes 0 and 1; 6: code 2; and a segment of no track with code 2
    same, different = pair_counts(torch.tensor([0, 1, 2, 2]), torch.tensor([5, 5, 6, NONE]), 3)
    assert same.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert different.tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    cosine = THREE @ THREE.T
    assert pull_loss(cosine, same).item() == pytest.approx(1 - 0.6)
    assert push_loss(cosine, different, MARGIN).item() == pytest.approx((0.0 + (0.8 - 0.7)) / 2)


def test_gradients_of_pull_and_push_by_hand():
    cosine = (THREE @ THREE.T).requires_grad_()
    same, different = pair_counts(torch.tensor([0, 1, 2]), torch.tensor([5, 5, 6]), 3)
    (pull_loss(cosine, same) + push_loss(cosine, different, MARGIN)).backward()
    expected = torch.tensor([[0.0, -0.5, 0.0], [-0.5, 0.0, 0.25], [0.0, 0.25, 0.0]])  # 0 below the margin
    torch.testing.assert_close(cosine.grad, expected)


def test_segments_of_no_track_are_neither_pulled_nor_pushed():
    same, different = pair_counts(torch.tensor([0, 1, 2]), torch.full((3,), NONE), 3)
    assert not same.any()
    assert not different.any()
    assert pull_loss(THREE @ THREE.T, same) == push_loss(THREE @ THREE.T, different, MARGIN) == 0


def test_two_segments_of_two_tracks_with_one_code_cannot_be_pushed_apart():
    _, different = pair_counts(torch.tensor([1, 1]), torch.tensor([0, 1]), 3)
    entries = THREE.clone().requires_grad_()
    unit = normalize(entries, dim=1)
    loss = push_loss(unit @ unit.T, different, MARGIN)
    loss.backward()
    assert loss.item() == pytest.approx(0.3)
    assert entries.grad.abs().max() < 1e-6


def test_counted_pairs_give_the_losses_and_gradients_of_the_pairs_one_by_one():
    generator = torch.Generator().manual_seed(0)
    entries = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    code = torch.randint(0, 5, (30,), generator=generator)
    track = torch.randint(-1, 4, (30,), generator=generator)
    counted, plain = entries.clone().requires_grad_(), entries.clone().requires_grad_()
    unit = normalize(counted, dim=1)
    same, different = pair_counts(code, track, 5)
    pulled, pushed = pull_loss(unit @ unit.T, same), push_loss(unit @ unit.T, different, 0.3)
    (pulled + 2 * pushed).backward()
    one = 1 - torch.stack(pairwise(plain, code, track, lambda a, b: a == b))
    two = torch.stack(pairwise(plain, code, track, lambda a, b: a != b)) - 0.3
    (one.mean() + 2 * two.relu().mean()).backward()
    torch.testing.assert_close(pulled, one.mean())
    torch.testing.assert_close(pushed, two.relu().mean())
    torch.testing.assert_close(counted.grad, plain.grad)


def test_the_loss_is_the_weighted_sum_of_the_three():
    features = normalize(torch.tensor([[1.0, 0.1], [0.6, 0.7], [0.1, 1.0], [0.0, 1.0]]), dim=1)
    track, code = torch.tensor([5, 5, 6, NONE]), torch.tensor([0, 1, 2, 2])
    assigned = assignment_loss(features, THREE, code)
    assert fitter().loss(THREE, features, track).item() == pytest.approx(assigned.item() + 0.25 * 0.4 + 0.25 * 0.05)
    without = fitter(pull_weight=0.0, push_weight=0.0).loss(THREE, features, track)
    assert without.item() == pytest.approx(assigned.item())


def test_pull_joins_the_entries_of_a_track_and_push_parts_those_of_two():
    angle = torch.tensor([0.0, 0.5, 1.5])
    views = torch.stack([angle.cos(), angle.sin()], dim=1)
    one_track, two_tracks = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2])
    options = {"size": 3, "learning_rate": 3e-3}

    def gap(track: Tensor, **weights: float) -> float:
        start = Codebook(entries=views, weight=torch.ones(3))
        entries = fit(views, track, start, **options, **weights).entries
        return float(torch.arccos((entries[0] @ entries[1]).clamp(-1, 1)))

    plain = gap(one_track, pull_weight=0.0, push_weight=0.0)
    assert plain == pytest.approx(0.5, abs=1e-2)
    assert gap(one_track, pull_weight=1.0, push_weight=0.0) < plain - 0.1
    assert gap(two_tracks, pull_weight=0.0, push_weight=1.0) > plain + 0.1
    assert gap(two_tracks, pull_weight=1.0, push_weight=0.0) == pytest.approx(plain, abs=1e-2)


def test_learning_lowers_the_loss():
    features, track = random_scene()
    before, after = (fit(features, track, size=12, iterations=steps).entries for steps in (0, 300))
    assert fitter().loss(after, features, track) < 0.7 * fitter().loss(before, features, track)


def test_one_seed_gives_one_codebook_and_another_seed_another():
    features, track = random_scene()
    first, again, other = (fit(features, track, size=8, seed=seed).entries for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_order_of_features_does_not_matter():
    features, track = random_scene()
    order = torch.randperm(len(track), generator=torch.Generator().manual_seed(2))
    assert torch.equal(fit(features, track, size=8).entries, fit(features[order], track[order], size=8).entries)


def test_a_batch_draws_every_track_as_often_and_untracked_ones_by_their_share():
    track = torch.cat([torch.full((70,), 3), torch.full((5,), 8), torch.full((25,), NONE)])
    drawn = torch.cat(list(batches(track, 40, 100, torch.Generator().manual_seed(0))))
    assert len(drawn) == 4000
    assert [int((track[drawn] == name).sum()) for name in (3, 8, NONE)] == [1500, 1500, 1000]
    assert len(torch.unique(drawn)) == 100


@pytest.mark.parametrize("value", [NONE, 0])
def test_a_batch_of_only_tracked_or_only_untracked_rows_is_full(value):
    (rows,) = batches(torch.full((6,), value), 32, 1, torch.Generator().manual_seed(0))
    assert rows.shape == (32,)
    assert set(rows.tolist()) <= set(range(6))


def test_a_dead_entry_begins_anew_where_features_are_served_worst():
    features = normalize(torch.eye(8)[[0, 0, 1, 1]] + 0.01 * torch.eye(8)[[2, 3, 4, 5]], dim=1)
    start = Codebook(entries=torch.eye(8)[[0, 7]], weight=torch.ones(2))
    codebook = fit(features, torch.tensor([0, 0, 1, 1]), start, size=2)
    assert codebook.weight.tolist() == [2.0, 2.0]
    assert (features @ codebook.entries.T).amax(dim=1).min() > 0.99


def test_an_entry_that_nothing_needs_is_left_with_no_weight():
    start = Codebook(entries=torch.eye(3), weight=torch.ones(3))
    codebook = fit(torch.eye(3)[[0, 1]], torch.tensor([0, 1]), start, size=3)
    assert codebook.weight.tolist() == [1.0, 1.0, 0.0]


def test_no_steps_leave_the_entries_of_the_start_where_they_are():
    features, track = random_scene()
    start = Codebook(entries=features[:5], weight=torch.ones(5))
    codebook = fit(features, track, start, size=8, iterations=0)
    assert len(codebook) == 8
    torch.testing.assert_close(codebook.entries[:5], start.entries)
