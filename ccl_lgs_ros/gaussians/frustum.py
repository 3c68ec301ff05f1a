# SPDX-License-Identifier: Apache-2.0
"""Which Gaussians a camera may see, found without drawing them."""

import math

import torch
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe

MAX_SIGMAS = 3.5  # a rasterizer draws a Gaussian no farther out than this
SLACK_PX = 3.0  # pixels; rasterizers widen what is thinner than a pixel
MARGIN = 1.3  # of the half field of view; where rasterizers stop linearising the projection


def rows_in_view(means: Tensor, log_scales: Tensor, keyframe: Keyframe) -> Tensor:
    """Indices [V] of the Gaussians that may reach the image: all that do, and some beside it.

    Args:
        means: [N, 3] metres, world.
        log_scales: [N, 3].
    """
    camera = keyframe.camera
    pose = torch.as_tensor(keyframe.camera_from_world).to(means)
    x, y, z = (means @ pose[:3, :3].T + pose[:3, 3]).unbind(1)
    side = MARGIN * max(camera.cx, camera.width - camera.cx) / camera.fx
    rise = MARGIN * max(camera.cy, camera.height - camera.cy) / camera.fy
    widening = MAX_SIGMAS * math.sqrt(1.0 + side * side + rise * rise) * max(camera.fx, camera.fy)
    radius = SLACK_PX * z + widening * log_scales.max(dim=1).values.exp()  # pixels times depth
    u, v = camera.fx * x + camera.cx * z, camera.fy * y + camera.cy * z
    is_beside = (u < -radius) | (u > camera.width * z + radius) | (v < -radius) | (v > camera.height * z + radius)
    return torch.nonzero((z > 0) & ~is_beside)[:, 0]
