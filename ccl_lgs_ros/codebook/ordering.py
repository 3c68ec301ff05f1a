# SPDX-License-Identifier: Apache-2.0
"""Features in an order of their own, so that the order in which keyframes came changes nothing."""

import numpy as np
import torch
from torch import Tensor

COMPARED = 16  # numbers of a feature that are compared; features equal in all of them are equal in practice


def own_order(features: Tensor, track: Tensor, weight: Tensor) -> Tensor:
    """The order [B] of features [B, D] by track [B], then by their first numbers, then by weight [B]."""
    first = features[:, :COMPARED].T.flip(0).cpu().numpy()
    columns = [weight.cpu().numpy(), *first, track.cpu().numpy()]
    return torch.as_tensor(np.lexsort(columns), dtype=torch.int64, device=features.device)
