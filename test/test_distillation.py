# SPDX-License-Identifier: Apache-2.0
"""Laws of the distilled field: it learns the codes, gives the votes their due, stops, and goes on after a kill."""

import dataclasses

import pytest
import torch
from kept import Kept, cancels_at
from labelled_wall import CAMERA, Views, held_out, knows_sides, labels_by_side, lifts, no_labels, tensors_of, wall
from torch.nn.functional import cross_entropy, normalize

from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.field.decoder import decoded_codes, logits, most_likely, new_decoder
from ccl_lgs_ros.field.distillation import DistillationLifter
from ccl_lgs_ros.field.learning import FieldLearner
from ccl_lgs_ros.labelling import LevelLabels, Lifting
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import NONE, SemanticField

RASTERIZER = NumbaRasterizer()
LABELS: dict[str, LevelLabels] = dict.fromkeys(LEVELS, labels_by_side())

lift = lifts(
    DistillationLifter,
    LABELS,
    slots=4,
    min_confidence=0.5,
    min_labelled=0.3,
    channels=8,
    iterations=80,
    learning_rate=1e-2,
    batch_px=256,
    joint=False,
    decode="votes",
    patience=0,
    checkpoint_every=20,
)


def learner(joint: bool = False, batch_px: int = 0) -> FieldLearner:
    generator = torch.Generator().manual_seed(0)
    return FieldLearner(
        wall(), {"wp": 3}, channels=8, learning_rate=1e-2, batch_px=batch_px, joint=joint, generator=generator
    )


@pytest.fixture(scope="module")
def lifted() -> Lifting:
    return lift()


def test_the_decoder_by_hand_reads_only_directions():
    decoder = new_decoder(2, 3, torch.Generator().manual_seed(0))
    assert [tuple(decoder[f"weight{i}"].shape) for i in range(3)] == [(128, 2), (256, 128), (3, 256)]
    x = torch.tensor([[3.0, 4.0]])
    first = (decoder["weight0"] @ torch.tensor([0.6, 0.8]) + decoder["bias0"]).clamp_min(0)
    second = (decoder["weight1"] @ first + decoder["bias1"]).clamp_min(0)
    by_hand = decoder["weight2"] @ second + decoder["bias2"]
    torch.testing.assert_close(logits(decoder, x)[0], by_hand)
    torch.testing.assert_close(logits(decoder, 7 * x), logits(decoder, x))
    code, probability = most_likely(decoder, x)
    assert code[0] == by_hand.argmax()
    torch.testing.assert_close(probability[0], by_hand.softmax(dim=0).max())


def test_a_pixel_that_the_map_hardly_covers_has_no_code():
    decoder = new_decoder(2, 3, torch.Generator().manual_seed(0))
    field = SemanticField(features={}, decoders={"wp": decoder})
    codes = decoded_codes(field, "wp", torch.ones(1, 3, 2), torch.tensor([[0.2, 0.5, 0.51]]))
    assert codes.dtype == torch.int32
    assert codes[0, :2].tolist() == [NONE, NONE]
    assert codes[0, 2] == most_likely(decoder, torch.ones(1, 2))[0][0]


def test_the_loss_is_the_cross_entropy_over_covered_pixels_that_have_a_code():
    learning, view = learner(), Views()[0]
    codes = torch.where(view.labels["wp"] == 1, 0, view.labels["wp"])
    codes[10:, 5:9] = NONE
    before = learning.field
    drawn = RASTERIZER.render(wall(), CAMERA, view.pose, before.features["wp"])
    usable = (codes != NONE) & (drawn.alpha > 0.5)
    evidence = logits(before.decoders["wp"], drawn.features)
    expected = cross_entropy(evidence[usable & ~held_out()], codes[usable & ~held_out()].long())
    is_correct = evidence.argmax(dim=2) == codes
    score = learning.step(view, {"wp": codes}, RASTERIZER)
    assert score.loss == pytest.approx(float(expected), rel=1e-4)
    assert score.total == int((usable & held_out()).sum())
    assert score.correct == int((is_correct & usable & held_out()).sum())


def test_a_step_decodes_no_more_pixels_than_its_batch(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "ccl_lgs_ros.field.learning.logits", lambda decoder, rows: seen.append(len(rows)) or logits(decoder, rows)
    )
    learner(batch_px=64).step(Views()[0], {"wp": Views()[0].labels["wp"]}, RASTERIZER)
    assert seen == [64, 8]


def test_a_view_without_codes_teaches_nothing():
    learning = learner()
    before = learning.field.features["wp"].clone()
    codes = torch.full((CAMERA.height, CAMERA.width), NONE, dtype=torch.int32)
    score = learning.step(Views()[0], {"wp": codes}, RASTERIZER)
    assert (score.loss, score.total) == (0.0, 0)
    assert torch.equal(learning.field.features["wp"], before)


def test_both_levels_learn_to_name_the_codes_of_the_views(lifted):
    assert lifted.figures is not None and lifted.field is not None
    assert lifted.figures["distill_steps"] == 80
    assert lifted.figures["distill_accuracy"] > 0.8
    view = Views()[1]
    for level in LEVELS:
        drawn = RASTERIZER.render(wall(), CAMERA, view.pose, lifted.field.features[level])
        codes = decoded_codes(lifted.field, level, drawn.features, drawn.alpha)
        expected = labels_by_side().code_of_label[view.labels[level].long()]
        is_asked = (view.labels[level] != NONE) & (drawn.alpha > 0.5)
        assert (codes == expected)[is_asked].float().mean() > 0.95


def test_gaussians_get_the_label_of_the_side_that_they_are_on(lifted):
    assert all(knows_sides(lifted, level) for level in LEVELS)


def test_semantics_move_no_geometry_unless_asked(lifted):
    for name, tensor in wall().tensors().items():
        assert torch.equal(lifted.gaussians.tensors()[name], tensor)


def test_a_joint_training_moves_geometry_and_learns_colour():
    views = Views(brightness=200)
    trained = lift(joint=True, views=views, iterations=60).gaussians
    assert not torch.equal(trained.means, wall().means)

    def error(gaussians) -> float:
        view = views[0]
        drawn = RASTERIZER.render(gaussians, CAMERA, view.pose)
        return float((drawn.color - 200 / 255).abs()[drawn.alpha > 0.5].mean())

    assert error(trained) < error(wall()) - 0.03


def test_a_held_out_view_moves_nothing_but_features():
    learning = learner(joint=True)
    view = dataclasses.replace(Views()[0], gives_colour=False)
    before = learning.field.features["wp"].clone()
    learning.step(view, {"wp": view.labels["wp"]}, RASTERIZER)
    assert not torch.equal(learning.field.features["wp"], before)
    for name, tensor in wall().tensors().items():
        assert torch.equal(learning.gaussians.tensors()[name], tensor)


def test_equal_generators_give_equal_fields(lifted):
    again, other = tensors_of(lift()), tensors_of(lift(seed=1))
    assert all(torch.equal(tensor, again[name]) for name, tensor in tensors_of(lifted).items())
    assert not torch.equal(again["features.wp"], other["features.wp"])


@pytest.mark.parametrize("joint", [False, True])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(joint):
    whole = tensors_of(lift(joint=joint, iterations=30))
    kept = Kept()
    with pytest.raises(Cancelled):
        lift(kept, cancels_at(13), joint=joint, iterations=30)
    steps = []

    def note(stage: str, done: int, total: int, **figures: float) -> None:
        if stage == "distill":
            steps.append(done)

    resumed = lift(kept, note, joint=joint, iterations=30, seed=9)
    assert steps == list(range(14, 31))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in tensors_of(resumed).items())


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint():
    class Killed(BaseException):
        pass

    def dies(stage: str, done: int, total: int, **figures: float) -> None:
        if done == 17:
            raise Killed

    kept, whole = Kept(), tensors_of(lift(iterations=30, checkpoint_every=5))
    with pytest.raises(Killed):
        lift(kept, dies, iterations=30, checkpoint_every=5)
    assert kept.saves == 3
    resumed = tensors_of(lift(kept, iterations=30, checkpoint_every=5))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in resumed.items())


def test_no_checkpoint_is_kept_where_none_is_asked_for():
    kept = Kept()
    lift(kept, iterations=3, checkpoint_every=0)
    assert kept.saves == 0


def test_patience_ends_a_training_that_gains_no_more(monkeypatch):
    monkeypatch.setattr("ccl_lgs_ros.field.course.CHECK_EVERY", 10)
    figures = lift(iterations=2000, patience=2).figures
    assert figures is not None
    assert 30 <= figures["distill_steps"] < 300
    assert figures["distill_accuracy"] > 0.9


def test_decoding_single_gaussians_is_another_answer(lifted):
    alone = lift(decode="gaussians")
    assert torch.equal(tensors_of(alone)["features.wp"], tensors_of(lifted)["features.wp"])
    assert alone.field is not None
    code, _ = most_likely(alone.field.decoders["wp"], alone.field.features["wp"])
    label = alone.label_of_gaussian["wp"]
    is_seen = label != NONE
    assert torch.equal(labels_by_side().code_of_label[label[is_seen].long()], code[is_seen])
    assert not torch.equal(alone.confidence["wp"], lifted.confidence["wp"])


def test_a_level_without_a_codebook_has_no_labels():
    labels = {"sp": no_labels(), "wp": labels_by_side()}
    lifting = lift(labels=labels, views=Views(blank=["sp"]), iterations=20)
    assert (lifting.label_of_gaussian["sp"] == NONE).all() and not lifting.confidence["sp"].any()
    assert (lifting.label_of_gaussian["wp"] != NONE).any()
    assert lifting.field is not None and list(lifting.field.features) == ["wp"]


def test_no_views_give_no_labels():
    lifting = lift(views=Views(count=0))
    assert all((label == NONE).all() for label in lifting.label_of_gaussian.values())


def test_features_start_in_no_particular_direction():
    features = learner().field.features["wp"]
    assert normalize(features, dim=1).mean(dim=0).norm() < 0.2
