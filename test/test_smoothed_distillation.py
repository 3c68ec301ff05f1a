# SPDX-License-Identifier: Apache-2.0
"""Laws of the smoothed distillation: contradictions make uncertain and cost little, places smooth, runs go on."""

import dataclasses
import math

import pytest
import torch
from kept import Kept, cancels_at
from labelled_wall import Views, is_clear, knows_sides, labels_by_side, lifts, tensors_of, wall
from torch.nn.functional import cross_entropy

from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.field.smoothed_distillation import SmoothedDistillationLifter, SmoothedLearner
from ccl_lgs_ros.field.smoothing import (
    HIDDEN,
    encoded_places,
    excused_cross_entropy,
    new_place_network,
    smooth_features,
    smoothness,
)
from ccl_lgs_ros.labelling import LabelledView, Lifting
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import NONE, Gaussians

RASTERIZER = NumbaRasterizer()
LABELS = {"wp": labels_by_side()}
DISPUTED = slice(12, 22)  # rows of pixels


class DisputedViews(Views):
    """Views half of which have left and right exchanged in the rows in the middle."""

    def __getitem__(self, index: int, /) -> LabelledView:
        view = super().__getitem__(index)
        labels = view.labels["wp"].clone()
        if index % 2:
            labels[DISPUTED] = 1 - labels[DISPUTED]
        return dataclasses.replace(view, labels={"wp": labels})


lift = lifts(
    SmoothedDistillationLifter,
    LABELS,
    slots=4,
    min_confidence=0.5,
    min_labelled=0.3,
    channels=8,
    iterations=80,
    learning_rate=1e-2,
    batch_px=256,
    patience=0,
    checkpoint_every=20,
    uncertainty_weight=0.5,
    smooth_weight=1.0,
    smooth_frequencies=2,
)


def learner(**options) -> SmoothedLearner:
    defaults = {"channels": 4, "learning_rate": 1e-2, "batch_px": 0}
    own = {"uncertainty_weight": 1.0, "smooth_weight": 1.0, "smooth_frequencies": 0}
    generator = torch.Generator().manual_seed(0)
    return SmoothedLearner(wall(), {"wp": 3}, **{**defaults, **own, **options}, generator=generator)


@pytest.fixture(scope="module")
def disputed() -> Lifting:
    return lift(views=DisputedViews())


def test_two_pixels_by_hand_of_which_one_is_half_excused():
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])  # cross-entropies ln 2 and ln 4 for code 0
    loss = excused_cross_entropy(logits, torch.tensor([0, 0]), torch.tensor([0.0, 0.5]), 2.0)
    by_hand = (1.0 * math.log(2) + 0.5 * math.log(4) + 2.0 * math.log(2)) / 2
    assert float(loss) == pytest.approx(by_hand, rel=1e-6)


def test_without_uncertainty_it_is_the_cross_entropy():
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    codes = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    torch.testing.assert_close(excused_cross_entropy(logits, codes, torch.zeros(7), 1.0), cross_entropy(logits, codes))


def test_the_best_uncertainty_leaves_a_trust_of_the_price_over_the_cross_entropy():
    logits = torch.tensor([[0.0, 3.0]])
    cost = float(cross_entropy(logits, torch.tensor([0])))
    unsure = torch.tensor([1.0 - 1.0 / cost], requires_grad=True)
    excused_cross_entropy(logits, torch.tensor([0]), unsure, 1.0).backward()
    assert unsure.grad is not None and float(unsure.grad) == pytest.approx(0.0, abs=1e-5)
    well_said = torch.tensor([0.3], requires_grad=True)
    excused_cross_entropy(logits, torch.tensor([1]), well_said, 1.0).backward()
    assert well_said.grad is not None and float(well_said.grad) > 0  # descent lowers it


def test_full_uncertainty_costs_a_finite_price():
    assert torch.isfinite(excused_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), torch.ones(1), 1.0))


def test_smoothness_by_hand_weighs_features_by_their_uncertainty():
    features = torch.tensor([[1.0, 0.0], [0.0, 0.0]], requires_grad=True)
    smooth = torch.tensor([[0.0, 0.0], [2.0, 2.0]], requires_grad=True)
    unsure = torch.tensor([0.0, 1.0], requires_grad=True)
    of_network, of_features = smoothness(features, smooth, unsure)
    assert float(of_network.detach()) == pytest.approx((0.5 + 4.0) / 2)
    assert float(of_features.detach()) == pytest.approx((0.1 * 0.5 + 1.0 * 4.0) / 2)
    of_network.backward()
    assert features.grad is None and smooth.grad is not None
    torch.testing.assert_close(smooth.grad, torch.tensor([[-0.5, 0.0], [1.0, 1.0]]))
    smooth.grad = None
    of_features.backward()
    torch.testing.assert_close(features.grad, torch.tensor([[0.05, 0.0], [-1.0, -1.0]]))
    assert smooth.grad is None and unsure.grad is None


def test_a_place_has_its_waves_by_octave():
    encoded = encoded_places(torch.tensor([[0.5, 0.0, -1.0]]), 2)[0]
    waves = [wave(octave * x) for octave in (1, 2) for wave in (math.sin, math.cos) for x in (0.5, 0.0, -1.0)]
    torch.testing.assert_close(encoded, torch.tensor([0.5, 0.0, -1.0, *waves]))
    assert encoded_places(torch.zeros(0, 3), 0).shape == (0, 3)


def test_the_network_of_place_is_linear_with_rectified_layers_between():
    network = new_place_network(3, 8, torch.Generator().manual_seed(0))
    x = torch.tensor([[0.1, -0.2, 0.3]])
    hidden = x[0]
    for layer in range(len(HIDDEN)):
        hidden = (network[f"weight{layer}"] @ hidden + network[f"bias{layer}"]).clamp_min(0)
    by_hand = network[f"weight{len(HIDDEN)}"] @ hidden + network[f"bias{len(HIDDEN)}"]
    torch.testing.assert_close(smooth_features(network, x)[0], by_hand)
    assert by_hand.shape == (8,)


def test_the_loss_of_a_first_step_is_that_of_its_pixels_with_what_was_blended():
    learning, view = learner(), Views()[0]
    assert torch.allclose(learning.uncertainty["wp"], torch.tensor(0.01))
    plain = learner(uncertainty_weight=0.0)
    with_price, without = (x.step(view, {"wp": view.labels["wp"]}, RASTERIZER) for x in (learning, plain))
    alpha = RASTERIZER.render(wall(), view.keyframe.camera, view.pose).alpha
    used = (alpha > 0.5) & (view.labels["wp"] != NONE)
    used[::4, ::4] = False
    assert with_price.loss - without.loss == pytest.approx(float(-(1 - 0.01 * alpha[used]).log().mean()), rel=1e-3)


def test_where_views_contradict_each_other_gaussians_are_uncertain(disputed):
    y = wall().means[:, 1]
    unsure, has_label = disputed.uncertainty["wp"].float() / 255, disputed.label_of_gaussian["wp"] != NONE
    is_disputed = (y > -0.1) & (y < 0.2)
    is_agreed = (y.abs() > 0.5) & has_label
    everywhere = lift(views=DisputedViews(), min_confidence=0.0).uncertainty["wp"].float() / 255
    assert everywhere[is_disputed].mean() > 2.0 * unsure[is_agreed].mean()
    assert unsure[is_agreed].mean() < 0.2
    agreed = lift(min_confidence=0.0).uncertainty["wp"].float() / 255
    assert agreed[is_disputed].mean() < 0.5 * everywhere[is_disputed].mean()


def test_what_nobody_disputes_gets_the_label_of_its_side(disputed):
    where = is_clear(wall()) & (wall().means[:, 1].abs() > 0.5)
    assert knows_sides(lift(), "wp", least=0.4)
    assert knows_sides(disputed, "wp", least=0.4, where=where)


def test_a_gaussian_without_a_label_is_not_trusted_at_all():
    strict = lift(views=DisputedViews(), min_confidence=0.9)
    label, unsure = strict.label_of_gaussian["wp"], strict.uncertainty["wp"]
    assert unsure.dtype == torch.uint8 and unsure.shape == label.shape
    assert (label == NONE).any() and (unsure[label == NONE] == 255).all()
    assert (unsure[label != NONE] < 255).all()


def test_a_pull_to_the_place_makes_neighbours_more_alike(monkeypatch):
    monkeypatch.setattr("ccl_lgs_ros.field.smoothed_distillation.SMOOTHED_EVERY", 1)

    def roughness(weight: float) -> float:
        field = lift(smooth_weight=weight).field
        assert field is not None
        grid = field.features["wp"].view(18, 18, 8)
        return float((grid[1:] - grid[:-1]).square().mean() / grid.var())

    assert roughness(100.0) < 0.7 * roughness(0.0)


def test_semantics_move_no_geometry(disputed):
    for name, tensor in wall().tensors().items():
        assert torch.equal(disputed.gaussians.tensors()[name], tensor)


def test_equal_generators_give_equal_fields(disputed):
    again, other = tensors_of(lift(views=DisputedViews())), tensors_of(lift(views=DisputedViews(), seed=1))
    assert all(torch.equal(tensor, again[name]) for name, tensor in tensors_of(disputed).items())
    assert not torch.equal(again["features.wp"], other["features.wp"])


def test_more_gaussians_than_are_smoothed_at_once_take_turns(monkeypatch):
    monkeypatch.setattr("ccl_lgs_ros.field.smoothed_distillation.SMOOTHED_AT_ONCE", 16)
    again = tensors_of(lift(iterations=30))
    assert all(torch.equal(tensor, again[name]) for name, tensor in tensors_of(lift(iterations=30)).items())


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been():
    kept, whole = Kept(), tensors_of(lift(iterations=30))
    with pytest.raises(Cancelled):
        lift(kept, cancels_at(13), iterations=30)
    resumed = tensors_of(lift(kept, iterations=30, seed=9))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in resumed.items())


def test_nothing_to_learn_from_gives_no_labels():
    for lifting in (lift(views=Views(count=0)), lift(gaussians=Gaussians.empty())):
        assert (lifting.label_of_gaussian["wp"] == NONE).all()
        assert (lifting.uncertainty["wp"] == 255).all()
