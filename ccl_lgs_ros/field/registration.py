# SPDX-License-Identifier: Apache-2.0
"""Registration: labels voted onto Gaussians with rendering weights. No training, and exact to do again."""

from collections.abc import Iterable, Mapping
from dataclasses import fields

import torch
from torch import Tensor

from ccl_lgs_ros.field.counters import count_votes
from ccl_lgs_ros.field.joint_votes import joint_votes
from ccl_lgs_ros.labelling import LabelledViews, LevelLabels, Lifting
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer, no_progress
from ccl_lgs_ros.structures import NONE, Gaussians, Votes, VoteTable

FULL_CONFIDENCE = 255


class RegistrationLifter:
    """Keeps the heaviest tracks of each Gaussian and names the winner.

    Memory is that of the slots, whatever the number of tracks. For every Gaussian and track the true sum of votes
    lies between the weight in the table (0 where the track is not in the row) and that weight plus `lost`, and `lost`
    is at most 1 / (slots + 1) of all votes of the Gaussian. So a track with more than that share is in the row, and
    where the first is ahead of the second by more than `lost` it has the most votes.

    Args:
        slots: tracks that a Gaussian's working votes hold.
        min_confidence: share of a Gaussian's votes under which it has no track.
        min_labelled: share of what was seen of a Gaussian that must have been voted on, or it has no track.
        min_visibility: rendering weight, in pixels, under which a Gaussian has no vote in a view: what shines through
            from behind is no evidence.

    Source: voting with rendering weights as in Dr. Splat (Jun-Seong et al., 2025); the gate on visibility is that of
    VALA (2025) in spirit; the bounded counters are those of Misra and Gries (1982).
    """

    def __init__(self, *, slots: int, min_confidence: float, min_labelled: float, min_visibility: float = 0.0) -> None:
        self.slots = slots
        self.min_visibility = min_visibility
        self.min_confidence = min_confidence
        self.min_labelled = min_labelled

    def accumulate(self, table: VoteTable, votes: Votes) -> VoteTable:
        """The table with one keyframe's votes, whose labels are tracks, added. Tables and votes lie on the CPU.

        Copying the table is the only work that its length costs; of the rest, rows without votes see nothing.
        """
        table = VoteTable(**{field.name: getattr(table, field.name).clone() for field in fields(table)})
        self._add(table, votes)
        return table

    def resolve(self, table: VoteTable) -> tuple[Tensor, Tensor]:
        """Per Gaussian the track [N] int32 (-1 none) and its confidence [N] uint8, 0 where there is none."""
        labelled = table.weight.sum(dim=1) + table.lost
        return self._sure(table, table.track[:, 0], table.weight[:, 0], labelled)

    def resolve_coded(self, table: VoteTable, code_of_label: Tensor) -> tuple[Tensor, Tensor]:
        """As `resolve`, for votes on labels [L] of which several may share a code: the code must win, then the
        heaviest label of that code answers for it. The confidence is the code's."""
        if len(code_of_label) == 0:
            return self.resolve(table)
        codes = torch.where(table.track == NONE, NONE, code_of_label[table.track.clamp_min(0).long()])
        weight_of_code = torch.empty_like(table.weight)
        for slot in range(codes.shape[1]):  # one after another: all pairs at once would take S times the table
            is_same = (codes == codes[:, slot, None]) & (codes != NONE)
            weight_of_code[:, slot] = (is_same * table.weight).sum(dim=1)
        first = weight_of_code.argmax(dim=1, keepdim=True)  # of equal weights the first, which is the heaviest label
        label, weight = table.track.gather(1, first)[:, 0], weight_of_code.gather(1, first)[:, 0]
        return self._sure(table, label, weight, table.weight.sum(dim=1) + table.lost)

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
        """The labels of all views voted onto the Gaussians; nothing is random, and nothing long enough to be kept."""
        tables = self.tables(gaussians, views, labels, rasterizer, progress)
        resolved = {name: self.resolve_coded(tables[name], level.code_of_label) for name, level in labels.items()}
        return Lifting(
            gaussians=gaussians,
            label_of_gaussian={name: label for name, (label, _) in resolved.items()},
            confidence={name: confidence for name, (_, confidence) in resolved.items()},
        )

    def tables(
        self,
        gaussians: Gaussians,
        views: LabelledViews,
        levels: Iterable[str],
        rasterizer: Rasterizer,
        progress: Progress = no_progress,
    ) -> dict[str, VoteTable]:
        """The votes of all views for their labels, by level."""
        tables = {name: VoteTable.empty(len(gaussians), self.slots) for name in levels}
        for index in range(len(views)):
            view = views[index]
            seen_from = view.keyframe.camera, view.keyframe.world_from_camera
            labels = {name: view.labels[name] for name in tables}
            for name, votes in joint_votes(rasterizer, gaussians, *seen_from, labels, view.keyframe.outdated).items():
                self._add(tables[name], votes)
            progress("register", index + 1, len(views))
        return tables

    def _add(self, table: VoteTable, votes: Votes) -> None:
        """Add one keyframe's votes to a table that nobody else holds."""
        votes = _clear(votes, self.min_visibility)
        table.visibility[: len(votes.visibility)] += votes.visibility
        rows = (table.track, table.weight, table.lost, votes.gaussian, votes.label, votes.weight.float())
        count_votes(*(column.numpy() for column in rows))

    def _sure(self, table: VoteTable, winner: Tensor, weight: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
        share = weight / labelled.clamp_min(torch.finfo(labelled.dtype).tiny)
        is_sure = (winner != NONE) & (share >= self.min_confidence)
        is_sure &= labelled >= self.min_labelled * table.visibility
        confidence = (share.clamp(0.0, 1.0) * FULL_CONFIDENCE).round().clamp_min(1)
        return torch.where(is_sure, winner, NONE), torch.where(is_sure, confidence, 0.0).to(torch.uint8)


def _clear(votes: Votes, min_visibility: float) -> Votes:
    """The votes of the Gaussians that a view shows clearly enough; the others were not seen in it."""
    if min_visibility <= 0:
        return votes
    is_clear = votes.visibility >= min_visibility
    kept = is_clear[votes.gaussian]
    return Votes(
        gaussian=votes.gaussian[kept],
        label=votes.label[kept],
        weight=votes.weight[kept],
        visibility=torch.where(is_clear, votes.visibility, 0.0),
    )
