# SPDX-License-Identifier: Apache-2.0
"""The geometry half of a refine: Gaussians optimised over all keyframes, once, whatever stops the work."""

import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.gaussians.optimize import is_held_out, optimized, psnr_report
from ccl_lgs_ros.parts import Parts
from ccl_lgs_ros.protocols import Checkpoint, KeyframeSource, Progress, no_progress
from ccl_lgs_ros.storage.checkpoint import fingerprint
from ccl_lgs_ros.structures import Gaussians

logger = logging.getLogger(__name__)

ORIGIN = "origin"


def refined_geometry(
    gaussians: Gaussians,
    views: KeyframeSource,
    parts: Parts,
    config: MapConfig,
    *,
    num_known: int,
    max_seconds: float,
    checkpoint_of: Callable[[str], Checkpoint],
    progress: Progress,
) -> tuple[Gaussians, Tensor, dict[str, object]]:
    """The Gaussians after optimising, which of those before each one was [N] (-1 new), and figures for the record.

    Args:
        views: the keyframes at working size, with depth.
        num_known: keyframes that an earlier refine had.
        max_seconds: 0 = as long as it takes.
        checkpoint_of: keeps work under a name that says all that it depends on.
    """
    options, began = config.gaussians, time.monotonic()
    start = fingerprint(*gaussians.tensors().values())
    work = f"{options} {max_seconds} {config.seed} {len(views)} {start}"
    checkpoint = checkpoint_of(work)
    reached = dict(checkpoint.load())
    if reached:
        logger.info("going on with the Gaussians of an earlier run")
        origin = reached.pop(ORIGIN)
        return Gaussians(**reached).to(gaussians.means.device), origin, {}
    found = optimized(
        gaussians,
        views,
        parts.rasterizer,
        iterations=options.iterations,
        holdout_every=options.holdout_every,
        depth_weight=options.depth_weight,
        ssim_weight=options.ssim_weight,
        seed_stride=options.seed_stride,
        seed_alpha=options.seed_alpha,
        max_gaussians=options.max_gaussians,
        exposure=options.exposure,
        budget=options.budget,
        max_seconds=max_seconds,
        num_known=num_known,
        densifier=parts.densifier,
        checkpoint=checkpoint_of(f"unfinished {work}"),
        generator=torch.Generator().manual_seed(config.seed),
        progress=progress,
    )
    origin = found.origin_of_gaussian.cpu()
    checkpoint.save({**found.gaussians.tensors(), ORIGIN: origin})
    return found.gaussians, origin, {"optimize_seconds": round(time.monotonic() - began, 1)}


def score_of(
    gaussians: Gaussians, views: KeyframeSource, parts: Parts, config: MapConfig, progress: Progress = no_progress
) -> dict[str, object]:
    """How well the keyframes that were held out are shown, for the record; empty where none was."""
    held_out = [i for i in range(len(views)) if is_held_out(i, config.gaussians.holdout_every)]
    if not held_out:
        return {}
    report = psnr_report(gaussians, views, parts.rasterizer, held_out, progress)
    logger.info("held-out keyframes: %s", report)
    return {"held_out": report}
