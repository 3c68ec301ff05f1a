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

from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.gaussians.exposures import exposure_spread
from ccl_lgs_ros.gaussians.groundwork import Groundwork
from ccl_lgs_ros.gaussians.keeping import NoDensifier
from ccl_lgs_ros.gaussians.order import Order
from ccl_lgs_ros.gaussians.psnr import psnr_report
from ccl_lgs_ros.gaussians.schedule import Schedule, at_resolution
from ccl_lgs_ros.gaussians.trainer import Losses, Trainer
from ccl_lgs_ros.protocols import Checkpoint, Densifier, KeyframeSource, NoCheckpoint, Progress, Rasterizer, no_progress
from ccl_lgs_ros.structures import Gaussians

__all__ = ["Optimized", "is_held_out", "optimize", "optimized", "psnr_report"]

logger = logging.getLogger(__name__)

AUTO = -1  # steps: as many as the budget allows; without one as many for each keyframe, within limits, as these
STEPS_PER_KEYFRAME = 16
MIN_STEPS, MAX_STEPS = 400, 3000  # of an optimisation from the start; one that continues may be shorter
MIN_OPACITY = 0.03  # of what is kept at the end; fainter Gaussians show next to nothing
MIN_EXTENT = 0.1  # metres
SURFACE_SHARES = (0.1, 0.25, 0.3)  # of a budget of time; by then carving, filling and carving again must end
MIN_SPREAD = 0.2  # of the logarithm of brightness between keyframes, from which on it is compensated


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Optimized:
    """Gaussians, and which of those given each one was, or was split from."""

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
    iterations: int = AUTO,
    holdout_every: int = 8,
    depth_weight: float = 0.1,
    ssim_weight: float = 0.2,
    seed_stride: int = 3,
    seed_alpha: float = 0.5,
    max_gaussians: int = 500_000,
    exposure: str = "auto",
    budget: float = 0.0,
    max_seconds: float = 0.0,
    num_known: int = 0,
    densifier: Densifier | None = None,
    generator: torch.Generator | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress = no_progress,
) -> Optimized:
    """The Gaussians after emptying free space, filling what then shows, and steps of photometric optimisation.

    Equal inputs give equal results, unless there is a budget or time runs out: rates, resolution and densification
    then follow the clock, so that any time gives a finished result.

    Args:
        gaussians: the map so far; never changed, so that a Cancelled from `progress` leaves it as it was.
        keyframes: at the size to optimise at; those held out give nothing.
        iterations: steps, each on one keyframe; -1 = as many as the budget allows; without one 16 for each keyframe,
            from 400 to 3000, or 16 for each that is new to a map that was optimised before.
        max_gaussians: no Gaussian is added beyond this many.
        exposure: compensate the gain and offset that each keyframe has against the others: always, never or auto, where
            keyframes differ by more than a fifth. Colours become the mean ones, which raw PSNR likes less where
            exposure drifts slowly, and affine-fitted PSNR more.
        budget: seconds to make the most of, from the call on; 0 = none.
        max_seconds: seconds that all of this may take at most; 0 = as long as the steps do.
        num_known: the Gaussians were optimised before, from the keyframes below this index; two of three steps then go
            to the others, at the smaller rates of the end.
        densifier: adds and moves Gaussians meanwhile.
        generator: chooses the order of the keyframes.
        checkpoint: keeps what was reached when it is stopped; the same work then goes on from there.
        progress: told the loss.

    Raises:
        Cancelled: from `progress`.
    """
    began, seconds = time.monotonic(), min((limit for limit in (budget, max_seconds) if limit > 0), default=0.0)
    indices = [i for i in range(len(keyframes)) if not is_held_out(i, holdout_every)]
    order, checkpoint = Order(indices, num_known, generator), checkpoint or NoCheckpoint()
    if not indices:
        return Optimized(gaussians=gaussians, origin_of_gaussian=torch.arange(len(gaussians)), steps=0)
    groundwork = Groundwork(
        keyframes=keyframes,
        rasterizer=rasterizer,
        seed_stride=seed_stride,
        seed_alpha=seed_alpha,
        max_gaussians=max_gaussians,
        progress=progress,
        ends_at=tuple(began + share * seconds for share in SURFACE_SHARES) if seconds > 0 else (),
    )
    start, origin = groundwork.laid(gaussians, [i for i in indices if i >= num_known] or indices)
    if not len(start):
        return Optimized(gaussians=start, origin_of_gaussian=origin, steps=0)
    is_compensated = exposure == "always" or (
        exposure == "auto" and exposure_spread(start, keyframes, rasterizer, indices) > MIN_SPREAD
    )
    trainer = Trainer(
        start,
        rasterizer,
        Losses(depth_weight=depth_weight, ssim_weight=ssim_weight),
        extent=_extent(keyframes, indices, start),
        num_keyframes=len(keyframes) if is_compensated else 0,
    )
    num_new = sum(i >= num_known for i in indices)
    schedule = Schedule(_steps(iterations, budget, len(indices), num_known, num_new), seconds, began, num_known > 0)
    course = _Course(trainer, schedule, order, densifier or NoDensifier(), max_gaussians)
    with _one_torch_thread():
        course.run(keyframes, checkpoint, progress)
    result, origin = trainer.result, origin[trainer.origin.cpu()]
    shown = torch.nonzero(_is_sound(result))[:, 0]
    logger.info("%s steps in %.1f s, %s Gaussians", schedule.step, time.monotonic() - began, len(shown))
    return Optimized(gaussians=result.select(shown), origin_of_gaussian=origin[shown.cpu()], steps=schedule.step)


@dataclass(frozen=True, slots=True)
class _Course:
    """The steps from the start, or from a checkpoint, to the end."""

    trainer: Trainer
    schedule: Schedule
    order: Order
    densifier: Densifier
    max_gaussians: int

    def run(self, keyframes: KeyframeSource, checkpoint: Checkpoint, progress: Progress) -> None:
        """Step until the schedule is over; what stops it leaves a checkpoint."""
        parts, schedule = (self.trainer, self.schedule, self.order), self.schedule
        kept = checkpoint.load()
        if kept:
            for part in parts:
                part.restore(kept)
            logger.info("going on after step %s", schedule.step)
        try:
            while not schedule.is_over:
                index, fraction = self.order.next(), schedule.fraction
                loss = self.trainer.step(at_resolution(keyframes[index], fraction), index, fraction)
                schedule.step += 1
                if schedule.densifies(fraction):
                    self.trainer.densify(self.densifier, self.max_gaussians, self.order.generator)
                progress("optimize", schedule.step, schedule.total, loss=loss)
        except (Cancelled, KeyboardInterrupt):
            checkpoint.save({name: tensor for part in parts for name, tensor in part.tensors().items()})
            raise


def _steps(iterations: int, budget: float, num_keyframes: int, num_known: int, num_new: int) -> int:
    """How many steps there are; 0 = as many as there is time for."""
    if iterations >= 0:
        return iterations
    if budget > 0:
        return 0
    if num_known and num_new:
        return min(STEPS_PER_KEYFRAME * num_new, MAX_STEPS)
    return min(max(STEPS_PER_KEYFRAME * num_keyframes, MIN_STEPS), MAX_STEPS)


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
