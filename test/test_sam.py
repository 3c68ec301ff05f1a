# SPDX-License-Identifier: Apache-2.0
"""SAM behind the segmenter protocol, with a small untrained network: shapes, limits, weights; not what it finds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import SAM, SMALL_SAM, UNFILTERED, register_small_sam, small_sam

from ccl_lgs_ros.backends import create_part
from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.errors import MissingDependencyError, WeightsError
from ccl_lgs_ros.options import PerceptionOptions
from ccl_lgs_ros.perception.sam_segmenter import SamSegmenter
from ccl_lgs_ros.structures import MaskProposals

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_small_sam()


def keyframe(width: int = 60, height: int = 44) -> Keyframe:
    image = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    camera = Camera(width=width, height=height, fx=50.0, fy=50.0, cx=width / 2, cy=height / 2)
    return Keyframe(id=0, stamp_ns=1, camera=camera, world_from_camera=np.eye(4), image=image, depth=None)


def segmenter(**options) -> SamSegmenter:
    return SamSegmenter(**{**SAM, **UNFILTERED, **options}, device=CPU)


def same(a: MaskProposals, b: MaskProposals) -> bool:
    return torch.equal(a.masks, b.masks) and torch.allclose(a.predicted_iou, b.predicted_iou, atol=1e-5)


@pytest.mark.parametrize("size", [(60, 44), (44, 60), (31, 31)])
def test_masks_have_the_size_of_the_image_whatever_its_shape(size: tuple[int, int]) -> None:
    found = segmenter().propose(keyframe(*size))
    assert found.masks.shape[1:] == (size[1], size[0]) and len(found.masks) > 0
    assert set(found.granularity.tolist()) <= {0, 1, 2}
    assert found.masks.flatten(1).any(1).all()


def test_an_untrained_model_proposes_nothing_that_the_models_own_limits_let_through() -> None:
    found = segmenter(min_predicted_iou=0.0, min_stability=0.0).propose(keyframe())
    assert found.masks.shape == (0, 44, 60)


def test_prompts_may_be_decoded_in_any_batches() -> None:
    assert same(segmenter(point_batch=64).propose(keyframe()), segmenter(point_batch=3).propose(keyframe()))


def test_random_weights_follow_the_seed() -> None:
    first, again, other = (segmenter(seed=seed).propose(keyframe()) for seed in (1, 1, 2))
    assert same(first, again) and not same(first, other)


def test_weights_from_a_file_are_those_that_work(tmp_path: Path) -> None:
    torch.manual_seed(7)
    torch.save(small_sam().state_dict(), tmp_path / "sam.pth")
    loaded = segmenter(segmenter_checkpoint=str(tmp_path / "sam.pth"))
    assert loaded.description == f"sam/{SMALL_SAM}/sam.pth"
    expected = segmenter(seed=7).propose(keyframe())
    assert same(loaded.propose(keyframe()), expected)


def test_weights_of_another_architecture_are_refused_in_one_sentence(tmp_path: Path) -> None:
    weights = small_sam().state_dict()
    weights.pop("mask_decoder.iou_token.weight")
    torch.save(weights, tmp_path / "sam.pth")
    with pytest.raises(WeightsError, match=rf"does not hold the weights of {SMALL_SAM}") as error:
        segmenter(segmenter_checkpoint=str(tmp_path / "sam.pth"))
    assert "\n" not in str(error.value)


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    options = PerceptionOptions(segmenter_model="vit_x", segmenter_checkpoint="random")
    with pytest.raises(MissingDependencyError, match=r"no model 'vit_x'; known: .*vit_h"):
        create_part("segmenter", "sam", options, device=CPU, download=False, seed=0)


def test_a_part_that_is_named_without_weights_is_an_error_with_the_command_that_gets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(MissingDependencyError, match="ccl-lgs doctor --download vit_b"):
        create_part("segmenter", "sam", PerceptionOptions(segmenter_model="vit_b"), device=CPU, download=False, seed=0)
