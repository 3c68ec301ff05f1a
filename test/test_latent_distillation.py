# SPDX-License-Identifier: Apache-2.0
"""Laws of the field of latents: the autoencoder reconstructs, blends become latents, and a run that ends goes on."""

import dataclasses
from typing import cast

import pytest
import torch
from kept import Kept, cancels_at
from labelled_wall import CAMERA, Views, held_out, knows_sides, labels_by_side, lifts, no_labels, tensors_of, wall
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.field.autoencoder import (
    COSINE_WEIGHT,
    decoded,
    decoder_of,
    encoded,
    nearest_codes,
    new_autoencoder,
    reconstruction_loss,
    says_vectors,
)
from ccl_lgs_ros.field.decoder import new_decoder
from ccl_lgs_ros.field.latent_distillation import LatentDistillationLifter
from ccl_lgs_ros.field.latent_learning import LatentLearner
from ccl_lgs_ros.field_view import code_view, field_relevancies, field_view
from ccl_lgs_ros.labelling import Lifting
from ccl_lgs_ros.protocols import Encoder
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import NONE, Gaussians, SemanticLevel, SemanticMap

RASTERIZER = NumbaRasterizer()
LEVELS = ("s", "l")


LABELS = {"s": labels_by_side(), "m": no_labels(), "l": labels_by_side()}
VIEWS = Views(levels=tuple(LABELS), blank=["m"])

lift = lifts(
    LatentDistillationLifter,
    LABELS,
    VIEWS,
    slots=4,
    min_confidence=0.5,
    min_labelled=0.3,
    channels=3,
    latent_iterations=60,
    iterations=60,
    learning_rate=2e-2,
    batch_px=256,
    patience=0,
    checkpoint_every=20,
)


def learner(batch_px: int = 0) -> LatentLearner:
    generator = torch.Generator().manual_seed(0)
    coded = {name: LABELS[name] for name in LEVELS}
    return LatentLearner(wall(), coded, channels=3, learning_rate=1e-2, batch_px=batch_px, generator=generator)


@pytest.fixture(scope="module")
def lifted() -> Lifting:
    return lift()


def test_inner_layers_are_the_published_ones_for_the_published_length():
    network = new_autoencoder(512, 3, torch.Generator().manual_seed(0))
    into = [tuple(network[f"latent.weight{i}"].shape) for i in range(5)]
    assert into == [(256, 512), (128, 256), (64, 128), (32, 64), (3, 32)]
    out = [tuple(network[f"vector.weight{i}"].shape) for i in range(7)]
    assert out == [(16, 3), (32, 16), (64, 32), (128, 64), (256, 128), (256, 256), (512, 256)]
    assert len(network) == 2 * (5 + 7)
    assert network["vector.weight6"].abs().max() <= (6 / 256) ** 0.5 and not network["vector.bias6"].any()
    small = new_autoencoder(12, 3, torch.Generator().manual_seed(0))
    assert [small[f"vector.weight{i}"].shape[0] for i in range(7)] == [16, 32, 32, 32, 32, 32, 12]


def test_the_networks_by_hand_have_relu_between_layers_and_unit_ends():
    into = {"latent.weight0": torch.tensor([[3.0, 4.0], [1.0, -1.0]]), "latent.bias0": torch.tensor([0.0, 0.0])}
    into |= {"latent.weight1": torch.tensor([[1.0, 0.0], [0.0, 5.0]]), "latent.bias1": torch.tensor([0.0, 3.0])}
    # (0, 1) -> (4, -1) -> ReLU (4, 0) -> (4, 3) -> unit
    torch.testing.assert_close(encoded(into, torch.tensor([[0.0, 1.0]])), torch.tensor([[0.8, 0.6]]))
    out = {name.replace("latent", "vector"): tensor for name, tensor in into.items()}
    torch.testing.assert_close(decoded(out, torch.tensor([[0.0, 7.0]])), torch.tensor([[0.8, 0.6]]))
    assert says_vectors(decoder_of({**into, **out})) and not set(decoder_of({**into, **out})) & set(into)
    assert not says_vectors(new_decoder(3, 2, torch.Generator()))


def test_the_reconstruction_loss_by_hand():
    found, features = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[0.0, 1.0], [0.6, 0.8]])
    # squares 1, 1, 0, 0 of four numbers; cosines 0 and 1
    torch.testing.assert_close(reconstruction_loss(found, features), torch.tensor(0.5 + COSINE_WEIGHT * 0.5))
    assert reconstruction_loss(features, features) == 0.0


def test_the_autoencoder_reconstructs_what_it_learnt_from():
    labels = dataclasses.replace(LABELS["s"], table=dataclasses.replace(LABELS["s"].table, features=spread()))
    generator = torch.Generator().manual_seed(0)
    learning = LatentLearner(
        Gaussians.empty(), {"s": labels}, channels=3, learning_rate=1e-2, batch_px=0, generator=generator
    )
    before = learning.cosine()
    losses = [learning.autoencoder_step() for _ in range(250)]
    assert learning.cosine() > 0.99 > 0.8 > before
    assert losses[-1] < 0.05 * losses[0]


def spread() -> Tensor:
    """Eight vectors of length 12 that differ much."""
    return normalize(torch.eye(12)[:8] + 0.1, dim=1)


def test_a_pixel_takes_the_entry_nearest_to_its_vector():
    decoder = {"vector.weight0": torch.eye(2), "vector.bias0": torch.zeros(2)}
    rendered = torch.tensor([[[2.0, 0.1], [0.1, 0.3], [5.0, 0.0]]])
    codes = nearest_codes(decoder, torch.eye(2), rendered, torch.tensor([[True, True, False]]))
    assert codes.dtype == torch.int32 and codes.tolist() == [[0, 1, NONE]]
    assert nearest_codes(decoder, torch.eye(2), rendered, torch.zeros(1, 3, dtype=torch.bool)).tolist() == [[NONE] * 3]


def test_the_loss_is_the_mean_distance_of_blend_and_latent_over_covered_pixels_of_a_segment():
    learning, view = learner(), VIEWS[0]
    rows = view.rows["s"].clone()
    rows[10:, 5:9] = NONE
    before = learning.field
    drawn = RASTERIZER.render(wall(), CAMERA, view.pose, before.features["s"])
    usable = (rows != NONE) & (drawn.alpha > 0.5)
    latents = encoded(learning.autoencoder, LABELS["s"].table.features)
    blend = drawn.features / drawn.alpha[..., None].clamp_min(1e-9)
    off = (blend - latents[rows.clamp_min(0).long()]).abs().mean(dim=2)
    nothing = torch.full_like(rows, NONE)
    score = learning.step(dataclasses.replace(view, rows={"s": rows, "l": nothing}), RASTERIZER)
    assert score.loss == pytest.approx(float(off[usable & ~held_out()].mean()), rel=1e-4)
    assert score.total == int((usable & held_out()).sum())
    assert torch.equal(learning.field.features["l"], before.features["l"])
    assert not torch.equal(learning.field.features["s"], before.features["s"])


def test_a_view_without_segments_teaches_nothing():
    learning, view = learner(), VIEWS[0]
    before = learning.field.features["s"].clone()
    nothing = dict.fromkeys(LEVELS, view.rows["m"])
    score = learning.step(dataclasses.replace(view, rows=nothing), RASTERIZER)
    assert (score.loss, score.total) == (0.0, 0)
    assert torch.equal(learning.field.features["s"], before)


def test_gaussians_get_the_label_of_the_side_that_they_are_on_and_geometry_stays(lifted):
    assert all(knows_sides(lifted, level) for level in LEVELS)
    for name, tensor in wall().tensors().items():
        assert torch.equal(lifted.gaussians.tensors()[name], tensor)
    assert lifted.figures is not None
    assert lifted.figures["autoencoder_cosine"] > 0.99 and lifted.figures["distill_accuracy"] > 0.7


def test_a_level_without_segments_has_no_labels_and_no_field(lifted):
    assert (lifted.label_of_gaussian["m"] == NONE).all() and not lifted.confidence["m"].any()
    assert lifted.field is not None and tuple(lifted.field.features) == LEVELS
    assert torch.allclose(lifted.field.features["s"].norm(dim=1), torch.tensor(1.0))


@pytest.mark.parametrize("missing", ["views", "gaussians", "codebooks"])
def test_where_there_is_nothing_there_are_no_labels(missing):
    views = Views(count=0) if missing == "views" else None
    gaussians = Gaussians.empty() if missing == "gaussians" else wall()
    labels = dict.fromkeys(LABELS, no_labels()) if missing == "codebooks" else LABELS
    lifting = lift(views=views, gaussians=gaussians, labels=labels)
    assert all(len(label) == len(gaussians) and (label == NONE).all() for label in lifting.label_of_gaussian.values())


def test_equal_generators_give_equal_fields(lifted):
    again = tensors_of(lift())
    assert all(torch.equal(tensor, again[name]) for name, tensor in tensors_of(lifted).items())
    assert not torch.equal(tensors_of(lift(seed=1, iterations=5))["features.s"], again["features.s"])


@pytest.mark.parametrize(("stage", "step"), [("autoencoder", 13), ("distill", 13)])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(stage, step, lifted):
    kept = Kept()
    with pytest.raises(Cancelled):
        lift(kept, cancels_at(step, stage))
    steps = {"autoencoder": [], "distill": []}

    def note(name: str, done: int, total: int, **figures: float) -> None:
        steps.get(name, []).append(done)

    resumed = tensors_of(lift(kept, note, seed=9))
    assert steps[stage] == list(range(14, 61))
    assert steps["autoencoder"] or stage == "distill"
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in tensors_of(lifted).items())


def test_no_checkpoint_is_kept_where_none_is_asked_for():
    kept = Kept()
    lift(kept, iterations=2, latent_iterations=2, checkpoint_every=0)
    assert not kept.tensors


def test_patience_ends_a_training_that_gains_no_more(monkeypatch):
    monkeypatch.setattr("ccl_lgs_ros.field.course.CHECK_EVERY", 10)
    figures = lift(latent_iterations=20, iterations=2000, patience=1).figures
    assert figures is not None and 20 <= figures["distill_steps"] < 400


class Sees:
    """An encoder to which a number of a vector, which the prompt names, is its relevancy."""

    def relevancy(self, features: Tensor, prompt: Prompt) -> Tensor:
        return features[..., int(prompt.text)]


SEES = cast(Encoder, Sees())


def semantic_map(lifting: Lifting) -> SemanticMap:
    levels = {
        name: SemanticLevel(
            track_of_gaussian=lifting.label_of_gaussian[name],
            confidence=lifting.confidence[name],
            entry_of_track=level.code_of_label,
            codebook=level.codebook,
        )
        for name, level in LABELS.items()
    }
    return SemanticMap(gaussians=lifting.gaussians, levels=levels, encoder="test", field=lifting.field)


def asked(text: str, level: str) -> Answer:
    prompt = Prompt(text=text, feature=torch.ones(4))
    return Answer(prompt=prompt, instances=(), best_score=1.0, threshold=0.6, level=level, map_version=1, message="")


def test_a_view_of_the_field_shows_how_relevant_each_decoded_vector_is(lifted):
    seen, view = semantic_map(lifted), VIEWS[1]
    where = RASTERIZER, CAMERA, view.pose
    mask, relevancy = field_view(seen, asked("0", "l"), SEES, *where)  # code 0 is on the right
    is_asked = view.labels["l"] != NONE
    assert (mask == (view.labels["l"] == 1))[is_asked].float().mean() > 0.9
    drawn = RASTERIZER.render(wall(), CAMERA, view.pose, lifted.field.features["l"])
    by_hand = decoded(lifted.field.decoders["l"], drawn.features)[..., 0]
    is_covered = drawn.alpha > 0.5
    torch.testing.assert_close(relevancy[is_covered], by_hand[is_covered])
    assert not relevancy[~is_covered].any()
    assert not field_view(seen, asked("0", "m"), SEES, *where)[0].any()
    assert (code_view(seen, "m", *where) == NONE).all()


def test_relevancies_come_at_every_level_that_has_a_field(lifted):
    prompts = [asked(text, "l").prompt for text in "02"]
    found = field_relevancies(semantic_map(lifted), prompts, SEES, RASTERIZER, CAMERA, VIEWS[1].pose)
    assert tuple(found) == LEVELS
    assert found["s"].shape == (2, CAMERA.height, CAMERA.width)
    right = VIEWS[1].labels["s"] == 1
    assert found["s"][0][right].mean() > 0.8 > 0.2 > found["s"][1][right].mean()
