# SPDX-License-Identifier: Apache-2.0
"""No compression: the control in which every feature is an entry."""

import torch
from torch import Tensor

from ccl_lgs_ros.codebook.seeding import usage
from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.structures import Codebook


class ExactFitter:
    """Every distinct feature is an entry of its own."""

    def fit(
        self,
        features: Tensor,
        track_of_feature: Tensor,
        weight: Tensor,
        start: Codebook | None,
        progress: Progress = no_progress,
    ) -> Codebook:
        """A codebook for features [B, D] with weights [B]; entries of `start` keep their places, new ones follow."""
        known = start.entries.to(features) if start is not None else features.new_zeros(0, features.shape[1])
        rows, inverse = torch.unique(torch.cat([known, features]), dim=0, return_inverse=True)
        is_new = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
        is_new[inverse[: len(known)]] = False
        entries = torch.cat([known, rows[is_new]])
        if len(features) == 0:
            return Codebook(entries=entries, weight=torch.zeros(len(entries)))
        return Codebook(entries=entries, weight=usage(features, weight, entries))
