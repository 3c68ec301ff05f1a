# SPDX-License-Identifier: Apache-2.0
"""Densification without thresholds: Gaussians that show nothing move to where the images pull, and few are added."""

import math
from functools import cache

import torch
from torch import Tensor

from ccl_lgs_ros.protocols import Densified
from ccl_lgs_ros.structures import Gaussians

MIN_OPACITY = 0.005  # of a Gaussian that is alive; the paper's
GROWTH = 0.05  # of the Gaussians are added each time; the paper's
MAX_COPIES = 51  # that share one place; the paper's code
EPSILON = 1e-6


class RelocatingDensifier:
    """Moves dead Gaussians onto live ones and adds copies, such that what is drawn stays nearly as it was.

    The paper draws the live ones by opacity; here they are drawn by how hard the images pull them as well, which spends
    the few rounds that a short optimisation has where something is wrong. The paper's noise is left out: it explores
    where nothing is known yet, and our Gaussians start on measured surfaces.

    Source: 3D Gaussian Splatting as Markov Chain Monte Carlo (Kheradmand et al., 2024), section 3 and eq. 9.
    """

    def densify(
        self,
        gaussians: Gaussians,
        pull: Tensor,
        views: Tensor,
        *,
        extent: float,
        limit: int,
        generator: torch.Generator,
    ) -> Densified:
        """Every dead Gaussian moved, and copies added up to the limit."""
        n, opacities = len(gaussians), gaussians.opacities
        is_alive = opacities > MIN_OPACITY
        num_more = max(min(math.ceil(GROWTH * n), limit - n), 0)
        is_wanted = torch.cat([~is_alive, is_alive.new_ones(num_more)])
        weight = torch.where(is_alive & (views > 0), opacities * pull, 0.0)
        parent = torch.arange(n + num_more, device=pull.device)
        if not bool(is_wanted.any()) or not bool(weight.sum() > 0):
            kept = parent[:n]
            return Densified(gaussians=gaussians, parent_of_gaussian=kept, is_fresh=torch.zeros_like(is_alive))
        drawn = torch.multinomial(weight.cpu(), int(is_wanted.sum()), replacement=True, generator=generator)
        parent[is_wanted] = drawn.to(parent.device)
        copies = torch.bincount(parent[is_wanted], minlength=n) + 1
        opacity, shrink = relocated(opacities, copies)
        placed = gaussians.select(parent)
        is_fresh = is_wanted | (copies[parent] > 1)
        shape = torch.where(is_fresh, shrink[parent].log(), 0.0)
        return Densified(
            gaussians=Gaussians(
                means=placed.means,
                quats=placed.quats,
                log_scales=placed.log_scales + shape[:, None],
                logit_opacities=torch.where(is_fresh, opacity[parent].logit(EPSILON), placed.logit_opacities),
                sh=placed.sh,
            ),
            parent_of_gaussian=parent,
            is_fresh=is_fresh,
        )


def relocated(opacities: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity and shrinkage of the scales [N] at which as many copies in one place show what one showed.

    Source: 3D Gaussian Splatting as Markov Chain Monte Carlo (Kheradmand et al., 2024), eq. 9.

    Args:
        opacities: [N] of the one.
        copies: [N] int64 >= 1; above 51 they count as 51.
    """
    count = copies.clamp(1, MAX_COPIES)
    old = opacities.double().clamp(EPSILON, 1.0 - EPSILON)
    new = 1.0 - (1.0 - old) ** (1.0 / count)
    powers = new[:, None] ** torch.arange(1, MAX_COPIES + 1, device=new.device)
    total = (powers * _series().to(new)[count - 1]).sum(dim=1)
    return new.to(opacities), (old / total).to(opacities)


@cache
def _series() -> Tensor:
    """Coefficients [M, M] of the powers 1 to M of the new opacity, row n - 1 for n copies."""
    table = torch.zeros(MAX_COPIES, MAX_COPIES, dtype=torch.float64)
    for i in range(1, MAX_COPIES + 1):
        for k in range(i):
            table[i - 1, k] = math.comb(i - 1, k) * (-1.0) ** k / math.sqrt(k + 1)
    return table.cumsum(dim=0)
