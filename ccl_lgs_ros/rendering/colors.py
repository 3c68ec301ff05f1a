# SPDX-License-Identifier: Apache-2.0
"""What colour Gaussians show towards a camera, in torch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.rendering import harmonics
from ccl_lgs_ros.structures import Gaussians


def colors_towards(gaussians: Gaussians, world_from_camera: NDArray[np.float64]) -> Tensor:
    """Colours [N, 3] towards a camera at a pose, at least 0."""
    center = torch.as_tensor(np.asarray(world_from_camera)[:3, 3]).to(gaussians.means)
    x, y, z = normalize(gaussians.means - center, dim=1).unbind(dim=1)
    values = torch.stack(harmonics.basis(x, y, z)[: gaussians.sh.shape[1]], dim=1)
    return (0.5 + torch.einsum("ns,nsc->nc", values, gaussians.sh)).clamp(min=0.0)
