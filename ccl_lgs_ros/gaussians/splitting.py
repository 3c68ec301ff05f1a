# SPDX-License-Identifier: Apache-2.0
"""Densification by thresholds: what the images pull hard is cloned or split, what shows nothing is dropped."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from ccl_lgs_ros.protocols import Densified
from ccl_lgs_ros.structures import Gaussians

MAX_PULL = 2e-4  # per half image; 3DGS's threshold
LARGE = 0.01  # of the extent; larger Gaussians are split, smaller ones cloned; 3DGS's
MIN_OPACITY = 0.005  # 3DGS's
SHRINK = 1.6  # of the parts of a split Gaussian; 3DGS's


class SplittingDensifier:
    """Clones small Gaussians and splits large ones where the pull is above 3DGS's threshold, the strongest first.

    Differs from 3DGS: the limit on the number holds, and opacities are never reset, from which a short optimisation
    would not recover.

    Source: 3D Gaussian Splatting (Kerbl et al., 2023), section 5.2.
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
        """Faint Gaussians dropped, then those that are pulled hardest cloned or split while the limit allows."""
        kept = torch.nonzero(gaussians.opacities > MIN_OPACITY)[:, 0]
        pull, scales = torch.where(views > 0, pull, 0.0)[kept], gaussians.scales[kept]
        order = pull.argsort(descending=True, stable=True)
        num_more = min(int((pull > MAX_PULL).sum()), limit - len(kept))
        chosen = order[: max(num_more, 0)]
        is_split = torch.zeros_like(pull, dtype=torch.bool)
        is_split[chosen] = scales[chosen].max(dim=1).values > LARGE * extent
        parent = torch.cat([kept, kept[chosen]])
        is_part = torch.cat([is_split, is_split[chosen]])
        is_fresh = is_part.clone()
        is_fresh[len(kept) :] = True
        return Densified(
            gaussians=_split(gaussians.select(parent), is_part, generator), parent_of_gaussian=parent, is_fresh=is_fresh
        )


def _split(gaussians: Gaussians, is_part: Tensor, generator: torch.Generator) -> Gaussians:
    """The parts of split Gaussians drawn from what they were, and smaller; the others unchanged."""
    noise = torch.randn(len(gaussians), 3, generator=generator).to(gaussians.means) * gaussians.scales
    moved = gaussians.means + rotated(gaussians.quats, noise)
    return Gaussians(
        means=torch.where(is_part[:, None], moved, gaussians.means),
        quats=gaussians.quats,
        log_scales=gaussians.log_scales - torch.where(is_part[:, None], math.log(SHRINK), 0.0),
        logit_opacities=gaussians.logit_opacities,
        sh=gaussians.sh,
    )


def rotated(quats: Tensor, vectors: Tensor) -> Tensor:
    """Vectors [N, 3] turned by quaternions [N, 4] wxyz of any length."""
    unit = functional.normalize(quats, dim=1)
    w, axis = unit[:, :1], unit[:, 1:]
    twice = 2.0 * torch.linalg.cross(axis, vectors)
    return vectors + w * twice + torch.linalg.cross(axis, twice)
