# SPDX-License-Identifier: Apache-2.0
"""Laws of identity encoding: its losses by hand, its neighbours, what it teaches Gaussians, and that it goes on."""

import dataclasses
from math import log

import pytest
import torch
from kept import Kept, cancels_at
from labelled_wall import Views, is_clear, is_right, knows_sides, labels_by_side, lifts, no_labels, tensors_of, wall
from torch import Tensor

from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.field.identity_encoding import IdentityEncodingLifter, classes_of
from ccl_lgs_ros.field.identity_losses import identity_loss, nearest_neighbours, neighbour_divergence
from ccl_lgs_ros.labelling import LevelLabels, Lifting
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import NONE, Gaussians

RASTERIZER = NumbaRasterizer()
LABELS: dict[str, LevelLabels] = dict.fromkeys(LEVELS, labels_by_side())

lift = lifts(
    IdentityEncodingLifter,
    LABELS,
    slots=4,
    min_confidence=0.5,
    min_labelled=0.3,
    channels=4,
    iterations=60,
    learning_rate=2e-2,
    batch_px=256,
    neighbours=5,
    neighbour_weight=2.0,
    neighbour_sample=100,
    decode="gaussians",
    patience=0,
    checkpoint_every=10,
)


def beliefs(*probabilities: list[float]) -> Tensor:
    return torch.tensor(probabilities).log()


@pytest.fixture(scope="module")
def lifted() -> Lifting:
    return lift()


def test_the_divergence_of_a_half_from_a_quarter_by_hand():
    own, theirs = beliefs([0.5, 0.5]), beliefs([0.25, 0.75])[None]
    expected = (0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75)) / 2
    assert expected == pytest.approx(0.0719205)
    assert float(neighbour_divergence(own, theirs)) == pytest.approx(expected)
    assert float(neighbour_divergence(own + 3.0, theirs - 1.0)) == pytest.approx(expected)  # evidence has no zero


def test_the_divergence_is_the_mean_over_gaussians_and_neighbours_and_by_class():
    own = beliefs([0.5, 0.5], [0.9, 0.1])
    theirs = torch.stack([beliefs([0.5, 0.5], [0.25, 0.75]), beliefs([0.9, 0.1], [0.1, 0.9])])
    far = 0.9 * log(0.9 / 0.1) + 0.1 * log(0.1 / 0.9)
    half = 0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75)
    assert float(neighbour_divergence(own, theirs)) == pytest.approx((0 + half + 0 + far) / 4 / 2)


def test_the_divergence_pulls_both_sides_together():
    own, theirs = beliefs([0.9, 0.1]).requires_grad_(), beliefs([0.4, 0.6])[None].requires_grad_()
    neighbour_divergence(own, theirs).backward()
    assert own.grad is not None and theirs.grad is not None
    assert own.grad[0, 0] > 0 and theirs.grad[0, 0, 0] < 0


def test_without_neighbours_there_is_no_divergence():
    assert float(neighbour_divergence(torch.ones(1, 3), torch.ones(1, 0, 3))) == 0.0


def test_the_identity_loss_is_one_where_nothing_is_known():
    target = torch.tensor([0, 3, 6])
    assert float(identity_loss(torch.zeros(3, 7), target)) == pytest.approx(1.0)
    known = beliefs([0.75, 0.25])
    assert float(identity_loss(known, torch.tensor([0]))) == pytest.approx(-log(0.75) / log(2))
    assert float(identity_loss(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))) == 0.0


def test_neighbours_are_the_nearest_others():
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [3.5, 0, 0]])
    assert nearest_neighbours(points, 2).tolist() == [[1, 2], [0, 2], [3, 1], [2, 1]]
    assert nearest_neighbours(points, 9).shape == (4, 3)
    assert nearest_neighbours(points[:1], 5).shape == (1, 0)
    assert nearest_neighbours(points[:0], 5).shape == (0, 0)


def test_of_points_that_coincide_none_is_its_own_neighbour():
    neighbours = nearest_neighbours(torch.zeros(9, 3), 3)
    assert neighbours.shape == (9, 3)
    assert (neighbours != torch.arange(9)[:, None]).all()


def test_the_classes_are_tracks_and_a_label_without_one_is_a_class_of_its_own():
    labels = dataclasses.replace(
        labels_by_side(),
        track_of_label=torch.tensor([4, NONE, 2, 4, NONE]),
        code_of_label=torch.zeros(5, dtype=torch.int64),
    )
    assert classes_of(labels).tolist() == [1, 2, 0, 1, 3]


@pytest.mark.parametrize("decode", ["gaussians", "votes"])
def test_gaussians_get_the_track_of_the_side_that_they_are_on(decode):
    lifting = lift(decode=decode)
    assert lifting.figures is not None and lifting.figures["identity_accuracy"] > 0.9
    assert all(knows_sides(lifting, level) for level in LEVELS)


def test_what_no_view_shows_learns_from_its_neighbours():
    behind = dataclasses.replace(wall(), means=wall().means + torch.tensor([0.0, 0.0, -0.01]))
    unseen = dataclasses.replace(wall(), logit_opacities=torch.full((len(wall()),), -20.0))
    scene, hidden = behind.joined(unseen), slice(len(wall()), None)
    clear = is_clear(wall())
    taught = lift(gaussians=scene, neighbour_weight=20.0, neighbour_sample=600).label_of_gaussian["wp"][hidden]
    alone = lift(gaussians=scene, neighbour_weight=0.0).label_of_gaussian["wp"][hidden]
    truth = is_right(wall()).int()
    assert (taught == truth)[clear].float().mean() > 0.9
    assert (alone == truth)[clear].float().mean() < 0.7


def test_equal_generators_give_equal_labels(lifted):
    again, other = tensors_of(lift()), tensors_of(lift(seed=1))
    assert all(torch.equal(tensor, again[name]) for name, tensor in tensors_of(lifted).items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in tensors_of(lifted).items())


def test_geometry_is_what_it_was(lifted):
    for name, tensor in wall().tensors().items():
        assert torch.equal(lifted.gaussians.tensors()[name], tensor)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(lifted):
    kept, steps = Kept(), []

    def note(stage: str, done: int, total: int, **figures: float) -> None:
        if stage == "distill":
            steps.append(done)

    with pytest.raises(Cancelled):
        lift(kept, cancels_at(33))
    resumed = tensors_of(lift(kept, note, seed=9))
    assert steps == list(range(34, 61))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in tensors_of(lifted).items())


@pytest.mark.parametrize("decode", ["gaussians", "votes"])
def test_of_nothing_nothing_is_learnt(decode):
    blank = Views(blank=LEVELS)
    for lifting in (
        lift(views=Views(count=0), decode=decode),
        lift(labels=dict.fromkeys(LEVELS, no_labels()), views=blank, decode=decode),
        lift(views=blank, decode=decode),
    ):
        assert all((label == NONE).all() for label in lifting.label_of_gaussian.values())
        assert not any(confidence.any() for confidence in lifting.confidence.values())
    assert len(lift(gaussians=Gaussians.empty(), decode=decode).label_of_gaussian["wp"]) == 0
