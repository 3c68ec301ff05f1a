# SPDX-License-Identifier: Apache-2.0
"""The control that averages language over views instead of voting."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.field.coded import labels_of_codes
from ccl_lgs_ros.field.registration import FULL_CONFIDENCE, RegistrationLifter
from ccl_lgs_ros.labelling import LabelledViews, LevelLabels, Lifting
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, VoteTable

AVERAGED_AT_ONCE = 16384  # Gaussians; bounds memory


class WeightedMeanLifter:
    """Gives a Gaussian the entry nearest to the mean of its labels' entries, weighted by what it showed of each.

    Its confidence is the cosine of the two; only what was hardly labelled is left out.

    Args:
        slots: labels that a Gaussian's working votes hold.
        min_labelled: share of what was seen of a Gaussian that must carry votes, or it has no label.

    Source: Occam's LGS (Cheng et al., 2025), which averages the features themselves; here those of the codebook, so
    that the lifters differ in nothing else.
    """

    def __init__(self, *, slots: int, min_labelled: float) -> None:
        self._registration = RegistrationLifter(slots=slots, min_confidence=0.0, min_labelled=min_labelled)

    def lift(
        self,
        gaussians: Gaussians,
        views: LabelledViews,
        labels: Mapping[str, LevelLabels],
        rasterizer: Rasterizer,
        *,
        generator: torch.Generator,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Lifting:
        """The label of each Gaussian at every level; nothing is random, and nothing long enough to be kept."""
        tables = self._registration.tables(gaussians, views, labels, rasterizer, progress)
        found, confidence = {}, {}
        for name, level in labels.items():
            table = tables[name]
            is_labelled = self._registration.resolve(table)[0] != NONE
            code, cosine = nearest_to_mean(table, level.code_of_label, level.codebook)
            found[name] = labels_of_codes(torch.where(is_labelled, code, NONE), table, level.code_of_label)
            share = (cosine.clamp(0.0, 1.0) * FULL_CONFIDENCE).round().clamp_min(1)
            confidence[name] = torch.where(found[name] == NONE, 0.0, share).to(torch.uint8)
        return Lifting(gaussians=gaussians, label_of_gaussian=found, confidence=confidence)


def nearest_to_mean(table: VoteTable, code_of_label: Tensor, codebook: Codebook) -> tuple[Tensor, Tensor]:
    """The entry [N] nearest to the mean of the entries that each Gaussian's votes are for, and its cosine [N].

    -1 and 0 where there is no vote. Entries without a label are no answer.
    """
    if len(code_of_label) == 0:
        return torch.full((len(table.lost),), NONE), torch.zeros(len(table.lost))
    cosine = (codebook.entries @ codebook.entries.T).to(table.weight)
    code_of_label = code_of_label.to(table.track.device)
    is_used = torch.bincount(code_of_label, minlength=len(codebook)) > 0
    codes, cosines = [], []
    for track, weight in zip(table.track.split(AVERAGED_AT_ONCE), table.weight.split(AVERAGED_AT_ONCE), strict=True):
        of_code = torch.zeros(len(track), len(codebook), device=weight.device)
        of_code.scatter_add_(1, code_of_label[track.clamp_min(0).long()], torch.where(track == NONE, 0.0, weight))
        toward = of_code @ cosine  # the mean times each entry, but for the length of the mean
        length = (of_code * toward).sum(dim=1).clamp_min(0.0).sqrt()
        best = toward.masked_fill(~is_used, -torch.inf).max(dim=1)
        is_any = length > 0
        codes.append(torch.where(is_any, best.indices, NONE))
        cosines.append(torch.where(is_any, best.values / length.clamp_min(torch.finfo(length.dtype).tiny), 0.0))
    return torch.cat(codes), torch.cat(cosines)
