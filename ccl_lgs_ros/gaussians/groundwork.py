# SPDX-License-Identifier: Apache-2.0
"""Where optimisation starts: Gaussians taken out of free space, and put on surfaces that none explains."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ccl_lgs_ros.gaussians.carve import FreeSpace
from ccl_lgs_ros.gaussians.order import spread
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.protocols import KeyframeSource, Progress, Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Groundwork:
    """How Gaussians are made to stand on the measured surfaces, and no others.

    Args:
        ends_at: when each of the three passes over the keyframes ends at the latest, as time.monotonic tells it;
            then it has looked at some of them, spread evenly. Empty: each looks at all, in their order.
    """

    keyframes: KeyframeSource
    rasterizer: Rasterizer
    seed_stride: int
    seed_alpha: float
    max_gaussians: int
    progress: Progress
    ends_at: tuple[float, ...] = ()

    def laid(self, gaussians: Gaussians, indices: Sequence[int]) -> tuple[Gaussians, Tensor]:
        """The Gaussians on surfaces, and which of those given each one was [N], NONE for new ones.

        Args:
            indices: of the keyframes that may seed.
        """
        everything = range(len(self.keyframes))
        first = self._outside_free_space(gaussians, self._within(everything, 0))
        start = self._filled(gaussians.select(first), self._within(indices, 1))
        origin = torch.cat([first.cpu(), torch.full((len(start) - len(first),), NONE)])
        # What moved seeds itself again wherever it was.
        second = self._outside_free_space(start, self._within(everything, 2))
        start, origin = start.select(second), origin[second.cpu()]
        num_known = int((origin != NONE).sum())
        logger.info(
            "%s of %s Gaussians stood in free space, %s are new",
            len(gaussians) - num_known,
            len(gaussians),
            len(origin) - num_known,
        )
        return start, origin

    def _within(self, indices: Sequence[int], stage: int) -> Iterator[int]:
        """The indices, for as long as the stage may take."""
        for done, index in enumerate(spread(indices) if self.ends_at else indices):
            if self.ends_at and time.monotonic() > self.ends_at[stage]:
                logger.warning(
                    "only %s of %s keyframes were carved or filled by; the budget is small", done, len(indices)
                )
                return
            yield index

    def _outside_free_space(self, gaussians: Gaussians, indices: Iterable[int]) -> Tensor:
        """Indices of the Gaussians that more keyframes saw than looked through; those held out tell their depth."""
        space, total = FreeSpace(gaussians.means), len(self.keyframes)
        for done, index in enumerate(indices, start=1):
            space.add(self.keyframes[index])
            self.progress("carve", done, total)
        return torch.nonzero(~space.is_empty())[:, 0].to(gaussians.means.device)

    def _filled(self, gaussians: Gaussians, indices: Iterable[int]) -> Gaussians:
        """The Gaussians and, behind them, new ones on surfaces that they leave unexplained."""
        for done, index in enumerate(indices, start=1):
            keyframe = self.keyframes[index]
            with torch.no_grad():
                rendering = self.rasterizer.render(gaussians, keyframe.camera, keyframe.world_from_camera)
            seeds = seed_gaussians(
                keyframe,
                rendering,
                seed_stride=self.seed_stride,
                seed_alpha=self.seed_alpha,
                sh_degree=gaussians.sh_degree,
            )
            room = max(self.max_gaussians - len(gaussians), 0)
            seeds = seeds.select(torch.arange(min(len(seeds), room)))
            gaussians = gaussians.joined(seeds.to(gaussians.means.device))
            self.progress("fill", done, len(self.keyframes), gaussians=len(gaussians))
        return gaussians
