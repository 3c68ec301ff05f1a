# SPDX-License-Identifier: Apache-2.0
"""Votes are rendering weights, summed exactly per Gaussian and label."""

import pytest
import torch
from splat_scene import POSE, identity, make_camera, make_gaussians, make_labels, one_gaussian

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.registry import part_class
from ccl_lgs_ros.rendering.drawing import View, as_arrays
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.rendering.tally import tally
from ccl_lgs_ros.rendering.torch_reference import TorchRasterizer
from ccl_lgs_ros.rendering.workers import Crew
from ccl_lgs_ros.structures import Gaussians, Votes


@pytest.fixture(params=["numba_cpu", "torch_reference"])
def rasterizer(request: pytest.FixtureRequest) -> Rasterizer:
    return part_class("rasterizer", request.param)()


def noise(camera: Camera, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(-1, count, (camera.height, camera.width), dtype=torch.int32, generator=generator)


def assert_same(votes: Votes, others: Votes) -> None:
    assert torch.equal(votes.gaussian, others.gaussian) and torch.equal(votes.label, others.label)
    torch.testing.assert_close(votes.weight, others.weight, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(votes.visibility, others.visibility, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("labels", ["checkerboard", "noise"])
def test_votes_agree_with_reference(labels: str) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    image = make_labels(camera) if labels == "checkerboard" else noise(camera, 1000)
    votes = NumbaRasterizer().vote(gaussians, camera, POSE, image)
    assert len(votes.label) > 200
    assert_same(votes, TorchRasterizer().vote(gaussians, camera, POSE, image))


def test_votes_are_sorted_and_each_pair_comes_once(rasterizer: Rasterizer) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    votes = rasterizer.vote(gaussians, camera, POSE, noise(camera, 300))
    key = votes.gaussian * 1000 + votes.label
    assert (key.diff() > 0).all() and (votes.weight > 0).all() and (votes.label >= 0).all()
    assert votes.gaussian.dtype == votes.label.dtype == torch.int64 and votes.weight.dtype == torch.float32


def test_no_weight_is_lost(rasterizer: Rasterizer) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    labels = noise(camera, 5000)
    votes = rasterizer.vote(gaussians, camera, POSE, labels)
    alpha = rasterizer.render(gaussians, camera, POSE).alpha
    assert float(votes.weight.sum()) == pytest.approx(float(alpha[labels >= 0].sum()), rel=1e-4)
    assert float(votes.visibility.sum()) == pytest.approx(float(alpha.sum()), rel=1e-4)


def test_a_vote_is_the_gradient_of_the_blend_over_the_label(rasterizer: Rasterizer) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    labels = make_labels(camera)
    votes = rasterizer.vote(gaussians, camera, POSE, labels)
    channel = torch.zeros(len(gaussians), 1, requires_grad=True)
    view = rasterizer.render(gaussians, camera, POSE, channel)
    view.features[..., 0][labels == 7].sum().backward()
    dense = torch.zeros(len(gaussians))
    mine = votes.label == 7
    dense[votes.gaussian[mine]] = votes.weight[mine]
    torch.testing.assert_close(dense, channel.grad[:, 0], rtol=1e-4, atol=1e-5)


def test_a_label_map_too_wild_for_one_pass_gets_the_same_votes_in_several() -> None:
    gaussians, camera = make_gaussians(), make_camera()
    labels = noise(camera, 1000)
    arrays, view = as_arrays(tuple(gaussians.tensors().values())), View.of(camera, POSE)
    in_several = tally(Crew(), arrays, view, labels.numpy(), max_sums=500)
    assert_same(in_several, NumbaRasterizer().vote(gaussians, camera, POSE, labels))


def test_one_pixel_of_one_gaussian_by_hand(rasterizer: Rasterizer) -> None:
    camera = Camera(width=1, height=1, fx=1.0, fy=1.0, cx=0.5, cy=0.5)
    gaussians = one_gaussian(1.0, scale=1.0, opacity=0.6).joined(one_gaussian(2.0, scale=2.0, opacity=0.5))
    votes = rasterizer.vote(gaussians, camera, identity(), torch.tensor([[2_000_000_000]], dtype=torch.int32))
    assert votes.gaussian.tolist() == [0, 1] and votes.label.tolist() == [2_000_000_000] * 2
    torch.testing.assert_close(votes.weight, torch.tensor([0.6, 0.4 * 0.5]))


def test_unlabelled_pixels_give_visibility_but_no_votes(rasterizer: Rasterizer) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    nothing = torch.full((camera.height, camera.width), -1, dtype=torch.int32)
    votes = rasterizer.vote(gaussians, camera, POSE, nothing)
    assert len(votes.label) == 0 and votes.visibility.sum() > 0


def test_an_empty_map_gets_no_votes(rasterizer: Rasterizer) -> None:
    camera = make_camera()
    votes = rasterizer.vote(Gaussians.empty(), camera, POSE, make_labels(camera))
    assert len(votes.label) == 0 and votes.visibility.shape == (0,)


def test_labels_that_do_not_fit_are_errors(rasterizer: Rasterizer) -> None:
    gaussians, camera = make_gaussians(10), make_camera()
    with pytest.raises(ValueError, match="labels: expected"):
        rasterizer.vote(gaussians, camera, POSE, torch.zeros(3, 3, dtype=torch.int32))
    with pytest.raises(ValueError, match="labels: expected whole numbers"):
        rasterizer.vote(gaussians, camera, POSE, torch.zeros(camera.height, camera.width))
