# SPDX-License-Identifier: Apache-2.0
"""The three losses of the contrastive codebook.

Source: CCL-LGS (Tian et al., 2025), contrastive codebook learning: L_max, L_pull and L_push. The paper sums over
features and pairs without saying how a sum is normalised; here each is the mean over what it applies to.
"""

import torch
from torch import Tensor

from ccl_lgs_ros.structures import NONE


def assignment_loss(features: Tensor, entries: Tensor, code: Tensor) -> Tensor:
    """L_max = 1 - cos(F_i, T_j*), the mean over features [B, D] of unit rows with their entries' codes [B].

    Args:
        entries: [K, D] unit prototypes; they receive the gradient, the choice of a code none.
    """
    return 1.0 - (features * entries.index_select(0, code)).sum(dim=1).mean()


def pull_loss(cosine: Tensor, pairs: Tensor) -> Tensor:
    """L_pull = 1 - cos(T_ji, T_jk), the mean over the pairs of one track; 0 if there is none.

    Args:
        cosine: [K, K] of the entries.
        pairs: [K, K] how many pairs have these two codes.
    """
    return ((1.0 - cosine) * pairs).sum() / pairs.sum().clamp_min(1.0)


def push_loss(cosine: Tensor, pairs: Tensor, margin: float) -> Tensor:
    """L_push = ReLU(cos(T_ji, T_jk) - m), the mean over the pairs of two tracks; 0 if there is none.

    Args:
        cosine: [K, K] of the entries.
        pairs: [K, K] how many pairs have these two codes.
        margin: m.
    """
    return ((cosine - margin).relu() * pairs).sum() / pairs.sum().clamp_min(1.0)


def pair_counts(code: Tensor, track: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many ordered pairs i != k of segments have codes (a, b) [K, K]: of one track, and of two tracks.

    Args:
        code: [B] 0 to size - 1.
        track: [B]; segments of no track (-1) form no pair.
        size: K.
    """
    is_tracked = track != NONE
    code = code[is_tracked]
    tracks, group = torch.unique(track[is_tracked], return_inverse=True)
    count = torch.bincount(group * size + code, minlength=len(tracks) * size).view(-1, size).float()
    of_code = count.sum(dim=0)
    within = count.T @ count
    return within - torch.diag(of_code), torch.outer(of_code, of_code) - within
