# SPDX-License-Identifier: Apache-2.0
"""Optimising makes views look more like the keyframes, also those never learnt from, and forgets what moved."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from depth_scene import CAMERA, WALL, drive, seeded, view
from skimage.metrics import structural_similarity

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.gaussians.carve import FreeSpace
from ccl_lgs_ros.gaussians.losses import blurred, colour_loss, depth_loss, ssim
from ccl_lgs_ros.gaussians.optimize import is_held_out, optimize, optimized, psnr_report
from ccl_lgs_ros.gaussians.psnr import psnr
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import NONE, Gaussians

RASTERIZER = NumbaRasterizer()
STEPS = 60


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def with_post(keyframe: Keyframe) -> Keyframe:
    """The keyframe with something close before the middle of the camera, that the others did not see there."""
    assert keyframe.depth is not None
    image, depth = keyframe.image.copy(), keyframe.depth.copy()
    image[10:30, 28:36], depth[10:30, 28:36] = 0, 0.5
    return replace(keyframe, image=image, depth=depth)


def test_every_eighth_keyframe_is_held_out() -> None:
    assert [i for i in range(20) if is_held_out(i, 8)] == [7, 15]
    assert not any(is_held_out(i, 0) for i in range(20))


def test_views_that_were_never_learnt_come_to_look_right() -> None:
    keyframes = drive()
    start = seeded(keyframes[:7])
    before = psnr_report(start, keyframes, RASTERIZER, [7])
    after = psnr_report(
        optimize(start, keyframes, RASTERIZER, iterations=STEPS, generator=generator()), keyframes, RASTERIZER, [7]
    )
    assert after["psnr"] > before["psnr"] + 1.0
    assert after["covered"] > 0.95


def test_equal_inputs_give_equal_results() -> None:
    keyframes = drive(4)
    results = [
        optimize(seeded(keyframes), keyframes, RASTERIZER, iterations=10, generator=generator()) for _ in range(2)
    ]
    for name, tensor in results[0].tensors().items():
        assert torch.equal(tensor, results[1].tensors()[name]), name


def test_what_is_held_out_gives_no_colour() -> None:
    keyframes = drive(4)
    spoilt = [replace(k, image=np.zeros_like(k.image)) if is_held_out(i, 4) else k for i, k in enumerate(keyframes)]
    start = seeded(keyframes[:3])
    results = [
        optimize(start, source, RASTERIZER, iterations=10, holdout_every=4, generator=generator())
        for source in (keyframes, spoilt)
    ]
    assert torch.equal(results[0].sh, results[1].sh)


def test_the_gaussians_given_are_never_changed() -> None:
    keyframes = drive(3)
    start = seeded(keyframes)
    before = {name: tensor.clone() for name, tensor in start.tensors().items()}
    optimize(start, keyframes, RASTERIZER, iterations=5, generator=generator())
    for name, tensor in start.tensors().items():
        assert torch.equal(tensor, before[name])
        assert not tensor.requires_grad


def test_stopping_raises_and_leaves_what_was() -> None:
    keyframes = drive(3)
    start = seeded(keyframes)
    before = start.means.clone()

    def stop(stage: str, done: int, total: int, **figures: float) -> None:
        if stage == "optimize" and done == 3:
            assert math.isfinite(figures["loss"])
            raise Cancelled

    with pytest.raises(Cancelled):
        optimize(start, keyframes, RASTERIZER, iterations=50, generator=generator(), progress=stop)
    assert torch.equal(start.means, before)


def test_time_that_is_over_ends_it_with_what_was_reached() -> None:
    keyframes = drive(3)
    result = optimized(
        seeded(keyframes), keyframes, RASTERIZER, iterations=10**6, max_seconds=0.3, generator=generator()
    )
    assert 0 < result.steps < 10**6
    assert len(result.gaussians) > 0


def test_origins_name_the_gaussians_that_were_given() -> None:
    keyframes = drive(4)
    start = seeded([with_post(keyframes[0]), *keyframes[1:]])
    result = optimized(start, keyframes, RASTERIZER, iterations=0, generator=generator())
    known = result.origin_of_gaussian != NONE
    assert torch.equal(result.gaussians.means[known], start.means[result.origin_of_gaussian[known]])
    assert len(result.origin_of_gaussian) == len(result.gaussians)


def test_transparent_gaussians_are_dropped() -> None:
    keyframes = drive(3)
    start = seeded(keyframes)
    logits = start.logit_opacities.clone()
    logits[::5] = -8.0
    result = optimized(
        replace(start, logit_opacities=logits), keyframes, RASTERIZER, iterations=0, generator=generator()
    )
    assert not bool((result.origin_of_gaussian[result.origin_of_gaussian != NONE] % 5 == 0).any())


def test_the_limit_is_kept() -> None:
    keyframes = drive(5)
    few = seeded(keyframes).select(torch.arange(50))
    assert len(optimize(few, keyframes, RASTERIZER, iterations=0, max_gaussians=80, generator=generator())) <= 80
    assert len(optimize(few, keyframes, RASTERIZER, iterations=0, generator=generator())) > 80


@pytest.mark.parametrize("keyframes", [[], drive(2)])
def test_nothing_to_learn_from_or_nothing_to_draw_is_no_error(keyframes: list[Keyframe]) -> None:
    blind = [replace(k, depth=None) for k in keyframes]
    assert len(optimize(Gaussians.empty(), blind, RASTERIZER, iterations=5, generator=generator())) == 0


def test_what_moved_is_forgotten_and_what_it_hid_is_filled() -> None:
    keyframes = [with_post(drive(6)[0]), *drive(6)[1:]]
    start = seeded(keyframes)
    assert bool((start.means[:, 2] < 0.6).any())
    result = optimize(start, keyframes, RASTERIZER, iterations=0, generator=generator())
    assert not bool((result.means[:, 2] < 0.6).any())
    seen = RASTERIZER.render(result, CAMERA, view(x=0.06).world_from_camera)
    assert float((seen.alpha[5:-5, 5:-5] > 0.5).float().mean()) > 0.98


def test_a_surface_is_not_carved() -> None:
    keyframes = drive(6)
    gaussians = seeded(keyframes)
    space = FreeSpace(gaussians.means)
    for keyframe in keyframes:
        space.add(keyframe)
    assert float(space.is_empty().float().mean()) < 0.02


def test_exposure_that_varies_is_compensated() -> None:
    gains = [0.8, 1.15, 0.9, 1.1, 0.85, 1.05]
    keyframes = [view(i, x, gain=g) for i, (x, g) in enumerate(zip(np.linspace(-0.2, 0.2, 6), gains, strict=True))]
    plain = [view(i, x, gain=float(np.mean(gains))) for i, x in enumerate(np.linspace(-0.2, 0.2, 6))]
    scores = [
        psnr_report(
            optimize(
                seeded(keyframes), keyframes, RASTERIZER, iterations=150, exposure=exposure, generator=generator()
            ),
            plain,
            RASTERIZER,
            range(6),
        )["psnr"]
        for exposure in ("never", "always")
    ]
    assert scores[1] > scores[0]


def test_psnr_is_that_of_the_covered_pixels() -> None:
    keyframe = replace(view(has_box=False), image=np.full((48, 64, 3), 128, np.uint8))
    wall = seed_gaussians(keyframe, None)
    half = wall.select(wall.means[:, 0] < 0)
    report = psnr_report(half, [keyframe], RASTERIZER, [0])
    assert 0.4 < report["covered"] < 0.6
    assert report["views"] == 1
    assert report["psnr"] < report["psnr_affine"]
    assert psnr_report(half, [replace(keyframe, depth=None)], RASTERIZER, [0]) == report  # depth plays no part


def test_psnr_of_nothing_is_unknown() -> None:
    report = psnr_report(Gaussians.empty(), drive(2), RASTERIZER, [0, 1])
    assert math.isnan(report["psnr"])
    assert (report["covered"], report["views"]) == (0.0, 2)
    assert psnr_report(Gaussians.empty(), [], RASTERIZER, [])["views"] == 0


def test_psnr_by_hand() -> None:
    assert psnr(np.zeros(4), np.full(4, 0.1)) == pytest.approx(20.0)
    assert psnr(np.ones(4), np.ones(4)) == 100.0


def test_affine_fitting_forgives_gain_and_offset() -> None:
    keyframes = drive(3)
    dark = [replace(k, image=np.rint(0.6 * k.image + 20).astype(np.uint8)) for k in keyframes]
    start = optimize(seeded(keyframes), keyframes, RASTERIZER, iterations=STEPS, generator=generator())
    bright, dimmed = (psnr_report(start, source, RASTERIZER, [1]) for source in (keyframes, dark))
    assert dimmed["psnr"] < bright["psnr"] - 5.0
    assert dimmed["psnr_affine"] > dimmed["psnr"] + 5.0


def some_image(seed: int) -> torch.Tensor:
    return torch.rand(40, 50, 3, generator=torch.Generator().manual_seed(seed))


def test_ssim_agrees_with_scikit_image() -> None:
    first = some_image(0)
    second = (first + 0.3 * some_image(1)).clamp(0, 1)
    _, expected = structural_similarity(
        first.numpy(),
        second.numpy(),
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inner = (slice(8, -8), slice(8, -8))
    assert np.allclose(ssim(first, second)[inner], expected.mean(axis=2)[inner], atol=1e-5)
    assert torch.allclose(ssim(first, first), torch.ones(40, 50), atol=1e-4)


def test_the_window_has_the_gradient_that_it_should() -> None:
    image = torch.rand(14, 13, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(blurred, (image,))


def test_pixels_without_weight_have_no_say() -> None:
    image, weight = some_image(0), torch.ones(40, 50)
    weight[:, 25:] = 0
    shown = some_image(2).requires_grad_()
    colour_loss(shown, image, weight, 0.2).backward()
    assert shown.grad is not None
    assert not bool(shown.grad[:, 25:].any())
    assert bool(shown.grad[:, :25].any())
    assert float(colour_loss(image, image, weight, 0.2)) == pytest.approx(0.0, abs=1e-6)


def test_unknown_depth_gives_no_gradient_and_no_nan() -> None:
    depth = torch.full((4, 4), WALL)
    depth[0] = float("nan")
    shown = torch.full((4, 4), WALL + 0.5, requires_grad=True)
    alpha = torch.ones(4, 4)
    alpha[:, 0] = 0.2
    depth_loss(shown, alpha, depth).backward()
    assert shown.grad is not None
    assert bool(torch.isfinite(shown.grad).all())
    assert not bool(shown.grad[0].any()) and not bool(shown.grad[:, 0].any())
    assert bool((shown.grad[1:, 1:] > 0).all())
    assert float(depth_loss(shown.detach(), torch.zeros(4, 4), depth)) == 0.0
