# SPDX-License-Identifier: Apache-2.0
"""Densification puts Gaussians where the images pull, keeps what is drawn, and never passes the limit."""

import math

import pytest
import torch
from torch import Tensor

from ccl_lgs_ros.gaussians.keeping import NoDensifier
from ccl_lgs_ros.gaussians.relocation import MAX_COPIES, RelocatingDensifier, relocated
from ccl_lgs_ros.gaussians.splitting import MAX_PULL, SplittingDensifier, rotated
from ccl_lgs_ros.protocols import Densified, Densifier
from ccl_lgs_ros.rendering import gsplat_densifiers
from ccl_lgs_ros.rendering.gsplat_densifiers import GsplatDefaultDensifier, GsplatMcmcDensifier
from ccl_lgs_ros.structures import Gaussians

N = 40
OURS = [RelocatingDensifier(), SplittingDensifier(), NoDensifier()]
DEAD = torch.arange(0, N, 8)


@pytest.fixture
def gsplat_default() -> GsplatDefaultDensifier:
    pytest.importorskip("gsplat")
    return GsplatDefaultDensifier()  # its strategy is plain torch, which any device runs


@pytest.fixture
def gsplat_mcmc(monkeypatch: pytest.MonkeyPatch) -> GsplatMcmcDensifier:
    """gsplat's strategy with its two CUDA kernels exchanged for ours, so that all around them runs here."""
    ops = pytest.importorskip("gsplat.strategy.ops")

    def compute_relocation(opacities: Tensor, scales: Tensor, ratios: Tensor, binoms: Tensor) -> tuple[Tensor, Tensor]:
        opacity, shrink = relocated(opacities, ratios)
        return opacity, scales * shrink[:, None]

    def covariances(quats: Tensor, scales: Tensor, **_: bool) -> tuple[Tensor, None]:
        axes = torch.stack([rotated(quats, torch.eye(3)[i].expand(len(quats), 3)) for i in range(3)], dim=2)
        return axes @ torch.diag_embed(scales**2) @ axes.mT, None

    monkeypatch.setattr(ops, "compute_relocation", compute_relocation)
    monkeypatch.setattr(ops, "quat_scale_to_covar_preci", covariances)
    return GsplatMcmcDensifier()


def scene() -> Gaussians:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(N, generator=generator)
    logits[DEAD] = -8.0
    return Gaussians(
        means=torch.randn(N, 3, generator=generator),
        quats=torch.randn(N, 4, generator=generator),
        log_scales=torch.randn(N, 3, generator=generator) * 0.5 - 4.0,
        logit_opacities=logits,
        sh=torch.randn(N, 4, 3, generator=generator),
    )


def densified(densifier: Densifier, pull: Tensor | None = None, limit: int = 1000, seed: int = 0) -> Densified:
    return densifier.densify(
        scene(),
        torch.linspace(0.0, 10 * MAX_PULL, N) if pull is None else pull,
        torch.full((N,), 3.0),
        extent=1.0,
        limit=limit,
        generator=torch.Generator().manual_seed(seed),
    )


def check(densifier: Densifier) -> None:
    """What every densifier promises."""
    for limit in (N, N + 1, N + 7, 1000):
        found = densified(densifier, limit=limit)
        assert len(found.gaussians) <= limit
        parent, before = found.parent_of_gaussian, scene()
        assert len(parent) == len(found.is_fresh) == len(found.gaussians)
        assert torch.equal(found.gaussians.sh, before.sh[parent])
        assert all(bool(tensor.isfinite().all()) for tensor in found.gaussians.tensors().values())
        # What is not fresh goes on as it was, with its own moments.
        stays = ~found.is_fresh
        assert torch.equal(found.gaussians.log_scales[stays], before.log_scales[parent[stays]])
        assert len(parent[stays].unique()) == int(stays.sum())
        again = densified(densifier, limit=limit)
        assert torch.equal(found.gaussians.means, again.gaussians.means)
        assert torch.equal(parent, again.parent_of_gaussian)


@pytest.mark.parametrize("densifier", OURS, ids=lambda d: type(d).__name__)
def test_ours_keep_the_limit_and_name_the_parents(densifier: Densifier) -> None:
    check(densifier)


def test_gsplats_default_strategy_keeps_the_limit_and_names_the_parents(gsplat_default) -> None:
    check(gsplat_default)


def test_gsplats_mcmc_strategy_keeps_the_limit_and_names_the_parents(gsplat_mcmc) -> None:
    check(gsplat_mcmc)


def test_gsplats_strategies_leave_torchs_own_generator_alone(gsplat_default) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    densified(gsplat_default)
    assert torch.equal(torch.rand(4), expected)


def test_gsplat_says_what_it_lacks() -> None:
    reason = GsplatDefaultDensifier.is_available()
    assert reason == GsplatMcmcDensifier.is_available() == gsplat_densifiers._reason_against()
    assert torch.cuda.is_available() or "gaussians.densifier=relocation" in reason


def test_our_thresholds_choose_what_gsplats_do(gsplat_default) -> None:
    pull = torch.zeros(N)
    pull[[3, 11, 30]] = 2 * MAX_PULL
    ours, theirs = densified(SplittingDensifier(), pull), densified(gsplat_default, pull)
    assert sorted(ours.parent_of_gaussian.tolist()) == sorted(theirs.parent_of_gaussian.tolist())
    fresh = [sorted(found.parent_of_gaussian[found.is_fresh].tolist()) for found in (ours, theirs)]
    assert fresh[0] == fresh[1]
    sizes = [found.gaussians.log_scales[found.parent_of_gaussian.argsort(stable=True)] for found in (ours, theirs)]
    assert torch.allclose(sizes[0], sizes[1], atol=1e-6)


def test_the_dead_move_to_the_living_that_are_pulled() -> None:
    pull = torch.zeros(N)
    pull[5] = 1.0
    found = densified(RelocatingDensifier(), pull, limit=N)
    assert found.parent_of_gaussian[DEAD].tolist() == [5] * len(DEAD)
    assert found.is_fresh.nonzero()[:, 0].tolist() == sorted([5, *DEAD.tolist()])
    assert torch.equal(found.gaussians.means[DEAD], scene().means[5].expand(len(DEAD), 3))
    assert (found.gaussians.opacities[DEAD] < scene().opacities[5]).all()


def test_nothing_moves_where_nothing_is_pulled() -> None:
    found = densified(RelocatingDensifier(), torch.zeros(N))
    assert torch.equal(found.parent_of_gaussian, torch.arange(N)) and not bool(found.is_fresh.any())


def test_one_in_twenty_is_added_a_round() -> None:
    assert len(densified(RelocatingDensifier()).gaussians) == N + math.ceil(0.05 * N)


def test_relocation_by_hand() -> None:
    # One copy changes nothing. Two of o' = 1 - sqrt(1 - 0.75) = 0.5 have together 0.5 + (0.5 - 0.5^2 / sqrt 2).
    opacity, shrink = relocated(torch.tensor([0.75, 0.75]), torch.tensor([1, 2]))
    assert opacity.tolist() == pytest.approx([0.75, 0.5], abs=1e-5)
    assert shrink.tolist() == pytest.approx([1.0, 0.75 / (1.0 - 0.25 / math.sqrt(2.0))], abs=1e-5)


@pytest.mark.parametrize("copies", [2, 3, 7, MAX_COPIES])
def test_relocated_copies_cover_as_much_as_the_one_did(copies: int) -> None:
    # Along a line through the middle the integral of 1 - (1 - o' G')^n is that of o G (the paper's eq. 9).
    old = 0.6
    opacity, shrink = relocated(torch.tensor([old]), torch.tensor([copies]))
    x = torch.linspace(-8.0, 8.0, 4001, dtype=torch.float64)
    together = 1.0 - (1.0 - opacity.double() * torch.exp(-0.5 * (x / shrink.double()) ** 2)) ** copies
    one = old * torch.exp(-0.5 * x**2)
    assert float(together.sum() / one.sum()) == pytest.approx(1.0, abs=2e-3)
    assert float(together.max()) == pytest.approx(old, abs=1e-4)


def test_what_is_pulled_hardest_comes_first_where_room_is_short() -> None:
    pull = torch.zeros(N)
    pull[[3, 11, 30]] = torch.tensor([2.0, 4.0, 3.0]) * MAX_PULL
    kept = N - len(DEAD)
    found = densified(SplittingDensifier(), pull, limit=kept + 2)
    counts = torch.bincount(found.parent_of_gaussian, minlength=N)
    assert counts[[3, 11, 30]].tolist() == [1, 2, 2]
    assert not bool(counts[DEAD].any())


def test_quaternions_turn_vectors() -> None:
    half = math.sqrt(0.5)
    turned = rotated(torch.tensor([[2 * half, 0.0, 0.0, 2 * half]]), torch.tensor([[1.0, 0.0, 0.0]]))
    assert torch.allclose(turned, torch.tensor([[0.0, 1.0, 0.0]]), atol=1e-6)
