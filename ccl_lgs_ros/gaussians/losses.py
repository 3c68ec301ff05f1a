# SPDX-License-Identifier: Apache-2.0
"""How far a rendered view is from a keyframe, in colour, structure and depth."""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

SSIM_WINDOW = 11  # pixels; with the sigma below as Wang et al., 2004, and 3DGS have it
SSIM_SIGMA = 1.5  # pixels
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
DEPTH_SCALE = 0.05  # of the depth; where the depth loss turns from square to straight


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity [H, W] of two images [H, W, 3], 1 where equal.

    Source: Wang et al., 2004, eq. 13; window and constants as there.
    """
    a, b = first, second
    mean_a, mean_b, aa, bb, ab = blurred(torch.cat([a, b, a * a, b * b, a * b], dim=2)).split(3, dim=2)
    product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    above = (2 * product + SSIM_C1) * (2 * (ab - product) + SSIM_C2)
    below = (squares + SSIM_C1) * (aa + bb - squares + SSIM_C2)
    return (above / below).mean(dim=2)


def blurred(image: Tensor) -> Tensor:
    """Channels [H, W, C] under SSIM's Gaussian window, zeros beyond the rim."""
    return _Blur.apply(image)


def colour_loss(rendered: Tensor, image: Tensor, weight: Tensor, ssim_weight: float) -> Tensor:
    """(1 - w) L1 + w (1 - SSIM) / 2 of images [H, W, 3], mean over pixels of weight [H, W].

    Source: 3D Gaussian Splatting (Kerbl et al., 2023), eq. 7; the weight is ours.
    """
    total = weight.sum().clamp_min(1.0)
    loss = (1.0 - ssim_weight) * (((rendered - image).abs().mean(dim=2)) * weight).sum() / total
    if ssim_weight > 0:
        # What has no weight is made equal, so that it does not spoil its neighbours' windows.
        shown = torch.where(weight[..., None] > 0, rendered, image)
        loss = loss + ssim_weight * (0.5 * (1.0 - ssim(shown, image)) * weight).sum() / total
    return loss


def depth_loss(rendered: Tensor, alpha: Tensor, depth: Tensor) -> Tensor:
    """The relative error of depth [H, W] where the sensor (NaN: unknown) and the map both show a surface.

    Huber's, so that a depth edge that is a pixel off pulls no harder than it deserves.
    """
    is_known = torch.isfinite(depth) & (alpha.detach() > 0.5)
    safe = torch.where(is_known, depth, 1.0)  # NaN times a zero gradient would still be NaN
    error = torch.where(is_known, rendered - safe, 0.0) / safe
    total = functional.huber_loss(error, torch.zeros_like(error), delta=DEPTH_SCALE, reduction="sum")
    return total / (DEPTH_SCALE * is_known.sum().clamp_min(1))


class _Blur(torch.autograd.Function):
    """A symmetric window is its own adjoint; OpenCV applies it some ten times faster than torch on a CPU."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        return _windowed(image)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _windowed(grad)


def _windowed(image: Tensor) -> Tensor:
    kernel = _kernel()
    if image.device.type == "cpu":
        pixels = np.ascontiguousarray(image.detach().numpy())
        return torch.from_numpy(cv2.sepFilter2D(pixels, -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT))
    weights, c, pad = torch.from_numpy(kernel).to(image), image.shape[2], SSIM_WINDOW // 2
    channels = image.detach().permute(2, 0, 1)[None]
    across = functional.conv2d(channels, weights.view(1, 1, 1, -1).expand(c, 1, 1, -1), padding=(0, pad), groups=c)
    down = functional.conv2d(across, weights.view(1, 1, -1, 1).expand(c, 1, -1, 1), padding=(pad, 0), groups=c)
    return down[0].permute(1, 2, 0)


def _kernel() -> NDArray[np.float32]:
    offset = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    kernel = np.exp(-(offset**2) / (2.0 * SSIM_SIGMA**2))
    return (kernel / kernel.sum()).astype(np.float32)
