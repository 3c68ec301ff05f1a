# SPDX-License-Identifier: Apache-2.0
"""OpenCLIP behind the encoder protocol: crops by hand, preprocessing, weights; the model is untrained."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import OPEN_CLIP, SMALL_CLIP, register_small_clip
from torch import Tensor

from ccl_lgs_ros.errors import CclLgsError, MissingDependencyError, WeightsError
from ccl_lgs_ros.perception import clip_models
from ccl_lgs_ros.perception.clip_encoder import ClipEncoder
from ccl_lgs_ros.perception.clip_models import ClipSource
from ccl_lgs_ros.perception.crops import masked_crops

CPU = torch.device("cpu")
HEIGHT, WIDTH = 30, 40


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_small_clip()


@pytest.fixture(scope="module")
def encoder() -> ClipEncoder:
    return ClipEncoder(**OPEN_CLIP, device=CPU)


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def labels() -> Tensor:
    """Segments 0, 1 and 3; 2 has no pixel."""
    found = torch.full((HEIGHT, WIDTH), -1, dtype=torch.int32)
    found[8:22, 12:28] = 0
    found[:5] = 1
    found[25:, 30:] = 3
    return found


def test_a_crop_is_the_segment_alone_in_the_middle_of_a_black_square() -> None:
    picture = np.full((4, 6, 3), 100, np.uint8)
    picture[1, 2:5] = (255, 0, 0)
    label = torch.full((4, 6), -1, dtype=torch.int32)
    label[1, 2:5] = 0
    label[2, 2] = 0
    label[0] = 1
    segments, crops = next(masked_crops(picture, label, 1, 3, "bilinear").batches(8))
    assert segments.tolist() == [0]
    # the box has 2 rows and 3 columns; the row that is added lies below
    grey = 100 / 255
    assert torch.allclose(crops[0, 0], torch.tensor([[1.0, 1.0, 1.0], [grey, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert torch.allclose(crops[0, 1], torch.tensor([[0.0, 0.0, 0.0], [grey, 0.0, 0.0], [0.0, 0.0, 0.0]]))


def test_crops_come_in_batches_and_a_segment_without_pixels_has_none() -> None:
    batches = list(masked_crops(image(), labels(), 4, 8, "bicubic").batches(2))
    assert [segments.tolist() for segments, _ in batches] == [[0, 1], [3]]
    assert [tuple(crops.shape) for _, crops in batches] == [(2, 3, 8, 8), (1, 3, 8, 8)]
    assert all(((crops >= 0) & (crops <= 1)).all() for _, crops in batches)


def test_features_are_unit_rows_whatever_the_batch(encoder: ClipEncoder) -> None:
    features = encoder.encode_segments(image(), labels(), 4)
    assert features.shape == (4, encoder.dim) and features.dtype == torch.float32
    assert features.norm(dim=1).tolist() == pytest.approx([1.0, 1.0, 0.0, 1.0], abs=1e-5)
    encoder._batch, before = 1, encoder._batch
    assert torch.allclose(encoder.encode_segments(image(), labels(), 4), features, atol=1e-4)
    encoder._batch = before


def test_what_lies_outside_of_a_segment_does_not_change_its_feature(encoder: ClipEncoder) -> None:
    changed = image()
    changed[labels().numpy() != 0] = 7
    first = encoder.encode_segments(image(), labels(), 1)
    assert torch.equal(encoder.encode_segments(changed, labels(), 1), first)


def test_a_label_map_of_another_size_is_refused(encoder: ClipEncoder) -> None:
    with pytest.raises(ValueError, match=r"labels: expected \(30, 40\), got \(3, 3\)"):
        encoder.encode_segments(image(), torch.zeros(3, 3, dtype=torch.int32), 1)


def test_a_text_is_embedded_once(encoder: ClipEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    network = encoder._model.network
    encode = network.encode_text
    monkeypatch.setattr(network, "encode_text", lambda tokens: asked.append(tokens.tolist()) or encode(tokens))
    first, again = encoder.understand("a blue mug"), encoder.understand("a blue mug")
    assert len(asked) == 1 and torch.equal(first.feature, again.feature)
    assert first.is_understood and first.unknown_words == () and first.encoder == encoder.identity
    assert float(first.feature.norm()) == pytest.approx(1.0, abs=1e-5)


def test_texts_that_were_asked_long_ago_are_forgotten(encoder: ClipEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccl_lgs_ros.perception.clip_encoder.TEXTS_KEPT", 2)
    for text in ("one", "two", "three"):
        encoder.understand(text)
    assert list(encoder._text_of) == ["two", "three"]


def test_a_feature_that_is_the_prompt_beats_what_is_generic(encoder: ClipEncoder) -> None:
    prompt, other = encoder.understand("a red mug"), encoder.understand("object")
    relevancy = encoder.relevancy(torch.stack([prompt.feature, other.feature]), prompt)
    assert relevancy[0] > encoder.threshold > relevancy[1]


def test_a_prompt_ensemble_is_the_direction_of_the_mean(encoder: ClipEncoder) -> None:
    templates = ("{}", "a photo of a {}")
    several = ClipEncoder(**OPEN_CLIP, templates="|".join(templates), device=CPU)
    texts = [encoder.understand(template.replace("{}", "mug")).feature for template in templates]
    mean = torch.stack(texts).mean(dim=0)
    assert torch.allclose(several.understand("mug").feature, mean / mean.norm(), atol=1e-5)


def test_a_model_of_its_own_preprocessing_looks_as_it_was_trained() -> None:
    model = clip_models.build(ClipSource("MobileCLIP2-S0", "random", False), CPU, 0)
    assert (model.image_size, model.interpolation, model.mean.flatten().tolist()) == (256, "bilinear", [0.0] * 3)
    assert model.encode_images(torch.zeros(1, 3, 256, 256)).shape == (1, model.dim) == (1, 512)


def test_random_weights_are_part_of_the_identity_and_of_the_seed(encoder: ClipEncoder) -> None:
    assert encoder.identity == f"open_clip/{SMALL_CLIP}/random-0"


@pytest.mark.parametrize(
    ("model", "mean", "interpolation"), [("MobileCLIP2-S0", 0.0, "bilinear"), ("ViT-B-32", 0.48145466, "bicubic")]
)
def test_a_local_file_gets_the_preprocessing_of_its_model(model: str, mean: float, interpolation: str) -> None:
    settings = clip_models._settings(ClipSource(model, "/weights/mine.pt", False))
    assert settings["mean"][0] == mean and settings["interpolation"] == interpolation


def test_a_files_name_says_which_of_a_models_weights_it_holds(caplog: pytest.LogCaptureFixture) -> None:
    named = clip_models._settings(ClipSource("ViT-B-32", "/weights/ViT-B-32-laion400m_e32.pt", False))
    assert named["quick_gelu"] is True
    plain = clip_models._settings(ClipSource("ViT-B-32", "/weights/ViT-B-32-laion2B-s34B-b79K.bin", False))
    assert "quick_gelu" not in plain and not caplog.records
    clip_models._settings(ClipSource("ViT-B-32", "/weights/mine.bin", False))
    assert "published weights of ViT-B-32 differ in quick_gelu" in caplog.text


def test_weights_from_a_file_are_those_that_work_and_name_the_space(
    tmp_path: Path, encoder: ClipEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "mine.pt"
    weights: Mapping[str, Tensor] = encoder._model.network.state_dict()
    torch.save(weights, path)
    loaded = ClipEncoder(**{**OPEN_CLIP, "encoder_checkpoint": str(path)}, device=CPU, seed=3)
    assert loaded.identity.startswith(f"open_clip/{SMALL_CLIP}/") and "random" not in loaded.identity
    expected = encoder.encode_segments(image(), labels(), 4)
    assert torch.allclose(loaded.encode_segments(image(), labels(), 4), expected, atol=1e-5)
    assert "randomly" not in caplog.text

    first = next(iter(weights))
    torch.save({first: weights[first]}, path)
    refused(path, f"does not hold the weights of {SMALL_CLIP}")
    path.write_bytes(b"garbage" * 50)
    refused(path, f"does not hold the weights of {SMALL_CLIP}")


def refused(path: Path, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason) as error:
        ClipEncoder(encoder_model=SMALL_CLIP, encoder_checkpoint=str(path), device=CPU)
    assert "\n" not in str(error.value) and "name a file with the weights" in str(error.value)


@pytest.mark.parametrize(
    ("model", "checkpoint", "reason"),
    [
        ("", "", "doctor --download ViT-B-16/laion2b_s34b_b88k"),
        ("ViT-B-32", "laion2b_s34b_b79k", "doctor --download ViT-B-32/laion2b_s34b_b79k"),
        ("ViT-B-32", "laion", "no published weights 'laion'; known: .*laion2b_s34b_b79k"),
        ("ViT-B-33", "", "no model 'ViT-B-33'"),
        ("", "/no/such/file.pt", "/no/such/file.pt does not exist; .*doctor --download"),
    ],
)
def test_what_is_not_here_is_said_in_one_sentence_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, checkpoint: str, reason: str
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    problem = ClipEncoder.is_available(encoder_model=model, encoder_checkpoint=checkpoint, download=False)
    assert "\n" not in problem
    with pytest.raises(MissingDependencyError, match=reason) as error:
        ClipEncoder(encoder_model=model, encoder_checkpoint=checkpoint, device=CPU)
    assert str(error.value) == problem


def test_a_hub_that_cannot_be_reached_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(CclLgsError, match=r"ViT-B-16/laion2b_s34b_b88k could not be fetched") as error:
        ClipEncoder(download=True, device=CPU)
    assert "\n" not in str(error.value)


def test_weights_in_the_cache_of_the_hub_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    folder = tmp_path / "hub" / "models--laion--CLIP-ViT-B-16-laion2B-s34B-b88K" / "snapshots" / "0123"
    folder.mkdir(parents=True)
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"weights")
    assert ClipEncoder.is_available(encoder_model="", encoder_checkpoint="", download=False) == ""
    assert clip_models._resolved(ClipSource("", "", False)) == folder / "open_clip_pytorch_model.bin"
