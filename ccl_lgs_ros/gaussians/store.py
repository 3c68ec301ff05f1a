# SPDX-License-Identifier: Apache-2.0
"""The Gaussians of a map while it grows: what a keyframe sees of them, those that it adds, those that it ends."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.carve import compared
from ccl_lgs_ros.gaussians.cells import Cells
from ccl_lgs_ros.gaussians.growing import Growing
from ccl_lgs_ros.shapes import check_shapes
from ccl_lgs_ros.structures import NONE, Gaussians

FIRST_EVIDENCE = 1  # of a Gaussian that one keyframe showed
MAX_EVIDENCE = 4  # so that five looks through it are enough, however many saw it before; as OctoMap clamps its odds
GONE = -1
UNSEEN_LOGIT = -20.0  # of an opacity that no rasterizer draws


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Some Gaussians of a map, and which they are."""

    index: Tensor  # [n] int64, ascending, on the CPU
    gaussians: Gaussians  # [n]

    def joined(self, other: "Part") -> "Part":
        """This part followed by another one, whose Gaussians all come later in the map."""
        return Part(index=torch.cat([self.index, other.index]), gaussians=self.gaussians.joined(other.gaussians))

    def select(self, which: Tensor) -> "Part":
        """Those at a boolean mask [n]."""
        return Part(index=self.index[which], gaussians=self.gaussians.select(which.to(self.gaussians.means.device)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Standing:
    """What holds a Gaussian where it is."""

    anchor: Tensor  # [N] int32: the keyframe whose pose it hangs on, -1 none
    evidence: Tensor  # [N] int8: how many keyframes saw it more than looked through it, clamped; -1 is gone
    last_seen: Tensor  # [N] int32: the last keyframe that measured a surface where it is, -1 none

    def __post_init__(self) -> None:
        count = self.anchor.shape[0]
        check_shapes(
            anchor=(self.anchor, (count,)), evidence=(self.evidence, (count,)), last_seen=(self.last_seen, (count,))
        )

    @staticmethod
    def of(count: int, anchor: int = NONE) -> "Standing":
        """So many Gaussians that one keyframe showed."""
        return Standing(
            anchor=torch.full((count,), anchor, dtype=torch.int32),
            evidence=torch.full((count,), FIRST_EVIDENCE, dtype=torch.int8),
            last_seen=torch.full((count,), anchor, dtype=torch.int32),
        )

    def select(self, which: Tensor) -> "Standing":
        """The rows at an index or boolean mask."""
        return Standing(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


class GaussianStore:
    """Gaussians that are appended to, and looked up by view, at the cost of what is appended and seen.

    Those that are gone keep their place, so that the others keep theirs, and are seen by nobody.

    Args:
        gaussians: what it begins with; never changed.
        standing: what holds them; by default nothing.
    """

    def __init__(self, gaussians: Gaussians, standing: Standing | None = None) -> None:
        self._rows = Growing(gaussians.detached())
        self._standing = Growing(standing or Standing.of(len(gaussians)))
        self._cells = Cells()
        self._cells.append(gaussians.means, gaussians.log_scales)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def gaussians(self) -> Gaussians:
        """All of them; what is appended later is not in it."""
        return self._rows.table

    @property
    def standing(self) -> Standing:
        """What holds each of them."""
        return self._standing.table

    @property
    def is_there(self) -> Tensor:
        """[N] bool: not gone."""
        return self._standing.table.evidence > GONE

    def seen_by(self, keyframe: Keyframe) -> Part:
        """The Gaussians that a keyframe's camera may see."""
        index = self._cells.seen_by(keyframe)
        index = index[self._standing.table.evidence[index] > GONE]
        if len(index) == len(self):
            return Part(index=index, gaussians=self.gaussians)
        return Part(index=index, gaussians=self._rows.rows(index.to(self.gaussians.means.device)))

    def append(self, gaussians: Gaussians, anchor: int = NONE) -> Part:
        """New Gaussians, behind the others, that a keyframe showed."""
        first = len(self)
        self._cells.append(gaussians.means, gaussians.log_scales)
        self._rows.append(gaussians)
        self._standing.append(Standing.of(len(gaussians), anchor))
        return Part(index=torch.arange(first, len(self)), gaussians=gaussians.to(self.gaussians.means.device))

    def weigh(self, part: Part, keyframe: Keyframe, index: int) -> Tensor:
        """Hold a keyframe's depth against what it may see; which of the part [n] bool were looked through too often.

        They are not gone by that.

        Args:
            index: of the keyframe.
        """
        means = part.gaussians.means.detach().cpu().numpy().astype(np.float64)
        confirmed, contradicted = (torch.from_numpy(mask) for mask in compared(means, keyframe))
        before = self._standing.rows(part.index)
        evidence = (before.evidence + confirmed.to(torch.int8) - contradicted.to(torch.int8)).clamp(GONE, MAX_EVIDENCE)
        is_through = evidence == GONE
        last_seen = torch.where(confirmed, index, before.last_seen).to(torch.int32)
        held = replace(before, evidence=evidence.clamp_min(GONE + 1), last_seen=last_seen)
        self._standing.put(part.index, held)
        return is_through

    def remove(self, index: Tensor) -> None:
        """Those at an index [n] are gone."""
        if not len(index):
            return
        standing, place = self._standing.rows(index), index.to(self.gaussians.means.device)
        self._standing.put(index, replace(standing, evidence=torch.full_like(standing.evidence, GONE)))
        gaussians = self._rows.rows(place)
        unseen = torch.full_like(gaussians.logit_opacities, UNSEEN_LOGIT)
        self._rows.put(place, replace(gaussians, logit_opacities=unseen))
