# SPDX-License-Identifier: Apache-2.0
"""A grid of point prompts gives masks by granularity: cases made by hand, with a decoder that answers as told."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ccl_lgs_ros.perception.point_grid import Grid, boxes_of, grid_points, propose_on_grid, stability_of

WIDTH, HEIGHT = 40, 20
RADII = (1, 3, 6)  # half sides of the squares that stand for subpart, part and whole


def grid(per_side: int = 2, batch: int = 64, iou: float = 0.5, stability: float = 0.5) -> Grid:
    return Grid(points_per_side=per_side, point_batch=batch, min_predicted_iou=iou, min_stability=stability)


class Squares:
    """Answers a point with three squares around it, of logit 5 inside and -5 outside."""

    def __init__(self, predicted_iou: tuple[float, ...] = (0.7, 0.8, 0.9)) -> None:
        self.predicted_iou = predicted_iou
        self.batches: list[int] = []

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(len(points))
        y, x = torch.arange(HEIGHT)[:, None] + 0.5, torch.arange(WIDTH) + 0.5
        logits = torch.full((len(points), 3, HEIGHT, WIDTH), -5.0)
        for index, (px, py) in enumerate(points.tolist()):
            for channel, radius in enumerate(RADII):
                logits[index, channel, ((y - py).abs() < radius) & ((x - px).abs() < radius)] = 5.0
        return logits, torch.tensor(self.predicted_iou).repeat(len(points), 1)


def test_points_are_the_centres_of_equal_cells() -> None:
    assert grid_points(2, WIDTH, HEIGHT).tolist() == [[10.0, 5.0], [30.0, 5.0], [10.0, 15.0], [30.0, 15.0]]


def test_every_point_gives_three_masks_whose_granularity_is_the_decoders_channel() -> None:
    found = propose_on_grid(Squares(), WIDTH, HEIGHT, grid())
    assert found.masks.shape == (12, HEIGHT, WIDTH) and found.masks.dtype == torch.bool
    assert found.granularity.tolist() == [2] * 4 + [1] * 4 + [0] * 4  # best predicted IoU first
    areas = found.masks.flatten(1).sum(1)
    assert areas[4:8].tolist() == [36] * 4 and areas[8:].tolist() == [4] * 4
    expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    expected[2:8, 7:13] = True
    assert any(torch.equal(mask, expected) for mask in found.masks[4:8])


def test_masks_are_decoded_in_batches_of_which_nothing_depends() -> None:
    whole, few = Squares(), Squares()
    expected = propose_on_grid(whole, WIDTH, HEIGHT, grid(3))
    found = propose_on_grid(few, WIDTH, HEIGHT, grid(3, batch=4))
    assert (whole.batches, few.batches) == ([9], [4, 4, 1])
    assert torch.equal(found.masks, expected.masks) and torch.equal(found.granularity, expected.granularity)


def test_near_duplicates_are_dropped_within_a_granularity_only() -> None:
    def same(points: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.full((len(points), 3, HEIGHT, WIDTH), -5.0)
        logits[:, :, 5:10, 5:15] = 5.0
        return logits, torch.tensor([0.6, 0.7, 0.8]).repeat(len(points), 1)

    assert propose_on_grid(same, WIDTH, HEIGHT, grid()).granularity.tolist() == [2, 1, 0]


def test_masks_that_the_model_does_not_believe_in_are_dropped() -> None:
    found = propose_on_grid(Squares((0.7, 0.8, 0.9)), WIDTH, HEIGHT, grid(iou=0.75))
    assert set(found.granularity.tolist()) == {1, 2}


def test_stability_is_the_iou_of_a_stricter_and_a_looser_mask() -> None:
    logits = torch.tensor([[[2.0, 0.5, -0.5, -2.0]], [[2.0, 2.0, -2.0, -2.0]], [[-3.0, -3.0, -3.0, -3.0]]])
    assert stability_of(logits).tolist() == pytest.approx([1 / 3, 1.0, 0.0])


def test_unstable_and_empty_masks_are_dropped() -> None:
    def vague(points: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.full((len(points), 3, HEIGHT, WIDTH), -5.0)
        logits[:, 0, :4, :4] = 0.5  # half of what is above -1 is above 1
        logits[:, 0, :2, :4] = 5.0
        logits[:, 1, 8:, 8:] = 5.0
        return logits, torch.ones(len(points), 3)

    assert set(propose_on_grid(vague, WIDTH, HEIGHT, grid(stability=0.5)).granularity.tolist()) == {0, 1}
    assert set(propose_on_grid(vague, WIDTH, HEIGHT, grid(stability=0.6)).granularity.tolist()) == {1}
    assert set(propose_on_grid(vague, WIDTH, HEIGHT, grid(stability=-1.0)).granularity.tolist()) == {0, 1}


def test_nothing_found_is_an_empty_answer() -> None:
    found = propose_on_grid(Squares((0.0, 0.0, 0.0)), WIDTH, HEIGHT, grid())
    assert found.masks.shape == (0, HEIGHT, WIDTH)
    assert len(found.predicted_iou) == len(found.stability) == len(found.granularity) == 0


def test_a_belief_beyond_its_range_is_taken_as_its_end() -> None:
    assert propose_on_grid(Squares((1.2, 1.1, 1.3)), WIDTH, HEIGHT, grid()).predicted_iou.tolist() == [1.0] * 12


def test_a_box_reaches_to_the_far_edges_of_its_mask() -> None:
    masks = torch.zeros(3, 4, 6, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 0, 0] = masks[1, 3, 5] = True
    masks[2, 2, 3] = True
    assert boxes_of(masks).tolist() == [[2, 1, 5, 3], [0, 0, 6, 4], [3, 2, 4, 3]]


def test_an_image_whose_size_is_no_multiple_of_eight_keeps_every_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 7, 9, generator=generator)

    def noise(points: Tensor) -> tuple[Tensor, Tensor]:
        return logits, torch.tensor([[0.9, 0.8, 0.7]])

    found = propose_on_grid(noise, 9, 7, grid(1, iou=-1.0, stability=-1.0))
    assert np.array_equal(found.masks.numpy(), (logits[0] > 0).numpy())
