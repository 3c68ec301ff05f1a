# SPDX-License-Identifier: Apache-2.0
"""The Gaussians of a map while it grows: what a keyframe sees of them, and those that it adds."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.cells import Cells
from ccl_lgs_ros.gaussians.growing import Growing
from ccl_lgs_ros.structures import Gaussians


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Some Gaussians of a map, and which they are."""

    index: Tensor  # [n] int64, ascending, on the CPU
    gaussians: Gaussians  # [n]

    def joined(self, other: "Part") -> "Part":
        """This part followed by another one, whose Gaussians all come later in the map."""
        return Part(index=torch.cat([self.index, other.index]), gaussians=self.gaussians.joined(other.gaussians))


class GaussianStore:
    """Gaussians that are appended to, and looked up by view, at the cost of what is appended and seen.

    Args:
        gaussians: what it begins with; never changed.
    """

    def __init__(self, gaussians: Gaussians) -> None:
        self._rows = Growing(gaussians.detached())
        self._cells = Cells()
        self._cells.append(gaussians.means, gaussians.log_scales)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def gaussians(self) -> Gaussians:
        """All of them; what is appended later is not in it."""
        return self._rows.table

    def seen_by(self, keyframe: Keyframe) -> Part:
        """The Gaussians that a keyframe's camera may see."""
        index = self._cells.seen_by(keyframe)
        if len(index) == len(self):
            return Part(index=index, gaussians=self.gaussians)
        return Part(index=index, gaussians=self._rows.rows(index.to(self.gaussians.means.device)))

    def append(self, gaussians: Gaussians) -> Part:
        """New Gaussians, behind the others."""
        first = len(self)
        self._cells.append(gaussians.means, gaussians.log_scales)
        self._rows.append(gaussians)
        return Part(index=torch.arange(first, len(self)), gaussians=gaussians.to(self.gaussians.means.device))
