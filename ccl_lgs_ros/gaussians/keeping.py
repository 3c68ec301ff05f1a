# SPDX-License-Identifier: Apache-2.0
"""Optimisation that leaves the number of Gaussians as it is."""

import torch
from torch import Tensor

from ccl_lgs_ros.protocols import Densified
from ccl_lgs_ros.structures import Gaussians


class NoDensifier:
    """Adds nothing and moves nothing: the seeds on the measured surfaces are what there is."""

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
        """The same Gaussians."""
        rows = torch.arange(len(gaussians), device=pull.device)
        return Densified(gaussians=gaussians, parent_of_gaussian=rows, is_fresh=rows < 0)
