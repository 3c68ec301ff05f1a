# SPDX-License-Identifier: Apache-2.0
"""Every registered part keeps its protocol's promises; a new registry line is a tested line."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import small_models
import torch

from ccl_lgs_ros import options
from ccl_lgs_ros.backends import unavailable
from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.errors import ConfigError, MissingDependencyError
from ccl_lgs_ros.labelling import LabelledView, LevelLabels, SegmentTable
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.protocols import NoCheckpoint, no_progress
from ccl_lgs_ros.registry import PARTS, create, names, part_class
from ccl_lgs_ros.structures import Codebook, Gaussians, Segments, Tracks, Votes, VoteTable

GROUPS = {
    "rasterizer": options.RenderingOptions,
    "densifier": options.GaussianOptions,
    "segmenter": options.PerceptionOptions,
    "encoder": options.PerceptionOptions,
    "associator": options.AssociationOptions,
    "propagator": options.AssociationOptions,
    "fitter": options.CodebookOptions,
    "lifter": options.FieldOptions,
}
CONTEXT = {"device": torch.device("cpu"), "download": False, "seed": 0}
ALL = [(kind, name) for kind in PARTS for name in PARTS[kind]]


def working(kind: str) -> list:
    """The parts of a kind; those that do not work here are skipped with their own reason."""
    return [pytest.param(name, id=name) for name in names(kind)]


# Models that need weights keep their protocol with random ones too, but what they say then means nothing.
UNTRAINED = {
    ("segmenter", "sam2"): {**small_models.SAM2, **small_models.UNFILTERED},
    ("segmenter", "sam"): {**small_models.SAM, **small_models.UNFILTERED},
    ("encoder", "open_clip"): small_models.OPEN_CLIP,
    ("propagator", "sam2"): small_models.PROPAGATOR,
}
MODELS = Path(__file__).resolve().parents[2] / "shared" / "data" / "models"
FROM_FILES = {
    ("encoder", "classifier"): {
        "encoder_model": str(MODELS / "mobilenet_v2_1.0_224_quant.tflite"),
        "classifier_labels": str(MODELS / "imagenet_1001_labels.txt"),
        "text_tables": f"{MODELS / 'lvis_v1_clip_a+cname.npy'}={MODELS / 'lvis1203_names.json'}",
    },
}
KNOWS_NO_SQUARE = {*UNTRAINED, *FROM_FILES}


@pytest.fixture(autouse=True, scope="module")
def _small_models() -> None:
    small_models.register_small_sam()
    small_models.register_small_clip()


def part(kind: str, name: str):
    if (kind, name) in FROM_FILES and not MODELS.is_dir():
        pytest.skip("needs the models in ../shared/data")
    group = GROUPS[kind](**{**UNTRAINED, **FROM_FILES}.get((kind, name), {}))
    reason = unavailable(kind, name, group, **CONTEXT)
    if reason:
        pytest.skip(f"{kind} {name}: {reason}")
    return create(kind, name, group, **CONTEXT)


def camera() -> Camera:
    return Camera(width=40, height=30, fx=40.0, fy=40.0, cx=20.0, cy=15.0)


def keyframe() -> Keyframe:
    """A red square on grey, one metre in front of a wall at two."""
    image = np.full((30, 40, 3), 128, np.uint8)
    image[8:22, 12:28] = (200, 20, 20)
    depth = np.full((30, 40), 2.0, np.float32)
    depth[8:22, 12:28] = 1.0
    return Keyframe(
        id=0,
        stamp_ns=1,
        camera=camera(),
        world_from_camera=np.eye(4),
        image=image,
        depth=depth,
        labels=(depth == 1.0).astype(np.int32),
    )


def gaussians(count: int = 30) -> Gaussians:
    generator = torch.Generator().manual_seed(3)
    means = torch.rand(count, 3, generator=generator) - 0.5
    means[:, 2] += 2.0
    return Gaussians(
        means=means,
        quats=torch.randn(count, 4, generator=generator),
        log_scales=torch.full((count, 3), -2.5),
        logit_opacities=torch.zeros(count),
        sh=torch.randn(count, 1, 3, generator=generator) * 0.3,
    )


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_part_asks_only_for_options_of_its_group(kind: str, name: str) -> None:
    known = {*GROUPS[kind].__dataclass_fields__, *CONTEXT}
    wanted = inspect.signature(part_class(kind, name)).parameters
    for option in wanted.values():
        assert option.name in known, f"{name} wants {option.name}"
        assert option.kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_part_that_cannot_work_says_why_in_one_sentence(kind: str, name: str) -> None:
    reason = unavailable(kind, name, GROUPS[kind](), **CONTEXT)
    assert "\n" not in reason
    if reason:
        from ccl_lgs_ros.backends import create_part

        with pytest.raises(MissingDependencyError):
            create_part(kind, name, GROUPS[kind](), **CONTEXT)


def test_an_unknown_part_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'builtin'"):
        part_class("segmenter", "bultin")


@pytest.mark.parametrize("name", working("rasterizer"))
def test_a_rendering_is_bounded_and_votes_add_up_to_alpha(name: str) -> None:
    rasterizer = part("rasterizer", name)
    scene = gaussians()
    features = torch.ones(len(scene), 2)
    view = rasterizer.render(scene, camera(), np.eye(4), features)
    assert view.color.shape == (30, 40, 3)
    assert ((view.alpha >= 0) & (view.alpha <= 1)).all()
    assert torch.allclose(view.features[..., 0], view.alpha, atol=1e-5)
    labels = torch.zeros(30, 40, dtype=torch.int32)
    labels[:, 20:] = 1
    votes = rasterizer.vote(scene, camera(), np.eye(4), labels)
    assert float(votes.weight.sum()) == pytest.approx(float(view.alpha.sum()), rel=1e-3)
    assert float(votes.visibility.sum()) == pytest.approx(float(view.alpha.sum()), rel=1e-3)


@pytest.mark.parametrize("name", working("rasterizer"))
def test_an_empty_map_renders_as_nothing(name: str) -> None:
    view = part("rasterizer", name).render(Gaussians.empty(), camera(), np.eye(4))
    assert not view.alpha.any()
    assert not view.color.any()


@pytest.mark.parametrize("name", working("densifier"))
def test_a_densifier_keeps_to_the_limit_and_names_what_each_gaussian_was(name: str) -> None:
    scene = gaussians()
    pull, views = torch.rand(30, generator=torch.Generator().manual_seed(4)), torch.full((30,), 2.0)
    found = part("densifier", name).densify(
        scene, pull, views, extent=1.0, limit=33, generator=torch.Generator().manual_seed(0)
    )
    assert 0 < len(found.gaussians) <= 33
    assert torch.equal(found.gaussians.sh, scene.sh[found.parent_of_gaussian])
    assert found.is_fresh.shape == found.parent_of_gaussian.shape == (len(found.gaussians),)


@pytest.mark.parametrize("name", working("segmenter"))
def test_a_segmenter_finds_the_square(name: str) -> None:
    proposals = part("segmenter", name).propose(keyframe())
    assert proposals.masks.shape[1:] == (30, 40) and proposals.masks.dtype == torch.bool
    assert ((proposals.predicted_iou >= 0) & (proposals.predicted_iou <= 1)).all()
    assert ((proposals.stability >= 0) & (proposals.stability <= 1)).all()
    assert set(proposals.granularity.tolist()) <= {0, 1, 2}
    if ("segmenter", name) in UNTRAINED:
        return
    square = torch.zeros(30, 40, dtype=torch.bool)
    square[8:22, 12:28] = True
    masks = proposals.masks
    overlap = (masks & square).flatten(1).sum(1) / (masks | square).flatten(1).sum(1)
    assert overlap.max() > 0.7


@pytest.mark.parametrize("name", working("encoder"))
def test_an_encoder_keeps_to_its_space(name: str) -> None:
    encoder = part("encoder", name)
    labels = torch.full((30, 40), -1, dtype=torch.int32)
    labels[8:22, 12:28] = 0
    labels[:5] = 1
    features = encoder.encode_segments(keyframe().image, labels, 2)
    assert features.shape == (2, encoder.dim)
    assert torch.allclose(features.norm(dim=1), torch.ones(2), atol=1e-5)
    prompt = encoder.understand("red square")
    assert prompt.encoder == encoder.identity
    relevancy = encoder.relevancy(features, prompt)
    assert relevancy.shape == (2,)
    assert ((relevancy >= 0) & (relevancy <= 1)).all()
    assert relevancy[0] > relevancy[1] or ("encoder", name) in KNOWS_NO_SQUARE
    assert encoder.encode_segments(keyframe().image, torch.full((30, 40), -1, dtype=torch.int32), 0).shape == (
        0,
        encoder.dim,
    )


@pytest.mark.parametrize("name", working("propagator"))
def test_a_propagator_follows_every_mask_through_the_images(name: str) -> None:
    propagator = part("propagator", name)
    masks = torch.zeros(2, 30, 40, dtype=torch.bool)
    masks[0, 8:22, 12:28] = masks[1, :5] = True
    for reverse, expected in ((False, [1, 2]), (True, [1, 0])):
        found = list(propagator.propagate([keyframe().image] * 3, 1, masks, reverse))
        assert [index for index, _ in found] == expected
        assert all(there.shape == masks.shape and there.dtype == torch.bool for _, there in found)
        assert torch.equal(found[0][1], masks)


@pytest.mark.parametrize("name", working("associator"))
def test_the_first_segments_open_tracks_without_gaps(name: str) -> None:
    features = torch.eye(3)[:2]
    segments = Segments(labels=torch.zeros(2, 2, dtype=torch.int32), features=features, quality=torch.ones(2))
    votes = Votes(
        gaussian=torch.tensor([0, 1, 2]),
        label=torch.tensor([0, 0, 1]),
        weight=torch.tensor([50.0, 60.0, 70.0]),
        visibility=torch.tensor([50.0, 60.0, 70.0]),
    )
    associator = part("associator", name)
    assert associator.associate(segments, votes, VoteTable.empty(3, 4), Tracks.empty(3)).tolist() == [0, 1]
    assert associator.merge(VoteTable.empty(3, 4), Tracks.empty(3)).tolist() == []


@pytest.mark.parametrize("name", working("fitter"))
def test_a_codebook_has_unit_entries_that_stand_for_what_they_were_fitted_to(name: str) -> None:
    features = torch.nn.functional.normalize(torch.eye(4) + 0.01, dim=1)
    codebook = part("fitter", name).fit(features, torch.arange(4), torch.ones(4), None)
    assert torch.allclose(codebook.entries.norm(dim=1), torch.ones(len(codebook)), atol=1e-5)
    decoded = codebook.entries[codebook.assign(features)]
    assert ((decoded * features).sum(dim=1) > 0.9).all()
    empty = part("fitter", name).fit(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0), None)
    assert isinstance(empty, Codebook)


class TwoHalves:
    """One view whose left half has label 0 and whose right half has label 1, at both levels."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int, /) -> LabelledView:
        labels = torch.zeros(30, 40, dtype=torch.int32)
        labels[:, 20:] = 1
        labels[:2] = -1
        maps = dict.fromkeys(LEVELS, labels)
        return LabelledView(keyframe=keyframe(), rows=maps, labels=maps)


@pytest.mark.parametrize("name", working("lifter"))
def test_a_lifter_gives_a_gaussian_the_label_that_it_is_seen_with(name: str) -> None:
    scene, rasterizer = gaussians(300), part("rasterizer", "torch_reference")
    halves = torch.tensor([0, 1])
    table = SegmentTable(features=torch.eye(4)[[1, 0]], track=halves, weight=torch.ones(2), start=torch.tensor([0, 2]))
    labels = LevelLabels(
        table=table,
        label_of_row=halves,
        track_of_label=halves,
        code_of_label=torch.tensor([1, 0]),
        codebook=Codebook(entries=torch.eye(4)[:2], weight=torch.ones(2)),
    )
    quick = options.FieldOptions(iterations=60, latent_iterations=100, learning_rate=1e-2, batch_px=256)
    lifting = create("lifter", name, quick, **CONTEXT).lift(
        scene,
        TwoHalves(),
        dict.fromkeys(LEVELS, labels),
        rasterizer,
        generator=torch.Generator().manual_seed(0),
        checkpoint=NoCheckpoint(),
        progress=no_progress,
    )
    column = 40.0 * scene.means[:, 0] / scene.means[:, 2] + 20.0
    is_clear = (column - 20.0).abs() > 8.0
    for level in LEVELS:
        label, confidence = lifting.label_of_gaussian[level], lifting.confidence[level]
        assert label.shape == confidence.shape == (300,)
        assert label.dtype == torch.int32 and confidence.dtype == torch.uint8
        has_label = (label >= 0) & is_clear
        assert has_label.sum() >= 20
        made = lifting.labels.get(level, labels)
        said = made.codebook.entries[made.code_of_label[label[has_label].long()]].argmax(dim=1)
        assert (said == (column[has_label] < 20.0).long()).float().mean() >= 0.9
        assert (confidence[label >= 0] > 0).all() and (confidence[label < 0] == 0).all()
