# SPDX-License-Identifier: Apache-2.0
"""SAM 2 behind the segmenter and the propagator protocol, untrained and at a small size: not what it finds."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_models import PROPAGATOR, SAM2, SAM2_SIZE, UNFILTERED

from ccl_lgs_ros.backends import create_part
from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.errors import ConfigError, MissingDependencyError, WeightsError
from ccl_lgs_ros.options import AssociationOptions, PerceptionOptions
from ccl_lgs_ros.perception import sam2_propagator
from ccl_lgs_ros.perception.sam2_propagator import Sam2Propagator
from ccl_lgs_ros.perception.sam2_segmenter import Sam2Segmenter

CPU = torch.device("cpu")
HEIGHT, WIDTH = 30, 40


def image(shift: int = 0) -> NDArray[np.uint8]:
    """A red square on grey that moves right."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    pixels[8:22, 5 + shift : 15 + shift] = (200, 20, 20)
    return pixels


def keyframe() -> Keyframe:
    camera = Camera(width=WIDTH, height=HEIGHT, fx=40.0, fy=40.0, cx=20.0, cy=15.0)
    return Keyframe(id=0, stamp_ns=1, camera=camera, world_from_camera=np.eye(4), image=image(), depth=None)


@pytest.fixture(scope="module")
def propagator() -> Sam2Propagator:
    return Sam2Propagator(**PROPAGATOR, device=CPU)


@pytest.fixture(scope="module")
def segmenter() -> Sam2Segmenter:
    return Sam2Segmenter(**SAM2, **UNFILTERED, device=CPU)


@pytest.fixture(scope="module")
def masks() -> torch.Tensor:
    found = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.bool)
    found[0, 8:22, 5:15] = True
    found[1, :6] = True
    found[2, 24:, 20:] = True
    return found


class Images:
    """Images that note which of them were looked at."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.seen: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        self.seen.append(index)
        return image(index)


def followed(propagator: Sam2Propagator, images, start: int, masks: torch.Tensor, reverse: bool = False):
    return dict(propagator.propagate(images, start, masks, reverse))


def test_masks_have_the_size_of_the_image(segmenter: Sam2Segmenter) -> None:
    found = segmenter.propose(keyframe())
    assert found.masks.shape[1:] == (HEIGHT, WIDTH) and len(found.masks) > 0
    assert set(found.granularity.tolist()) <= {0, 1, 2}
    assert ((found.predicted_iou >= 0) & (found.predicted_iou <= 1)).all()


def test_the_model_may_look_at_any_size_that_fits() -> None:
    options = {**SAM2, **UNFILTERED, "segmenter_image_size": 96}
    assert Sam2Segmenter(**options, device=CPU).propose(keyframe()).masks.shape[1:] == (HEIGHT, WIDTH)


def test_prompts_may_be_decoded_in_any_batches(segmenter: Sam2Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = segmenter.propose(keyframe())
    monkeypatch.setattr(segmenter, "_grid", dataclasses.replace(segmenter._grid, point_batch=5))
    assert torch.equal(whole.masks, segmenter.propose(keyframe()).masks)


def test_the_package_does_not_chatter(segmenter: Sam2Segmenter, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    segmenter.propose(keyframe())
    assert not caplog.records


def test_the_models_own_limits_hold_where_none_are_set() -> None:
    grid = Sam2Segmenter(**{**SAM2, "segmenter_image_size": 96}, device=CPU)._grid
    assert (grid.min_predicted_iou, grid.min_stability, grid.points_per_side) == (0.5, 0.85, 32)


def test_weights_are_loaded_strictly_from_a_file_as_published(
    tmp_path: Path, propagator: Sam2Propagator, segmenter: Sam2Segmenter
) -> None:
    weights = propagator._model.state_dict()
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": weights}, path)
    options = {"segmenter_checkpoint": str(path), "segmenter_image_size": SAM2_SIZE, **UNFILTERED}
    loaded = Sam2Segmenter(**options, device=CPU, seed=9)
    assert loaded.description == "sam2/sam2.1_hiera_t/sam2.1_hiera_tiny.pt"
    assert torch.equal(loaded.propose(keyframe()).masks, segmenter.propose(keyframe()).masks)

    first = next(iter(weights))
    for content in (weights, {"model": {**weights, "more": weights[first]}}):
        torch.save(content, path)
        with pytest.raises(WeightsError, match=r"does not hold the weights of sam2\.1_hiera_t") as error:
            Sam2Propagator(propagator_checkpoint=str(path), device=CPU)
        assert "\n" not in str(error.value) and "--download sam2.1_hiera_t" in str(error.value)


def test_a_size_that_does_not_fit_and_an_unknown_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 32, got 100"):
        Sam2Segmenter(**{**SAM2, "segmenter_image_size": 100}, device=CPU)
    options = PerceptionOptions(segmenter_model="vit_h", segmenter_checkpoint="random")
    with pytest.raises(MissingDependencyError, match=r"no model 'vit_h'; known: .*sam2\.1_hiera_l"):
        create_part("segmenter", "sam2", options, device=CPU, download=False, seed=0)


def test_a_propagator_that_is_named_without_weights_is_an_error_with_the_command_that_gets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"ccl-lgs doctor --download sam2\.1_hiera_l"):
        create_part("propagator", "sam2", AssociationOptions(), device=CPU, download=False, seed=0)


@pytest.mark.parametrize(
    ("start", "reverse", "expected"),
    [(1, False, [1, 2, 3]), (2, True, [2, 1, 0]), (0, True, [0]), (3, False, [3])],
)
def test_masks_are_followed_from_their_image_to_the_end_of_the_window(
    propagator: Sam2Propagator, masks: torch.Tensor, start: int, reverse: bool, expected: list[int]
) -> None:
    found = followed(propagator, Images(4), start, masks, reverse)
    assert list(found) == expected
    assert torch.equal(found[start], masks)
    for there in found.values():
        assert there.shape == masks.shape and there.dtype == torch.bool
        assert not there.is_inference()  # what others compute with may need gradients


def test_images_are_loaded_only_when_they_are_reached(propagator: Sam2Propagator, masks: torch.Tensor) -> None:
    images = Images(50)
    steps = propagator.propagate(images, 3, masks[:1], False)
    assert [next(steps)[0] for _ in range(3)] == [3, 4, 5]
    assert set(images.seen) <= {0, 3, 4, 5}  # the package always looks at the first


def test_more_masks_than_are_followed_at_once_give_the_same(
    propagator: Sam2Propagator, masks: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = followed(propagator, Images(3), 0, masks)
    monkeypatch.setattr(sam2_propagator, "MASKS_AT_ONCE", 2)
    found = followed(propagator, Images(3), 0, masks)
    assert list(found) == list(expected)
    assert all(torch.equal(found[index], expected[index]) for index in expected)


def test_what_the_model_forgets_it_would_not_have_looked_at(
    propagator: Sam2Propagator, masks: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    forget = sam2_propagator._forget

    def noting(state, index, model) -> None:
        forget(state, index, model)
        kept.append(len(state["output_dict_per_obj"][0]["non_cond_frame_outputs"]))

    count, reach = 10, 7  # images, and how many of them it looks back at
    monkeypatch.setattr(propagator._model, "max_obj_ptrs_in_encoder", reach)
    monkeypatch.setattr(sam2_propagator, "_forget", noting)
    found = followed(propagator, Images(count), 0, masks[:1])
    monkeypatch.setattr(sam2_propagator, "_forget", lambda *_: None)
    expected = followed(propagator, Images(count), 0, masks[:1])
    assert max(kept) == reach + 1 < count - 1
    assert all(torch.equal(found[index], expected[index]) for index in range(count))


def test_a_caller_may_stop_and_the_package_is_left_as_it_was(propagator: Sam2Propagator, masks: torch.Tensor) -> None:
    from sam2 import sam2_video_predictor
    from sam2.utils.misc import load_video_frames

    steps = propagator.propagate(Images(4), 0, masks, False)
    next(steps)
    next(steps)
    assert sam2_video_predictor.load_video_frames is load_video_frames
    steps.close()
    assert list(followed(propagator, Images(2), 0, masks)) == [0, 1]
