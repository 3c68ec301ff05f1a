# SPDX-License-Identifier: Apache-2.0
"""Spherical k-means: the control that knows no tracks."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.codebook.seeding import Distinct, distinct, plus_plus, revived, usage
from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.structures import Codebook

MAX_ROUNDS = 100  # of Lloyd's iteration; it ends by itself after some tens


class KMeansFitter:
    """Entries are the mean directions of the features nearest to them.

    Args:
        size: entries K at most; no more than there are distinct features.
        seed: of the draw of the first entries.

    Source: Dhillon and Modha, 2001, spherical k-means; begun as k-means++ (Arthur and Vassilvitskii, 2007).
    """

    def __init__(self, *, size: int, seed: int) -> None:
        self.size, self.seed = size, seed

    def fit(
        self,
        features: Tensor,
        track_of_feature: Tensor,
        weight: Tensor,
        start: Codebook | None,
        progress: Progress = no_progress,
    ) -> Codebook:
        """A codebook for features [B, D] with weights [B]; tracks [B] play no part, entries of `start` begin it."""
        known = start if start is not None else Codebook.empty(features.shape[1])
        if len(features) == 0:
            return Codebook(entries=known.entries, weight=torch.zeros(len(known)))
        data = distinct(features, weight)
        generator = torch.Generator().manual_seed(self.seed)
        entries = _settled(data, plus_plus(data, known.entries, self.size, generator), progress)
        return Codebook(entries=entries, weight=usage(features, weight, entries))


def _settled(data: Distinct, entries: Tensor, progress: Progress) -> Tensor:
    """Entries [K, D] after Lloyd's iteration has converged."""
    code = None
    for done in range(MAX_ROUNDS):
        progress("codebook", done, MAX_ROUNDS)
        _, entries = revived(data.features, entries)
        before, code = code, (data.features @ entries.T).argmax(dim=1)
        if before is not None and torch.equal(before, code):
            break
        sums = torch.zeros(entries.shape, dtype=torch.float64, device=entries.device)
        sums.index_add_(0, code, data.features.double() * data.weight[:, None])
        length = sums.norm(dim=1, keepdim=True)
        entries = torch.where(length > 0, normalize(sums, dim=1), entries.double()).to(entries.dtype)
    return entries
