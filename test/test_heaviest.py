# SPDX-License-Identifier: Apache-2.0
"""Only the heaviest Gaussians of each pixel vote, where that is asked for."""

import pytest
import torch
from splat_scene import POSE, identity, make_camera, make_gaussians, make_labels, one_gaussian
from test_rendering_votes import assert_same, rasterizer

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.field.joint_votes import joint_votes
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.rendering.torch_reference import TorchRasterizer
from ccl_lgs_ros.structures import Gaussians

__all__ = ["rasterizer"]

PIXEL = Camera(width=1, height=1, fx=1.0, fy=1.0, cx=0.5, cy=0.5)


def ray() -> Gaussians:
    """Three on the ray of one pixel; their weights are 0.2, 0.8 x 0.5 = 0.4 and 0.8 x 0.5 x 0.75 = 0.3."""
    first, second = one_gaussian(1.0, scale=1.0, opacity=0.2), one_gaussian(2.0, scale=2.0, opacity=0.5)
    return first.joined(second).joined(one_gaussian(3.0, scale=3.0, opacity=0.75))


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, {1: 0.4}),
        (2, {1: 0.4, 2: 0.3}),
        (3, {0: 0.2, 1: 0.4, 2: 0.3}),
        (45, {0: 0.2, 1: 0.4, 2: 0.3}),
        (0, {0: 0.2, 1: 0.4, 2: 0.3}),
    ],
)
def test_the_heaviest_of_a_ray_vote_with_the_weight_that_they_are_drawn_with(
    rasterizer: Rasterizer, most: int, expected: dict[int, float]
) -> None:
    votes = rasterizer.vote(ray(), PIXEL, identity(), torch.zeros(1, 1, dtype=torch.int32), most=most)
    assert votes.gaussian.tolist() == list(expected)
    torch.testing.assert_close(votes.weight, torch.tensor(list(expected.values())))
    torch.testing.assert_close(votes.visibility, torch.tensor([expected.get(index, 0.0) for index in range(3)]))


@pytest.mark.parametrize("most", [1, 2, 3, 5, 8])
def test_the_heaviest_agree_with_the_reference(most: int) -> None:
    gaussians, camera = make_gaussians(600), make_camera()
    labels = make_labels(camera)
    votes = NumbaRasterizer().vote(gaussians, camera, POSE, labels, most=most)
    assert_same(votes, TorchRasterizer().vote(gaussians, camera, POSE, labels, most=most))
    assert float(votes.weight.sum()) < float(NumbaRasterizer().vote(gaussians, camera, POSE, labels).weight.sum())


def test_as_many_as_there_are_is_all_of_them(rasterizer: Rasterizer) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    votes = rasterizer.vote(gaussians, camera, POSE, make_labels(camera), most=len(gaussians))
    every = rasterizer.vote(gaussians, camera, POSE, make_labels(camera))
    assert torch.equal(votes.gaussian, every.gaussian) and torch.equal(votes.weight, every.weight)


def test_maps_voted_together_give_what_each_gives_alone(rasterizer: Rasterizer) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    labels = {"fine": make_labels(camera, 6, 5), "coarse": make_labels(camera, 3, 2)}
    for name, votes in joint_votes(rasterizer, gaussians, camera, POSE, labels, most=2).items():
        assert_same(votes, rasterizer.vote(gaussians, camera, POSE, labels[name], most=2))


def test_pixels_that_are_outdated_count_for_nothing(rasterizer: Rasterizer) -> None:
    outdated = torch.ones(1, 1, dtype=torch.bool).numpy()
    labels = {"one": torch.zeros(1, 1, dtype=torch.int32)}
    votes = joint_votes(rasterizer, ray(), PIXEL, identity(), labels, outdated, most=2)["one"]
    assert len(votes.gaussian) == 0
    torch.testing.assert_close(votes.visibility, torch.zeros(3))
