# SPDX-License-Identifier: Apache-2.0
"""A map is asked in the language that it was built with, without its options being named again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_scene import RED, map_of
from small_models import OPEN_CLIP, register_small_clip

from ccl_lgs_ros.asking import create_encoder, encoder_record
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import EncoderMismatchError
from ccl_lgs_ros.structures import SemanticMap


@pytest.fixture(scope="module")
def clip_config() -> MapConfig:
    register_small_clip()
    options = {"encoder": "open_clip", "sharpness": 20.0, **OPEN_CLIP}
    return updated(MapConfig(), {f"perception.{name}": value for name, value in options.items()})


def map_in(encoder: str, config: MapConfig) -> SemanticMap:
    plain = map_of(np.zeros((1, 3), np.float32), torch.zeros(1), RED[None])
    return replace(plain, encoder=encoder, info={"encoder_options": encoder_record(config)})


def test_a_map_is_asked_in_its_own_language_without_options(clip_config: MapConfig) -> None:
    identity = configured_part("encoder", clip_config)[0].identity
    encoder = create_encoder(map_in(identity, clip_config), MapConfig())
    assert encoder.identity == identity
    assert encoder.relevancy(torch.eye(24)[:1], encoder.understand("mug")).shape == (1,)


def test_an_encoder_that_is_named_is_taken_and_refused_where_it_is_another(clip_config: MapConfig) -> None:
    named = updated(MapConfig(), {"perception.encoder": "builtin"})
    with pytest.raises(EncoderMismatchError, match="builtin/1"):
        create_encoder(map_in("open_clip/other/random", clip_config), named)


def test_options_that_the_user_sets_stand(clip_config: MapConfig) -> None:
    identity = configured_part("encoder", clip_config)[0].identity
    semantic_map = map_in(identity, clip_config)
    sharper = create_encoder(semantic_map, updated(MapConfig(), {"perception.sharpness": 90.0}))
    plain = create_encoder(semantic_map, MapConfig())
    features = torch.nn.functional.normalize(torch.randn(5, 24, generator=torch.Generator().manual_seed(0)), dim=1)
    prompt = plain.understand("mug")
    assert (sharper.relevancy(features, prompt) - plain.relevancy(features, prompt)).abs().max() > 0.01


def test_files_are_recorded_by_their_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.tflite", "vectors.npy", "names.txt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    changes = {"encoder_model": "model.tflite", "text_tables": "vectors.npy=names.txt,vectors.npy=elsewhere.txt"}
    record = encoder_record(updated(MapConfig(), {f"perception.{name}": value for name, value in changes.items()}))
    vectors = tmp_path / "vectors.npy"
    assert record == {
        "encoder_model": str(tmp_path / "model.tflite"),
        "text_tables": f"{vectors}={tmp_path / 'names.txt'},{vectors}=elsewhere.txt",
    }
    assert encoder_record(MapConfig()) == {}
