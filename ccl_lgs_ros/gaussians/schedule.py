# SPDX-License-Identifier: Apache-2.0
"""How an optimisation spends its steps or its time: rates, resolution and densification by how far it has come."""

import time
from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe

MEANS_END = 0.05  # of the rate of the centres, reached at the end
RATES_END = 0.2  # of the other rates
COARSE_UNTIL = 0.1  # of the whole; images are half as wide before; at 0.25 a synthetic room lost 0.2 dB
COARSE_MIN_WIDTH = 160  # pixels; narrower images are never halved
DENSIFY_FROM, DENSIFY_UNTIL = 0.1, 0.6  # of the whole
DENSIFY_ROUNDS = 15
ROUND_STEPS = 60  # between two rounds at least, so that what was added is learnt before more is
CONTINUED_FROM = 0.8  # of the whole, where what was optimised before is continued


class Schedule:
    """Says how much of an optimisation is over, by steps, by the clock, or by whichever ends first.

    Args:
        steps: how many there are; 0 = as many as the time allows.
        seconds: how long it may take; 0 = as long as the steps do.
        began: when that time began, as time.monotonic tells it.
        continues: the Gaussians were optimised before: only the end is left.
    """

    def __init__(self, steps: int, seconds: float, began: float, continues: bool = False) -> None:
        self._steps, self._seconds, self._began = steps, seconds, began
        self._from = CONTINUED_FROM if continues else 0.0
        self.step = 0
        self.rounds = 0  # of densification
        self._last_round = 0  # the step after which it was

    @property
    def is_over(self) -> bool:
        """Whether no step is left, or no time."""
        return self._share() >= 1.0

    @property
    def fraction(self) -> float:
        """What is over, 0 to 1."""
        return self._from + (1.0 - self._from) * min(self._share(), 1.0)

    @property
    def total(self) -> int:
        """The steps that there will be, as far as one can tell."""
        return max(self.step, round(self.step / max(self._share(), 1e-6)))

    def _share(self) -> float:
        if self._steps <= 0 and self._seconds <= 0:
            return 1.0
        by_steps = self.step / self._steps if self._steps > 0 else 0.0
        by_time = (time.monotonic() - self._began) / self._seconds if self._seconds > 0 else 0.0
        return max(by_steps, by_time)

    def densifies(self, fraction: float) -> bool:
        """Whether a round of densification is due; it counts as done then."""
        due = DENSIFY_FROM + (DENSIFY_UNTIL - DENSIFY_FROM) * self.rounds / DENSIFY_ROUNDS
        is_early = fraction < due or self.step < self._last_round + ROUND_STEPS
        if self.rounds >= DENSIFY_ROUNDS or is_early or fraction > DENSIFY_UNTIL:
            return False
        self.rounds, self._last_round = self.rounds + 1, self.step
        return True

    def tensors(self) -> dict[str, Tensor]:
        """Everything, to be kept as a checkpoint."""
        passed = time.monotonic() - self._began
        return {"schedule": torch.tensor([self.step, self.rounds, self._last_round, passed], dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` told; the time between does not count."""
        step, rounds, last_round, passed = tensors["schedule"].tolist()
        self.step, self.rounds, self._last_round = int(step), int(rounds), int(last_round)
        self._began = time.monotonic() - passed


def decay(fraction: float, end: float) -> float:
    """What is left of a rate that falls exponentially to `end`."""
    return end**fraction


def at_resolution(keyframe: Keyframe, fraction: float) -> Keyframe:
    """The keyframe as it is learnt from: half as wide at first, when only the coarse can be learnt."""
    height, width = keyframe.image.shape[:2]
    if fraction >= COARSE_UNTIL or width < COARSE_MIN_WIDTH:
        return keyframe
    size = (width // 2, height // 2)
    return replace(
        keyframe,
        camera=keyframe.camera.resized(*size),
        image=cv2.resize(keyframe.image, size, interpolation=cv2.INTER_AREA),
        depth=None if keyframe.depth is None else np.ascontiguousarray(_halved(keyframe.depth)),
        labels=None,
        outdated=None if keyframe.outdated is None else _any_of_four(keyframe.outdated),
    )


def _any_of_four(mask: np.ndarray) -> np.ndarray:
    """Whether any of every two by two pixels is set."""
    height, width = mask.shape[0] // 2 * 2, mask.shape[1] // 2 * 2
    return np.asarray(mask[:height, :width].reshape(height // 2, 2, width // 2, 2).any(axis=(1, 3)))


def _halved(depth: np.ndarray) -> np.ndarray:
    """The nearest known depth of every two by two pixels."""
    height, width = depth.shape[0] // 2 * 2, depth.shape[1] // 2 * 2
    return np.fmin.reduce(depth[:height, :width].reshape(height // 2, 2, width // 2, 2), axis=(1, 3))
