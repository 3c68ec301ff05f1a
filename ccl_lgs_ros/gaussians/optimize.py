# SPDX-License-Identifier: Apache-2.0
"""The Gaussians made to look like the keyframes: emptied where cameras looked through, filled, then optimised."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ccl_lgs_ros.gaussians.carve import FreeSpace
from ccl_lgs_ros.gaussians.psnr import psnr_report
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.gaussians.trainer import Losses, Trainer
from ccl_lgs_ros.protocols import KeyframeSource, Progress, Rasterizer, no_progress
from ccl_lgs_ros.structures import NONE, Gaussians

__all__ = ["Optimized", "is_held_out", "optimize", "optimized", "psnr_report"]

logger = logging.getLogger(__name__)

MIN_OPACITY = 0.03  # of what is kept at the end; fainter Gaussians show next to nothing
MIN_EXTENT = 0.1  # metres


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Optimized:
    """Gaussians, and which of those given each one was."""

    gaussians: Gaussians
    origin_of_gaussian: Tensor  # [N] int64, -1 for new ones
    steps: int


def is_held_out(index: int, holdout_every: int) -> bool:
    """Whether the keyframe at an index gives no colour and is scored: the last of every `holdout_every`; 0 = none."""
    return holdout_every > 0 and index % holdout_every == holdout_every - 1


def optimize(gaussians: Gaussians, keyframes: KeyframeSource, rasterizer: Rasterizer, **options) -> Gaussians:
    """As `optimized`, for callers that make everything that hangs on the Gaussians anew."""
    return optimized(gaussians, keyframes, rasterizer, **options).gaussians


def optimized(
    gaussians: Gaussians,
    keyframes: KeyframeSource,
    rasterizer: Rasterizer,
    *,
    iterations: int = 400,
    holdout_every: int = 8,
    depth_weight: float = 0.1,
    ssim_weight: float = 0.2,
    seed_stride: int = 3,
    seed_alpha: float = 0.5,
    max_gaussians: int = 500_000,
    exposure: bool = False,
    max_seconds: float = 0.0,
    generator: torch.Generator | None = None,
    progress: Progress = no_progress,
) -> Optimized:
    """The Gaussians after emptying free space, filling what then shows, and steps of photometric optimisation.

    Equal inputs give equal results, unless time runs out.

    Args:
        gaussians: the map so far; never changed, so that a Cancelled from `progress` leaves it as it was.
        keyframes: at the size to optimise at; those held out give nothing.
        iterations: steps, each on one keyframe.
        max_gaussians: no Gaussian is added beyond this many.
        exposure: compensate the gain and offset that each keyframe has against the others; colours become the
            mean ones, which raw PSNR likes less where exposure drifts slowly, and affine-fitted PSNR more.
        max_seconds: stop after this long with what has been reached; 0 = do not.
        generator: chooses the order of the keyframes.
        progress: told the loss.

    Raises:
        Cancelled: from `progress`.
    """
    began = time.monotonic()
    indices = [i for i in range(len(keyframes)) if not is_held_out(i, holdout_every)]
    origin = torch.arange(len(gaussians))
    if not indices:
        return Optimized(gaussians=gaussians, origin_of_gaussian=origin, steps=0)
    first = _outside_free_space(gaussians, keyframes, progress)
    start = _filled(
        gaussians.select(first), keyframes, indices, rasterizer, seed_stride, seed_alpha, max_gaussians, progress
    )
    origin = torch.cat([origin[first.cpu()], torch.full((len(start) - len(first),), NONE)])
    # What moved seeds itself again wherever it was.
    second = _outside_free_space(start, keyframes, progress)
    start, origin = start.select(second), origin[second.cpu()]
    logger.info(
        "%s of %s Gaussians stood in free space, %s are new",
        len(gaussians) - int((origin != NONE).sum()),
        len(gaussians),
        int((origin == NONE).sum()),
    )
    if not len(start):
        return Optimized(gaussians=start, origin_of_gaussian=origin, steps=0)
    trainer = Trainer(
        start,
        rasterizer,
        Losses(depth_weight=depth_weight, ssim_weight=ssim_weight),
        extent=_extent(keyframes, indices, start),
        num_keyframes=len(keyframes) if exposure else 0,
    )
    with _one_torch_thread():
        steps = _train(trainer, keyframes, _order(indices, generator), iterations, max_seconds, began, progress)
    result = trainer.result
    shown = torch.nonzero(_is_sound(result))[:, 0]
    logger.info("%s steps in %.1f s, %s Gaussians", steps, time.monotonic() - began, len(shown))
    return Optimized(gaussians=result.select(shown), origin_of_gaussian=origin[shown.cpu()], steps=steps)


def _train(
    trainer: Trainer,
    keyframes: KeyframeSource,
    order: Iterator[int],
    iterations: int,
    max_seconds: float,
    began: float,
    progress: Progress,
) -> int:
    """Step until the steps or the time are over; returns how many were made."""
    for step in range(iterations):
        elapsed = time.monotonic() - began
        if 0 < max_seconds <= elapsed:
            logger.warning(
                "optimisation stopped after %s of %s steps: its %.0f s are over", step, iterations, max_seconds
            )
            return step
        index = next(order)
        fraction = max(step / iterations, elapsed / max_seconds if max_seconds > 0 else 0.0)
        loss = trainer.step(keyframes[index], index, fraction)
        progress("optimize", step + 1, iterations, loss=loss)
    return iterations


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Keep torch's own operations in this thread: on images as small as these its OpenMP threads cost more than
    they bring, and where another process wants the core they spin for tens of times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _order(indices: Sequence[int], generator: torch.Generator | None) -> Iterator[int]:
    """The keyframes in random order, each once before any again, for ever."""
    while True:
        for place in torch.randperm(len(indices), generator=generator).tolist():
            yield indices[place]


def _outside_free_space(gaussians: Gaussians, keyframes: KeyframeSource, progress: Progress) -> Tensor:
    """Indices of the Gaussians that more keyframes saw than looked through; those held out tell their depth."""
    space = FreeSpace(gaussians.means)
    for index in range(len(keyframes)):
        space.add(keyframes[index])
        progress("carve", index + 1, len(keyframes))
    return torch.nonzero(~space.is_empty())[:, 0].to(gaussians.means.device)


def _filled(
    gaussians: Gaussians,
    keyframes: KeyframeSource,
    indices: Sequence[int],
    rasterizer: Rasterizer,
    seed_stride: int,
    seed_alpha: float,
    max_gaussians: int,
    progress: Progress,
) -> Gaussians:
    """The Gaussians and, behind them, new ones on surfaces that they leave unexplained."""
    for done, index in enumerate(indices):
        keyframe = keyframes[index]
        with torch.no_grad():
            rendering = rasterizer.render(gaussians, keyframe.camera, keyframe.world_from_camera)
        seeds = seed_gaussians(
            keyframe, rendering, seed_stride=seed_stride, seed_alpha=seed_alpha, sh_degree=gaussians.sh_degree
        )
        room = max(max_gaussians - len(gaussians), 0)
        seeds = seeds.select(torch.arange(min(len(seeds), room)))
        gaussians = gaussians.joined(seeds.to(gaussians.means.device))
        progress("fill", done + 1, len(indices), gaussians=len(gaussians))
    return gaussians


def _extent(keyframes: KeyframeSource, indices: Sequence[int], gaussians: Gaussians) -> float:
    """The size of the scene in metres: how far the cameras are spread, or how far they see if that is more."""
    centers = np.stack([keyframes[i].world_from_camera[:3, 3] for i in indices])
    middle = centers.mean(axis=0)
    spread = float(np.linalg.norm(centers - middle, axis=1).max())
    sight = float(np.median(np.linalg.norm(gaussians.means.detach().cpu().numpy() - middle, axis=1)))
    return max(spread, sight, MIN_EXTENT)


def _is_sound(gaussians: Gaussians) -> Tensor:
    """[N] bool: finite, and more than nearly transparent."""
    is_finite = torch.stack([t.flatten(1).isfinite().all(dim=1) for t in _rows(gaussians)]).all(dim=0)
    return is_finite & (gaussians.opacities > MIN_OPACITY)


def _rows(gaussians: Gaussians) -> list[Tensor]:
    return [tensor.reshape(len(gaussians), -1) for tensor in gaussians.tensors().values()]
