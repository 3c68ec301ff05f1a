# SPDX-License-Identifier: Apache-2.0
"""Structural similarity of two images, differentiable."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

WINDOW = 11  # pixels; this and the constants below are those of Wang et al., 2004
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2


def structural_similarity(image: Tensor, other: Tensor) -> Tensor:
    """The mean SSIM of two images [H, W, 3] in [0, 1]. Source: Wang et al., 2004, eq. 13."""
    x, y = (t.permute(2, 0, 1)[None] for t in (image, other))
    blurred = _blur(torch.cat([x, y, x * x, y * y, x * y], dim=1))
    mean_x, mean_y, square_x, square_y, product = blurred.chunk(5, dim=1)
    variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
    covariance = product - mean_x * mean_y
    return (
        ((2 * mean_x * mean_y + C1) * (2 * covariance + C2))
        / ((mean_x**2 + mean_y**2 + C1) * (variance_x + variance_y + C2))
    ).mean()


def _blur(images: Tensor) -> Tensor:
    channels = images.shape[1]
    offsets = torch.arange(WINDOW, device=images.device, dtype=images.dtype) - WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(channels, 1, 1, WINDOW)
    rows = conv2d(images, kernel, padding=(0, WINDOW // 2), groups=channels)
    return conv2d(rows, kernel.transpose(2, 3), padding=(WINDOW // 2, 0), groups=channels)
