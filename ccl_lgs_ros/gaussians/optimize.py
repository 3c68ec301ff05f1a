# SPDX-License-Identifier: Apache-2.0
"""Photometric optimisation of the Gaussians over all keyframes, and its score on keyframes held out.

Source: 3D Gaussian Splatting (Kerbl et al., 2023), loss and learning rates; depth and exposure terms are ours.
"""

import logging
import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.similarity import structural_similarity
from ccl_lgs_ros.protocols import KeyframeSource, Progress, Rasterizer, no_progress
from ccl_lgs_ros.structures import Gaussians

logger = logging.getLogger(__name__)

# Learning rates of 3DGS; that of the means is per metre of scene extent and decays to a hundredth.
MEANS_RATE = 1.6e-4
RATES = {"quats": 1e-3, "log_scales": 5e-3, "logit_opacities": 2.5e-2, "sh": 1e-2}  # sh: seeds already have colour
EXPOSURE_RATE = 5e-3
EXPOSURE_PULL = 0.1  # weight that keeps the exposures at their common mean, so that raw colours stay absolute
COVERED_ALPHA = 0.5  # a pixel counts as covered above this
MIN_OPACITY = 0.02  # a Gaussian under this shows nothing and is dropped
DEPTH_SCALE = 0.1  # metres; depth errors beyond it count no more than linearly less, so that outliers do not pull


def optimize(
    gaussians: Gaussians,
    keyframes: KeyframeSource,
    rasterizer: Rasterizer,
    *,
    iterations: int,
    holdout_every: int = 8,
    depth_weight: float = 0.1,
    ssim_weight: float = 0.2,
    max_seconds: float = 0.0,
    generator: Generator,
    progress: Progress = no_progress,
) -> Gaussians:
    """The Gaussians moved, turned, scaled and coloured so that they render as the keyframes look.

    Every holdout_every-th keyframe gives no colour and no depth.

    Args:
        gaussians: the start, [N].
        keyframes: views at the size to optimise at.
        iterations: steps; one keyframe each, in a new random order every round.
        max_seconds: stop after this long; 0 = no limit.
        generator: decides the order of the keyframes.

    Returns:
        The optimised Gaussians without those that became transparent.
    """
    training = [i for i in range(len(keyframes)) if not is_held_out(i, holdout_every)]
    if len(gaussians) == 0 or not training or iterations == 0:
        return gaussians
    state = _State(gaussians, len(keyframes), iterations)
    began = time.monotonic()
    order: list[int] = []
    loss_mean = math.nan
    for step in range(iterations):
        if not order:
            order = [training[i] for i in torch.randperm(len(training), generator=generator).tolist()]
        index = order.pop()
        loss = state.step(keyframes[index], index, rasterizer, depth_weight, ssim_weight)
        loss_mean = loss if math.isnan(loss_mean) else 0.95 * loss_mean + 0.05 * loss
        progress("optimise", step + 1, iterations, loss=loss_mean)
        if max_seconds and time.monotonic() - began > max_seconds:
            logger.info("optimisation stopped at its time budget after %s steps", step + 1)
            break
    result = state.gaussians().detached()
    return result.select(result.opacities > MIN_OPACITY)


def is_held_out(index: int, every: int) -> bool:
    """Whether the keyframe at a position gives no colour and is scored instead."""
    return every > 0 and index % every == every - 1


class _State:
    """Parameters, exposures and their optimiser."""

    def __init__(self, gaussians: Gaussians, num_keyframes: int, iterations: int) -> None:
        self.parameters = {n: t.detach().clone().requires_grad_() for n, t in gaussians.tensors().items()}
        device = gaussians.means.device
        self.log_gains = torch.zeros(num_keyframes, 3, device=device, requires_grad=True)
        extent = _extent(gaussians.means)
        groups = [{"params": [self.parameters["means"]], "lr": MEANS_RATE * extent, "name": "means"}]
        groups += [{"params": [self.parameters[name]], "lr": rate, "name": name} for name, rate in RATES.items()]
        groups.append({"params": [self.log_gains], "lr": EXPOSURE_RATE, "name": "exposure"})
        self.optimizer = torch.optim.Adam(groups, eps=1e-15)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            [(lambda step, g=g: 0.01 ** (step / iterations) if g["name"] == "means" else 1.0) for g in groups],
        )

    def gaussians(self) -> Gaussians:
        return Gaussians(**self.parameters)

    def step(
        self, view: Keyframe, index: int, rasterizer: Rasterizer, depth_weight: float, ssim_weight: float
    ) -> float:
        rendering = rasterizer.render(self.gaussians(), view.camera, view.world_from_camera)
        photo = torch.from_numpy(view.image).to(rendering.color).div(255.0)
        depth = None if view.depth is None else torch.from_numpy(view.depth).to(rendering.depth)
        counts = rendering.alpha.detach() > COVERED_ALPHA
        if depth is not None:
            counts = counts | depth.isfinite()
        gains = (self.log_gains[index] - self.log_gains.mean(dim=0)).exp()
        loss = color_loss(rendering.color * gains, photo, counts, ssim_weight)
        if depth is not None and depth_weight > 0:
            loss = loss + depth_weight * depth_loss(rendering.depth, rendering.alpha, depth)
        loss = loss + EXPOSURE_PULL * self.log_gains.square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()


def color_loss(color: Tensor, photo: Tensor, counts: Tensor, ssim_weight: float) -> Tensor:
    """(1 - w) L1 + w (1 - SSIM) over the pixels that count; 3DGS, 2023, eq. 7 with w = 0.2."""
    seen = torch.where(counts[..., None], color, photo)
    l1 = (seen - photo).abs().sum() / (3 * counts.sum().clamp_min(1))
    if ssim_weight == 0:
        return l1
    return (1 - ssim_weight) * l1 + ssim_weight * (1 - structural_similarity(seen, photo))


def depth_loss(depth: Tensor, alpha: Tensor, measured: Tensor) -> Tensor:
    """Robust mean error in metres, relative to the distance, where depth is known and the map covers."""
    known = measured.isfinite() & (alpha.detach() > COVERED_ALPHA)
    if not known.any():
        return depth.sum() * 0.0
    error = (depth[known] - measured[known]) / measured[known]
    return torch.nn.functional.huber_loss(error, torch.zeros_like(error), delta=DEPTH_SCALE) / DEPTH_SCALE


def psnr_report(
    gaussians: Gaussians, keyframes: KeyframeSource, rasterizer: Rasterizer, which: Sequence[int]
) -> dict[str, float]:
    """How well the Gaussians predict keyframes, over pixels with alpha above 0.5.

    Returns:
        psnr: dB on raw colours, the mean over keyframes.
        psnr_affine: dB after one gain and offset per keyframe and channel were fitted.
        covered: the share of pixels that count.
    """
    raw, fitted, covered = [], [], []
    for index in which:
        view = keyframes[index]
        with torch.no_grad():
            rendering = rasterizer.render(gaussians, view.camera, view.world_from_camera)
        counts = (rendering.alpha > COVERED_ALPHA).cpu().numpy()
        covered.append(counts.mean())
        if not counts.any():
            continue
        color = rendering.color.cpu().numpy()[counts].clip(0.0, 1.0)
        photo = view.image[counts] / 255.0
        raw.append(_psnr(color, photo))
        fitted.append(_psnr(_affine_fitted(color, photo), photo))
    if not raw:
        return {"psnr": math.nan, "psnr_affine": math.nan, "covered": 0.0}
    return {
        "psnr": round(float(np.mean(raw)), 3),
        "psnr_affine": round(float(np.mean(fitted)), 3),
        "covered": round(float(np.mean(covered)), 4),
    }


def _psnr(color: np.ndarray, photo: np.ndarray) -> float:
    return float(-10.0 * np.log10(max(np.mean((color - photo) ** 2), 1e-10)))


def _affine_fitted(color: np.ndarray, photo: np.ndarray) -> np.ndarray:
    fitted = np.empty_like(color)
    for channel in range(3):
        design = np.stack([color[:, channel], np.ones(len(color))], axis=1)
        gain, *_ = np.linalg.lstsq(design, photo[:, channel], rcond=None)
        fitted[:, channel] = design @ gain
    return fitted.clip(0.0, 1.0)


def _extent(means: Tensor) -> float:
    """The radius in metres that holds nine tenths of the Gaussians."""
    center = means.median(dim=0).values
    return float((means - center).norm(dim=1).kthvalue(max(1, int(0.9 * len(means)))).values)
