# SPDX-License-Identifier: Apache-2.0
"""The losses of an instance field: features that agree within each mask, differ between masks, and bear quantising.

Masks are those of one view; nothing says which masks of two views show the same thing.
"""

import torch
from torch import Tensor


def mask_means(features: Tensor, mask: Tensor, count: int) -> Tensor:
    """The mean feature [m, C] of each mask, from pixels [P, C] that lie in masks [P], 0 to count - 1."""
    sums = features.new_zeros(count, features.shape[1]).index_add(0, mask, features)
    return sums / _sizes(mask, count, features).clamp_min(1.0)[:, None]


def smoothing_loss(features: Tensor, mask: Tensor, means: Tensor) -> Tensor:
    """The squared distance of the pixels [P, C] to the mean [m, C] of the mask [P] that each lies in.

    A mean over the pixels of each mask, then over masks; the paper sums, so that large masks and images weigh more.

    Source: OpenGaussian (Wu et al., 2024), eq. 1, intra-mask smoothing loss.
    """
    squared = (features - means[mask]).square().sum(dim=1)
    sizes = _sizes(mask, len(means), features)
    sums = features.new_zeros(len(means)).index_add(0, mask, squared)
    return (sums / sizes.clamp_min(1.0)).sum() / max(len(means), 1)


def contrastive_loss(means: Tensor, softening: float = 0.0) -> Tensor:
    """The inverse squared distance of the means [m, C] of two masks, a mean over all m (m - 1) ordered pairs.

    Args:
        softening: added to each squared distance; above 0 it bounds what masks of equal means cost.

    Source: OpenGaussian (Wu et al., 2024), eq. 2, inter-mask contrastive loss.
    """
    count = len(means)
    if count < 2:
        return means.sum() * 0.0
    first, second = torch.triu_indices(count, count, offset=1, device=means.device)
    squared = (means[first] - means[second]).square().sum(dim=1)
    return 2.0 * (1.0 / (squared + softening)).sum() / (count * (count - 1))


def pseudo_feature_loss(continuous: Tensor, quantised: Tensor) -> Tensor:
    """The mean absolute difference of two renderings [P, C], of features as they were learnt and of their codes.

    Source: OpenGaussian (Wu et al., 2024), the loss that trains its codebooks.
    """
    return (continuous - quantised).abs().mean() if continuous.numel() else quantised.sum() * 0.0


def _sizes(mask: Tensor, count: int, like: Tensor) -> Tensor:
    return torch.bincount(mask, minlength=count).to(like)
