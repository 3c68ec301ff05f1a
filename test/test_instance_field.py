# SPDX-License-Identifier: Apache-2.0
"""Laws of the instance field: single masks teach it things, masks name them, and it goes on after a kill."""

import dataclasses
from typing import ClassVar, cast

import numpy as np
import pytest
import torch
from kept import Kept, cancels_at
from labelled_wall import CAMERA, Views, is_clear, is_right, labels_by_side, lifts, wall
from torch import Tensor

from ccl_lgs_ros.answers import Prompt
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.evaluation.points import scannet_points
from ccl_lgs_ros.field.instance_field import InstanceFieldLifter
from ccl_lgs_ros.field.instance_language import Instances, instance_language, scores
from ccl_lgs_ros.labelling import LabelledView, Lifting
from ccl_lgs_ros.map_subject import MapSubject
from ccl_lgs_ros.protocols import Encoder
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.semantics import semantic_level
from ccl_lgs_ros.structures import NONE, Gaussians, SemanticMap

RASTERIZER = NumbaRasterizer()
LABELS = {"wp": labels_by_side()}

lift = lifts(
    InstanceFieldLifter,
    LABELS,
    slots=4,
    min_confidence=0.5,
    min_labelled=0.3,
    channels=6,
    iterations=80,
    learning_rate=0.05,
    coarse_clusters=2,
    fine_clusters=2,
    track_vote=False,
    checkpoint_every=20,
)


def everything(lifting: Lifting) -> list[Tensor]:
    own = lifting.labels["wp"]
    return [lifting.label_of_gaussian["wp"], lifting.confidence["wp"], own.codebook.entries, own.label_of_row]


@pytest.fixture(scope="module")
def lifted() -> Lifting:
    return lift()


def test_no_instance_spans_what_every_view_keeps_apart(lifted):
    clear = is_clear(wall()) & (lifted.label_of_gaussian["wp"] != NONE)
    label, right = lifted.label_of_gaussian["wp"][clear], is_right(wall())[clear]
    assert clear.sum() > 100
    sides = [right[label == one].float().mean() for one in label.unique()]
    assert all(min(float(side), 1.0 - float(side)) < 0.1 for side in sides)


def test_an_instance_speaks_the_language_of_the_masks_it_fits(lifted):
    own, label = lifted.labels["wp"], lifted.label_of_gaussian["wp"]
    clear = is_clear(wall()) & (label != NONE)
    said = own.codebook.entries[own.code_of_label[label[clear].long()]].argmax(dim=1)
    assert (said == torch.where(is_right(wall())[clear], 0, 2)).float().mean() > 0.95  # as labelled_wall's codes


def test_a_segment_is_of_the_instance_that_fits_it_best(lifted):
    own = lifted.labels["wp"]
    said = own.codebook.entries[own.label_of_row].argmax(dim=1)
    assert torch.equal(said, own.table.features.argmax(dim=1))


def test_it_makes_labels_that_owe_nothing_to_the_tracks(lifted):
    table = dataclasses.replace(labels_by_side().table, track=torch.full((8,), NONE))
    blind = lift(labels={"wp": dataclasses.replace(labels_by_side(), table=table)})
    assert all(torch.equal(a, b) for a, b in zip(everything(blind), everything(lifted), strict=True))


def test_tracks_join_the_pieces_of_a_thing_where_they_have_a_vote(lifted):
    joined = lift(track_vote=True)
    assert len(joined.labels["wp"].codebook) == 2
    assert len(lifted.labels["wp"].codebook) > 2


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(lifted):
    for stop in (33, 90, 110):  # among the features, the coarse clusters, the fine ones
        kept = Kept()
        with pytest.raises(Cancelled):
            lift(kept, cancels_at(stop))
        resumed = lift(kept)
        assert all(torch.equal(a, b) for a, b in zip(everything(resumed), everything(lifted), strict=True))


def test_nothing_to_learn_from_gives_no_labels():
    for nothing in (lift(views=Views(count=0)), lift(gaussians=Gaussians.empty())):
        assert (nothing.label_of_gaussian["wp"] == NONE).all()
        assert not nothing.confidence["wp"].any()
    assert not lift(labels={}).label_of_gaussian


def test_features_are_clustered_even_without_any_step():
    assert (lift(iterations=0).label_of_gaussian["wp"] != NONE).any()


def two_plates() -> Gaussians:
    """A wall, and the same wall twice as far away, behind it."""
    near = wall()
    means = torch.cat([near.means, near.means * 2.0])
    log_scales = torch.cat([near.log_scales, near.log_scales + torch.tensor(2.0).log()])
    doubled = {name: torch.cat([values, values]) for name, values in near.tensors().items()}
    return Gaussians(**{**doubled, "means": means, "log_scales": log_scales})


class Words:
    """A language whose words are the axes of labelled_wall's features."""

    words: ClassVar = {"wall": 0, "floor": 2}

    def understand(self, text: str) -> Prompt:
        feature = torch.zeros(4)
        if text in self.words:
            feature[self.words[text]] = 1.0
        return Prompt(text=text, feature=feature)


def test_its_maps_are_scored_by_the_published_protocol_on_points(lifted):
    semantic_map = SemanticMap(
        gaussians=wall(), levels={"wp": semantic_level(lifted, "wp", labels_by_side())}, encoder="words"
    )
    subject = MapSubject(semantic_map, MapConfig(), encoder=cast(Encoder, Words()))
    right = is_right(wall()).numpy()
    units = scannet_points(subject, wall().means.numpy() + 0.01, np.where(right, 1, 2))  # NYU40: wall, floor
    assert {unit.prompt for unit in units} == {"wall", "floor"}
    assert all(unit.values["iou"] > 0.8 for unit in units)


class OneMask:
    """One view, all of which is one mask."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int, /) -> LabelledView:
        rows = torch.zeros(CAMERA.height, CAMERA.width, dtype=torch.int32)
        view = Views(count=1)[0]
        return dataclasses.replace(view, rows={"wp": rows}, labels={"wp": rows})


def test_what_is_hidden_overlaps_a_mask_as_well_but_differs_from_it_in_feature():
    gaussians = two_plates()
    owner = torch.arange(2).repeat_interleave(len(wall()))
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    instances = Instances.of(owner, features[owner])
    rows, score = scores(gaussians, instances, OneMask()[0], "wp", RASTERIZER)
    overlap = RASTERIZER.render(wall(), CAMERA, Views(count=1)[0].pose).alpha.mean()
    drawn = RASTERIZER.render(gaussians, CAMERA, Views(count=1)[0].pose, instances.painted())
    pseudo = drawn.features[drawn.alpha > 0.5].mean(dim=0)
    assert rows.tolist() == [0]
    # Alone both cover the image alike; the mask shows hardly anything of the one behind.
    by_hand = overlap * (1.0 - (features - pseudo).abs().sum(dim=1)).clamp_min(0.0)
    torch.testing.assert_close(score[:, 0], by_hand, atol=1e-3, rtol=1e-3)
    assert score[0, 0] > 4 * score[1, 0]


def test_what_no_view_shows_has_no_language():
    gaussians = two_plates()
    behind = Gaussians(**{**gaussians.tensors(), "means": -gaussians.means})
    instances = Instances.of(torch.zeros(len(behind), dtype=torch.int64), torch.ones(len(behind), 2))
    found = instance_language(
        behind, instances, OneMask(), "wp", labels_by_side(1).table, RASTERIZER, lambda done, total: None
    )
    assert not found.entries.any() and not found.weight.any()
    assert found.instance_of_row.tolist() == [NONE, NONE]


def test_instances_are_numbered_without_gaps():
    instances = Instances.of(torch.tensor([7, NONE, 3, 7]), torch.tensor([[1.0], [9.0], [5.0], [3.0]]))
    assert instances.of_gaussian.tolist() == [1, NONE, 0, 1]
    assert instances.features.tolist() == [[5.0], [2.0]]
    assert instances.painted().tolist() == [[2.0], [0.0], [5.0], [2.0]]
