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

    What has no weight does not spoil its neighbours' windows: it counts as equal. Only `rendered` is differentiated.

    Source: 3D Gaussian Splatting (Kerbl et al., 2023), eq. 7; the weight is ours.
    """
    return _ColourLoss.apply(rendered, image, weight, ssim_weight)


def depth_loss(rendered: Tensor, alpha: Tensor, depth: Tensor) -> Tensor:
    """The relative error of depth [H, W] where the sensor (NaN: unknown) and the map both show a surface.

    Huber's, so that a depth edge that is a pixel off pulls no harder than it deserves.
    """
    is_known = torch.isfinite(depth) & (alpha.detach() > 0.5)
    safe = torch.where(is_known, depth, 1.0)  # NaN times a zero gradient would still be NaN
    error = torch.where(is_known, rendered - safe, 0.0) / safe
    total = functional.huber_loss(error, torch.zeros_like(error), delta=DEPTH_SCALE, reduction="sum")
    return total / (DEPTH_SCALE * is_known.sum().clamp_min(1))


class _ColourLoss(torch.autograd.Function):
    """The loss with its gradient at once, at a third of the time that differentiating it step by step takes."""

    @staticmethod
    def forward(ctx: Any, rendered: Tensor, image: Tensor, weight: Tensor, ssim_weight: float) -> Tensor:
        total = weight.sum().clamp_min(1.0)
        share = (weight / total)[..., None].expand(rendered.shape).contiguous()  # strides of 0 are slow
        difference = rendered.detach() - image
        loss = (1.0 - ssim_weight) / 3.0 * (difference.abs() * share).sum()
        gradient = difference.sign_().mul_(share).mul_((1.0 - ssim_weight) / 3.0)
        if ssim_weight > 0:
            is_weighed = share > 0
            shown = torch.where(is_weighed, rendered.detach(), image)
            similarity, slopes = _ssim_and_slopes(shown, image, share)
            loss = loss + 0.5 * ssim_weight * (share.sum() / 3.0 - similarity)
            gradient.sub_(slopes.mul_(is_weighed), alpha=0.5 * ssim_weight)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.saved_tensors[0] * grad, None, None, None


def _ssim_and_slopes(a: Tensor, b: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM of images [H, W, 3] summed over pixels of weight [H, W, 3] / 3, and its gradient [H, W, 3] by `a`."""
    mean_a, mean_b, aa, bb, ab = (_windowed(each) for each in (a, b, a * a, b * b, a * b))
    product, squares = mean_a * mean_b, (mean_a * mean_a).addcmul_(mean_b, mean_b)
    second = ab.sub_(product).mul_(2.0).add_(SSIM_C2)
    fourth = aa.add_(bb).sub_(squares).add_(SSIM_C2)
    first, third = product.mul_(2.0).add_(SSIM_C1), squares.add_(SSIM_C1)
    scale = share / (third * fourth).mul_(3.0)
    weighted = first * second * scale  # SSIM, times its weight
    by_ab = (first * scale).mul_(2.0)
    by_aa = (weighted / fourth).neg_()
    inner = (weighted / third).add_(by_aa).mul_(mean_a)
    by_mean = second.sub_(first).mul_(scale).mul_(mean_b).sub_(inner).mul_(2.0)
    slopes = _windowed(by_mean).addcmul_(a, _windowed(by_aa), value=2.0).addcmul_(b, _windowed(by_ab))
    return weighted.sum(), slopes


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
