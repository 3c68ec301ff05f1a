# SPDX-License-Identifier: Apache-2.0
"""Runs that are stopped: what they keep, and what stops them."""

from collections.abc import Mapping

from torch import Tensor

from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.protocols import Progress


class Kept:
    """A checkpoint in memory."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.saves = 0

    def load(self) -> Mapping[str, Tensor]:
        return self.tensors

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self.saves += 1


def cancels_at(step: int, stage: str = "distill") -> Progress:
    """Progress that cancels the run once this step is told."""
    last = stage, step

    def progress(stage: str, done: int, total: int, **figures: float) -> None:
        if (stage, done) == last:
            raise Cancelled

    return progress
