# SPDX-License-Identifier: Apache-2.0
"""The Gaussians as one matrix that Adam moves row by row: what a view does not show is neither read nor written."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.structures import Gaussians

FIRST_DECAY, SECOND_DECAY = 0.9, 0.999  # as in 3DGS
EPSILON = 1e-15  # as in 3DGS; gradients are small
COLUMNS = {"means": 3, "quats": 4, "log_scales": 3, "logit_opacities": 1}  # the harmonics come after them


class Parameters:
    """The parameters of N Gaussians with Adam's moments, a row [P] per Gaussian.

    Each row has its own count of steps, so that a row that was seen t times is where Adam on that row alone would be;
    where every row is always seen this is Adam itself.

    Source: Adam (Kingma and Ba, 2015), algorithm 1; visible rows alone as in Taming 3DGS (Mallick et al., 2024), which
    does not correct the moments' bias.

    Args:
        gaussians: where to start; copied.
    """

    def __init__(self, gaussians: Gaussians) -> None:
        self._num_harmonics = gaussians.sh.shape[1]
        self.values = _packed(gaussians)  # [N, P]
        self.first, self.second = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self.count = self.values.new_zeros(len(gaussians))  # [N] steps made

    def __len__(self) -> int:
        return len(self.values)

    def leaves(self, rows: Tensor) -> Gaussians:
        """The Gaussians at some rows, as leaves that collect gradients."""
        return Gaussians(**{name: t.requires_grad_() for name, t in self.gaussians(rows).tensors().items()})

    def gaussians(self, rows: Tensor | None = None) -> Gaussians:
        """The Gaussians at some rows, or all; a copy."""
        values = self.values if rows is None else self.values[rows]
        parts = values.split([*COLUMNS.values(), 3 * self._num_harmonics], dim=1)
        means, quats, log_scales, logits, sh = (part.clone(memory_format=torch.contiguous_format) for part in parts)
        return Gaussians(
            means=means,
            quats=quats,
            log_scales=log_scales,
            logit_opacities=logits[:, 0],
            sh=sh.view(len(values), self._num_harmonics, 3),
        )

    def rates(self, by_name: Mapping[str, float]) -> Tensor:
        """Learning rates [P], one per column: those named like COLUMNS, "sh_constant" and "sh_higher"."""
        columns = [by_name[name] for name, width in COLUMNS.items() for _ in range(width)]
        columns += [by_name["sh_constant"]] * 3 + [by_name["sh_higher"]] * 3 * (self._num_harmonics - 1)
        return self.values.new_tensor(columns)

    def step(self, rows: Tensor, gradient: Tensor, rates: Tensor) -> None:
        """One step of Adam at some rows [V], each named once, along gradients [V, P] with rates [P]."""
        count = self.count[rows] + 1.0
        first = self.first[rows].lerp_(gradient, 1.0 - FIRST_DECAY)
        second = self.second[rows].mul_(SECOND_DECAY).addcmul_(gradient, gradient, value=1.0 - SECOND_DECAY)
        size = (second / (1.0 - SECOND_DECAY**count)[:, None]).sqrt_().add_(EPSILON)
        move = (first / (1.0 - FIRST_DECAY**count)[:, None]).div_(size).mul_(rates)
        self.count[rows] = count
        self.first[rows], self.second[rows] = first, second
        self.values[rows] -= move

    def replace(self, gaussians: Gaussians, parent: Tensor, is_fresh: Tensor) -> None:
        """Put other Gaussians [N'] in place of these.

        Args:
            parent: [N'] int64, the row whose moments each goes on with.
            is_fresh: [N'] bool; these forget their moments.
        """
        self.values = _packed(gaussians)
        is_kept = (~is_fresh).to(self.values)
        self.first, self.second = (moment[parent] * is_kept[:, None] for moment in (self.first, self.second))
        self.count = self.count[parent] * is_kept

    def tensors(self) -> dict[str, Tensor]:
        """Everything, to be kept as a checkpoint."""
        return {"values": self.values, "first": self.first, "second": self.second, "count": self.count}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` told."""
        for name in self.tensors():
            setattr(self, name, tensors[name].to(self.values))


def _packed(gaussians: Gaussians) -> Tensor:
    return torch.cat([tensor.detach().flatten(1) if tensor.ndim > 1 else tensor.detach()[:, None]
                      for tensor in gaussians.tensors().values()], dim=1)  # fmt: skip


def packed_gradient(leaves: Gaussians) -> Tensor:
    """The gradients that leaves collected, as rows [V, P]."""
    found = [torch.zeros_like(t) if t.grad is None else t.grad for t in leaves.tensors().values()]
    return torch.cat([t.flatten(1) if t.ndim > 1 else t[:, None] for t in found], dim=1)
