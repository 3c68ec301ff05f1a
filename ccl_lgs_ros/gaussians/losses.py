# SPDX-License-Identifier: Apache-2.0
"""How far a rendered view is from a keyframe, in colour, structure and depth."""

import torch
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
    a, b = first.permute(2, 0, 1), second.permute(2, 0, 1)
    mean_a, mean_b, aa, bb, ab = _blurred(torch.cat([a, b, a * a, b * b, a * b])).split(3)
    var_a, var_b, covariance = aa - mean_a * mean_a, bb - mean_b * mean_b, ab - mean_a * mean_b
    above = (2 * mean_a * mean_b + SSIM_C1) * (2 * covariance + SSIM_C2)
    below = (mean_a * mean_a + mean_b * mean_b + SSIM_C1) * (var_a + var_b + SSIM_C2)
    return (above / below).mean(dim=0)


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
    if not is_known.any():
        return rendered.sum() * 0.0
    error = (rendered[is_known] - depth[is_known]) / depth[is_known]
    return functional.huber_loss(error, torch.zeros_like(error), delta=DEPTH_SCALE) / DEPTH_SCALE


def _blurred(image: Tensor) -> Tensor:
    """Channels [C, H, W] under a Gaussian window."""
    offset = torch.arange(SSIM_WINDOW, device=image.device, dtype=image.dtype) - SSIM_WINDOW // 2
    kernel = torch.exp(-(offset**2) / (2.0 * SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()
    c, pad = image.shape[0], SSIM_WINDOW // 2
    rows = kernel.view(1, 1, 1, -1).expand(c, 1, 1, -1)
    columns = kernel.view(1, 1, -1, 1).expand(c, 1, -1, 1)
    across = functional.conv2d(image[None], rows, padding=(0, pad), groups=c)
    return functional.conv2d(across, columns, padding=(pad, 0), groups=c)[0]
