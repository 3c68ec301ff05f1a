# SPDX-License-Identifier: Apache-2.0
"""Codes in place of labels: views of codes, and labels for Gaussians whose codes were found without counting."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ccl_lgs_ros.labelling import LabelledView, LabelledViews, LevelLabels, painted
from ccl_lgs_ros.structures import NONE, VoteTable

CODES = " codes"  # ends the name of a label map that holds codes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodedViews:
    """Views whose pixels have, beside the label of each level, its code, as label maps "LEVEL codes"."""

    views: LabelledViews
    labels: Mapping[str, LevelLabels]

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int, /) -> LabelledView:
        view = self.views[index]
        codes = {name + CODES: painted(view.labels[name], level.code_of_label) for name, level in self.labels.items()}
        return replace(view, labels={**view.labels, **codes})


def labels_of_codes(code: Tensor, table: VoteTable, code_of_label: Tensor) -> Tensor:
    """The label [N] int32 of each Gaussian's code [N]: that label of the code which it saw most of.

    A Gaussian that saw no label of its code gets the label of the code that all Gaussians saw most of; -1 if there is
    none, or no code.

    Args:
        table: the votes for labels.
        code_of_label: [L].
    """
    code, code_of_label = code.to(table.track.device), code_of_label.to(table.track.device)
    if len(code_of_label) == 0:
        return torch.full_like(code, NONE, dtype=torch.int32)
    codes = torch.where(table.track == NONE, NONE, code_of_label[table.track.clamp_min(0).long()])
    is_same = (codes == code[:, None]) & (code != NONE)[:, None]
    own = table.track.gather(1, is_same.int().argmax(dim=1, keepdim=True))[:, 0]  # the first is the heaviest
    usual = _usual_labels(table, code_of_label)
    is_known = (code != NONE) & (code < len(usual))
    other = torch.where(is_known, usual[torch.where(is_known, code, 0).long()], NONE)
    return torch.where(is_same.any(dim=1), own.to(other.dtype), other).to(torch.int32)


def _usual_labels(table: VoteTable, code_of_label: Tensor) -> Tensor:
    """For each code [K] up to the last with a label, its label of most votes over all Gaussians; -1 none."""
    row, slot = torch.nonzero(table.track != NONE, as_tuple=True)
    label = table.track[row, slot].long()
    votes = torch.bincount(label, weights=table.weight[row, slot].double(), minlength=len(code_of_label))
    best = torch.full((int(code_of_label.max()) + 1,), NONE, dtype=torch.int64, device=code_of_label.device)
    order = votes.flip(0).argsort(stable=True)  # the heaviest last; of equal ones the first label last
    labels = torch.arange(len(code_of_label), device=code_of_label.device).flip(0)[order]
    rank = torch.full_like(best, NONE)
    rank.scatter_reduce_(0, code_of_label[labels], torch.arange(len(labels), device=labels.device), "amax")
    best[rank != NONE] = labels[rank[rank != NONE]]
    return best
