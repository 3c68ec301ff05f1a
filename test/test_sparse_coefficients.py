# SPDX-License-Identifier: Apache-2.0
"""Mixtures of a learnt codebook: every rule by hand, what a wall learns, and a training that is stopped and goes on."""

import dataclasses
import math

import pytest
import torch
from kept import Kept, cancels_at
from labelled_wall import Views, is_clear, is_right, labels_by_side, lifts, tensors_of, wall, without_codebook
from torch import Tensor

from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.field.sparse_coefficients import SparseCoefficientsLifter, labels_of_entries, voted_logits
from ccl_lgs_ros.field.sparse_learning import cosine_loss, sparse_coefficients
from ccl_lgs_ros.labelling import LevelLabels, Lifting
from ccl_lgs_ros.languages import SparseCodes
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, VoteTable

RASTERIZER = NumbaRasterizer()
LABELS: dict[str, LevelLabels] = dict.fromkeys(LEVELS, labels_by_side())

lift = lifts(
    SparseCoefficientsLifter,
    LABELS,
    slots=2,
    min_confidence=0.0,
    min_labelled=0.3,
    iterations=40,
    learning_rate=1e-2,
    batch_px=256,
    patience=0,
    checkpoint_every=10,
)


def spoken(lifting: Lifting, level: str = "wp") -> SparseCodes:
    language = lifting.languages[level]
    assert isinstance(language, SparseCodes)
    return language


def everything(lifting: Lifting) -> dict[str, Tensor]:
    return {**tensors_of(lifting), "entry": spoken(lifting).entry, "weight": spoken(lifting).weight}


def apart() -> LevelLabels:
    """Segments that look like no entry: the left between entries 0 and 2, the right like entry 1 turned to the last."""
    looks = torch.tensor([[0.6, 0.0, 0.8, 0.0], [0.0, 0.8, 0.0, 0.6]])
    level = labels_by_side()
    table = dataclasses.replace(level.table, features=looks[level.label_of_row])
    return dataclasses.replace(level, table=table, code_of_label=torch.tensor([2, 1]))


def test_the_four_largest_are_kept_and_sum_to_one() -> None:
    shares = torch.tensor([[0.1, 0.3, 0.02, 0.2, 0.18, 0.2]])
    coefficients, entry = sparse_coefficients(shares.log(), 4)
    assert sorted(entry[0].tolist()) == [1, 3, 4, 5] and int(entry[0, 0]) == 1
    assert coefficients[0].tolist() == pytest.approx([0.3 / 0.88, 0.2 / 0.88, 0.2 / 0.88, 0.18 / 0.88])


def test_fewer_entries_than_are_kept_are_all_of_them() -> None:
    coefficients, entry = sparse_coefficients(torch.tensor([[0.0, math.log(3.0)]]), 4)
    assert coefficients[0].tolist() == pytest.approx([0.75, 0.25]) and entry.tolist() == [[1, 0]]


def test_what_is_cut_off_has_no_gradient() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]], requires_grad=True)
    sparse_coefficients(logits, 2)[0][0, 0].backward()
    assert logits.grad is not None
    share = math.e / (math.e + 1.0)
    assert logits.grad[0].tolist() == pytest.approx([share * (1 - share), -share * (1 - share), 0.0, 0.0])


def test_the_cosine_loss_by_hand_asks_for_no_length() -> None:
    found, wanted = torch.tensor([[3.0, 4.0], [0.0, 0.2]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(cosine_loss(found, wanted)) == pytest.approx((0.4 + 0.0) / 2)
    assert float(cosine_loss(10 * found, wanted)) == pytest.approx(0.2)


def test_coefficients_begin_as_the_votes() -> None:
    table = VoteTable(
        track=torch.tensor([[2, 0], [1, NONE], [NONE, NONE]], dtype=torch.int32),
        weight=torch.tensor([[3.0, 1.0], [5.0, 0.0], [0.0, 0.0]]),
        lost=torch.zeros(3),
        visibility=torch.full((3,), 9.0),
    )
    shares = voted_logits(table, 4).softmax(dim=1)
    rest = 0.01 / 4
    assert shares[0].tolist() == pytest.approx([0.99 * 0.25 + rest, rest, 0.99 * 0.75 + rest, rest])
    assert shares[1].tolist() == pytest.approx([rest, 0.99 + rest, rest, rest])
    assert shares[2].tolist() == pytest.approx([0.25] * 4)


def test_labels_are_the_entries_of_the_codebook() -> None:
    made = labels_of_entries(labels_by_side(count=1), torch.eye(4)[[3, 0, 2]])
    assert made.label_of_row.tolist() == [2, 1], "the left looks like the last entry, the right like the second"
    assert made.code_of_label.tolist() == [0, 1, 2] and made.track_of_label.tolist() == [NONE] * 3
    assert made.codebook.weight.tolist() == [0.0, 1.0, 1.0]


def test_a_wall_learns_what_its_sides_look_like() -> None:
    lifting = lift(labels={"wp": apart()}, iterations=150, learning_rate=0.05)
    codes, entries = spoken(lifting), lifting.labels["wp"].codebook.entries
    assert torch.allclose(entries.norm(dim=1), torch.ones(3), atol=1e-5)
    weight = codes.weight.float() / 255
    vector = torch.nn.functional.normalize((weight[..., None] * entries[codes.entry.clamp_min(0).long()]).sum(1), dim=1)
    is_sure = is_clear(wall()) & (lifting.label_of_gaussian["wp"] != NONE)
    wanted = torch.where(is_right(wall())[:, None], torch.tensor([0.0, 0.8, 0.0, 0.6]), torch.tensor([0.6, 0, 0.8, 0]))
    before = lift(labels={"wp": apart()}, iterations=0)
    assert before.figures is not None and lifting.figures is not None
    start = before.labels["wp"].codebook.entries[spoken(before).entry[:, 0].clamp_min(0).long()]
    assert ((start * wanted).sum(dim=1)[is_sure]).mean() < 0.85
    assert ((vector * wanted).sum(dim=1)[is_sure]).mean() > 0.97
    assert 0 < lifting.figures["distill_loss"] < 0.1 and lifting.figures["distill_accuracy"] > 0.9


def test_a_label_is_the_strongest_coefficient_of_who_is_seen() -> None:
    lifting = lift(min_confidence=0.7)
    codes, label, confidence = spoken(lifting), lifting.label_of_gaussian["wp"], lifting.confidence["wp"]
    has = label != NONE
    assert torch.equal(label[has], codes.entry[has, 0])
    assert (confidence[has] >= round(0.7 * 255) - 1).all() and not confidence[~has].any()
    is_sure = is_clear(wall()) & has
    assert torch.equal(label[is_sure] == 0, is_right(wall())[is_sure])


def test_blending_vectors_is_blending_coefficients() -> None:
    """Two numbers that are 0 everywhere make vectors longer than there are entries, and change nothing else."""
    level = labels_by_side()
    entries, features = torch.eye(4), level.table.features

    def longer(rows: Tensor) -> Tensor:
        return torch.cat([rows, torch.zeros(len(rows), 2)], dim=1)

    found = []
    for wide in (torch.clone, longer):
        five = torch.cat([entries, torch.full((1, 4), 0.5)])
        labels = dataclasses.replace(
            level,
            table=dataclasses.replace(level.table, features=wide(features)),
            codebook=Codebook(entries=wide(five), weight=torch.ones(5)),
        )
        found.append(lift(labels={"wp": labels}, iterations=8))
    short, long = found
    assert torch.allclose(longer(short.labels["wp"].codebook.entries), long.labels["wp"].codebook.entries, atol=1e-3)
    assert short.figures is not None and long.figures is not None
    assert short.figures["distill_loss"] == pytest.approx(long.figures["distill_loss"], abs=1e-4)


def test_no_step_leaves_the_votes_as_they_are() -> None:
    lifting = lift(iterations=0)
    assert torch.equal(lifting.labels["wp"].codebook.entries, torch.eye(4)[:3])
    assert lifting.figures == {"distill_steps": 0, "distill_loss": 0.0, "distill_accuracy": 0.0}


def test_equal_inputs_give_equal_mixtures() -> None:
    first, again = everything(lift()), everything(lift())
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_stopped_training_goes_on_as_if_it_had_not_been() -> None:
    kept = Kept()
    with pytest.raises(Cancelled):
        lift(kept, cancels_at(17))
    assert int(kept.tensors["course"][0]) == 17
    whole, resumed = everything(lift()), everything(lift(checkpoint=kept))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_nothing_seen_says_nothing() -> None:
    for lifting in (lift(views=Views(count=0)), lift(gaussians=Gaussians.empty())):
        assert (lifting.label_of_gaussian["sp"] == NONE).all() and not lifting.confidence["sp"].any()
        assert (spoken(lifting, "sp").entry == NONE).all()


def test_a_level_without_a_codebook_says_nothing() -> None:
    lifting = lift(labels={"sp": without_codebook(), "wp": labels_by_side()}, views=Views(blank=["sp"]))
    assert (lifting.label_of_gaussian["sp"] == NONE).all() and "sp" not in lifting.languages
    assert (lifting.label_of_gaussian["wp"] != NONE).any()


def test_no_codebook_at_any_level_says_nothing() -> None:
    lifting = lift(labels={"wp": without_codebook()}, views=Views(count=0))
    assert (lifting.label_of_gaussian["wp"] == NONE).all() and not lifting.languages
