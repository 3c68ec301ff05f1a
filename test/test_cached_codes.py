# SPDX-License-Identifier: Apache-2.0
"""The codes that a Gaussian was seen with most: by hand on one Gaussian and two views, and on a wall."""

import dataclasses

import pytest
import torch
from labelled_wall import Views, is_clear, is_right, labels_by_side, rows_of, wall, without_codebook
from torch import Tensor

from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.field.cached_codes import CachedCodesLifter
from ccl_lgs_ros.field.coded import CODES, CodedViews
from ccl_lgs_ros.labelling import LabelledView, LevelLabels, Lifting
from ccl_lgs_ros.languages import SparseCodes
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.protocols import NoCheckpoint, no_progress
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, Votes

LABELS: dict[str, LevelLabels] = dict.fromkeys(LEVELS, labels_by_side())


def lift(gaussians: Gaussians, views, labels=LABELS, rasterizer=None, progress=no_progress, slots: int = 5) -> Lifting:
    return CachedCodesLifter(slots=slots, min_confidence=0.0, min_labelled=0.3).lift(
        gaussians,
        views,
        labels,
        rasterizer or NumbaRasterizer(),
        generator=torch.Generator().manual_seed(0),
        checkpoint=NoCheckpoint(),
        progress=progress,
    )


def spoken(lifting: Lifting, level: str = "wp") -> SparseCodes:
    language = lifting.languages[level]
    assert isinstance(language, SparseCodes)
    return language


class OnePixel:
    """A rasteriser of one Gaussian, that draws the left pixel of an image with weight 3 and the right with 1."""

    def vote(self, gaussians: Gaussians, camera, world_from_camera, labels: Tensor, most: int = 0) -> Votes:
        named = [(int(label), weight) for label, weight in zip(labels[0], (3.0, 1.0), strict=True) if label != NONE]
        named.sort()
        return Votes(
            gaussian=torch.zeros(len(named), dtype=torch.int64),
            label=torch.tensor([label for label, _ in named]),
            weight=torch.tensor([weight for _, weight in named]),
            visibility=torch.tensor([4.0]),
        )


class Pixels:
    """Views of two pixels with these labels."""

    def __init__(self, *labels: tuple[int, int]) -> None:
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int, /) -> LabelledView:
        labels = torch.tensor([self._labels[index]], dtype=torch.int32)
        return LabelledView(keyframe=Views()[0].keyframe, rows={"wp": labels}, labels={"wp": labels})


def coded(*code_of_label: int) -> LevelLabels:
    """Labels with these codes, of four codes, each of a track of its own."""
    count = len(code_of_label)
    return dataclasses.replace(
        labels_by_side(),
        track_of_label=torch.arange(count),
        code_of_label=torch.tensor(code_of_label),
        codebook=Codebook(entries=torch.eye(4), weight=torch.ones(4)),
    )


def test_the_cache_after_two_views_by_hand() -> None:
    """Label 0 has code 2, labels 1 and 2 have code 1: view 1 gives 3 and 1, view 2 gives 1 for label 2 on the right."""
    one = wall().select(torch.tensor([0]))
    lifting = lift(one, Pixels((0, 1), (1, 2)), {"wp": coded(2, 1, 1)}, OnePixel())
    assert spoken(lifting).entry.tolist() == [[1, 2, -1, -1, -1]]
    assert spoken(lifting).weight.tolist() == [[round(255 * 5 / 8), round(255 * 3 / 8), 0, 0, 0]]
    assert lifting.label_of_gaussian["wp"].tolist() == [1], "of code 1 it was seen with label 1 for 4, with 2 for 1"
    assert lifting.confidence["wp"].tolist() == [round(255 * 5 / 8)]


def test_a_query_asks_the_entries_once_and_gathers() -> None:
    one = wall().select(torch.tensor([0]))
    lifting = lift(one, Pixels((0, 1), (1, 2)), {"wp": coded(2, 1, 1)}, OnePixel())
    asked = []

    def of_features(features: Tensor) -> Tensor:
        asked.append(features)
        return torch.tensor([0.0, 0.8, 0.4, 0.0])

    found = spoken(lifting).relevancy(of_features, torch.eye(4))
    assert found.tolist() == pytest.approx([(159 * 0.8 + 96 * 0.4) / 255])
    assert len(asked) == 1 and torch.equal(asked[0], torch.eye(4))


def test_a_full_cache_keeps_the_heaviest_codes() -> None:
    one = wall().select(torch.tensor([0]))
    lifting = lift(one, Pixels((0, 1), (0, 2), (0, 3)), {"wp": coded(0, 1, 2, 3)}, OnePixel(), slots=2)
    codes = spoken(lifting)
    assert codes.entry.shape == (1, 2) and int(codes.entry[0, 0]) == 0
    assert codes.bytes_per_gaussian == 10


def test_views_of_codes_keep_their_labels() -> None:
    view = CodedViews(views=Views(1), labels=LABELS)[0]
    given = Views(1)[0].labels["wp"]
    assert torch.equal(view.labels["wp"], given)
    assert torch.equal(view.labels["wp" + CODES], torch.where(given == NONE, NONE, 2 - 2 * given))
    assert view.keyframe.image is not None and torch.equal(view.rows["wp"], rows_of(given, 0))


def test_a_wall_says_what_its_sides_are() -> None:
    lifting = lift(wall(), Views())
    label = lifting.label_of_gaussian["wp"]
    is_sure = is_clear(wall()) & (label != NONE)
    assert is_sure.sum() > 100
    assert torch.equal(label[is_sure] == 1, is_right(wall())[is_sure])
    relevancy = spoken(lifting).relevancy(lambda entries: entries[:, 0], labels_by_side().codebook.entries)
    assert (relevancy[is_sure & is_right(wall())] > 0.8).all() and (relevancy[is_sure & ~is_right(wall())] < 0.2).all()
    between = ~is_clear(wall()) & (label != NONE)
    assert ((relevancy[between] > 0.05) & (relevancy[between] < 0.95)).any(), "who is in both says both"


def test_equal_inputs_give_equal_caches() -> None:
    first, again = lift(wall(), Views()), lift(wall(), Views())
    assert torch.equal(spoken(first).entry, spoken(again).entry)
    assert torch.equal(spoken(first).weight, spoken(again).weight)


def test_nothing_seen_says_nothing() -> None:
    for gaussians, views in ((wall(), Views(count=0)), (Gaussians.empty(), Views(count=2))):
        lifting = lift(gaussians, views)
        assert (lifting.label_of_gaussian["sp"] == NONE).all() and not lifting.confidence["sp"].any()
        assert (spoken(lifting, "sp").entry == NONE).all() and spoken(lifting, "sp").entry.shape == (len(gaussians), 5)


def test_a_level_without_a_codebook_says_nothing() -> None:
    lifting = lift(wall(), Views(blank=["sp"]), {"sp": without_codebook(), "wp": labels_by_side()})
    assert (lifting.label_of_gaussian["sp"] == NONE).all() and (spoken(lifting, "sp").entry == NONE).all()
    assert (lifting.label_of_gaussian["wp"] != NONE).any()


def test_it_can_be_cancelled() -> None:
    def stop(stage: str, done: int, total: int, **figures: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        lift(wall(), Views(), progress=stop)
