# SPDX-License-Identifier: Apache-2.0
"""A codebook that grows: vectors near an entry join it, others become entries."""

import numpy as np
import torch
from torch import Tensor

from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.structures import NONE, Codebook


class OnlineFitter:
    """Appends entries as things are seen that no entry stands for.

    The heaviest vector that no entry is near enough to becomes the next entry, and takes all vectors near it with it.
    So every vector has an entry of cosine `merge_cosine` or more, no two entries made here are nearer to each other
    than that, and the order in which vectors are given does not matter.

    Args:
        merge_cosine: cosine from which two vectors are one entry.
    """

    def __init__(self, *, merge_cosine: float) -> None:
        self.merge_cosine = merge_cosine

    def fit(
        self,
        features: Tensor,
        track_of_feature: Tensor,
        weight: Tensor,
        start: Codebook | None,
        progress: Progress = no_progress,
    ) -> Codebook:
        """A codebook for features [B, D] with weights [B]; tracks [B] play no part.

        Entries of `start` keep their places and directions, so codes keep their meaning; new entries follow. The
        weights are those of the features given now: an entry of `start` that none of them uses is dead (weight 0).
        """
        known = start if start is not None and len(start) else Codebook.empty(features.shape[1])
        entries = torch.cat([known.entries.to(features), self._grown(features, weight, known)])
        codebook = Codebook(entries=entries, weight=torch.zeros(len(entries), device=features.device))
        code = codebook.assign(features)
        if len(code) == 0:
            return codebook
        total = torch.bincount(code, weights=weight.double(), minlength=len(entries))
        return Codebook(entries=entries, weight=total.float())

    def _grown(self, features: Tensor, weight: Tensor, known: Codebook) -> Tensor:
        """The entries [L, D] that the features need besides those known."""
        # Equally heavy vectors are taken in the order of their numbers, never of their places.
        columns = [*features.T.flip(0).cpu().numpy(), -weight.cpu().numpy()]
        waiting = features[torch.as_tensor(np.lexsort(columns), dtype=torch.int64, device=features.device)]
        if len(known) and len(waiting):
            waiting = waiting[(waiting @ known.entries.to(features).T).amax(dim=1) < self.merge_cosine]
        entries = []
        while len(waiting):
            entries.append(waiting[0])
            is_far = waiting @ waiting[0] < self.merge_cosine
            is_far[0] = False
            waiting = waiting[is_far]
        return torch.stack(entries) if entries else features.new_zeros(0, features.shape[1])


def decoded(codebook: Codebook, code: Tensor) -> Tensor:
    """The entries [B, D] of codes [B]; zeros for -1."""
    rows = torch.zeros(len(code), codebook.entries.shape[1], device=codebook.entries.device)
    rows[code != NONE] = codebook.entries[code[code != NONE]]
    return rows
