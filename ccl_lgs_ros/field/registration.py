# SPDX-License-Identifier: Apache-2.0
"""Registration: labels voted onto Gaussians with rendering weights. No training, and exact to do again."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.labelling import LabelledViews, LevelLabels, Lifting
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer, no_progress
from ccl_lgs_ros.structures import NONE, Gaussians, Votes, VoteTable

FULL_CONFIDENCE = 255


class RegistrationLifter:
    """Keeps the heaviest tracks of each Gaussian and names the winner.

    For every Gaussian and track the true sum of votes lies between the weight in the table (0 where the track is not
    in the row) and that weight plus `lost`.

    Args:
        slots: tracks that a Gaussian's working votes hold.
        min_confidence: share of a Gaussian's votes under which it has no track.
        min_labelled: share of what was seen of a Gaussian that must have been voted on, or it has no track.
        min_visibility: rendering weight, in pixels, under which a Gaussian has no vote in a view: what shines through
            from behind is no evidence.

    Source: voting with rendering weights as in Dr. Splat (Jun-Seong et al., 2025); the gate on visibility is that of
    VALA (2025) in spirit; the bounded counters follow Misra and Gries (1982).
    """

    def __init__(self, *, slots: int, min_confidence: float, min_labelled: float, min_visibility: float = 0.0) -> None:
        self.slots = slots
        self.min_visibility = min_visibility
        self.min_confidence = min_confidence
        self.min_labelled = min_labelled

    def accumulate(self, table: VoteTable, votes: Votes) -> VoteTable:
        """The table with one keyframe's votes, whose labels are tracks, added."""
        votes = _clear(votes, self.min_visibility)
        visibility = table.visibility.clone()
        visibility[: len(votes.visibility)] += votes.visibility
        track, weight, lost = table.track.clone(), table.weight.clone(), table.lost.clone()
        has_room = _add_to_known(track, weight, votes)
        touched, place = torch.unique_consecutive(votes.gaussian, return_inverse=True)
        if len(touched):
            rows = _heaviest(track[touched], weight[touched], place[has_room], votes, has_room)
            track[touched], weight[touched] = rows[0], rows[1]
            lost[touched] += rows[2]
        return VoteTable(track=track, weight=weight, lost=lost, visibility=visibility)

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
        is_same = (codes[:, :, None] == codes[:, None, :]) & (codes != NONE)[:, None, :]
        weight_of_code = (is_same * table.weight[:, None, :]).sum(dim=2)  # [N, S]
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
            camera, pose = view.keyframe.camera, view.keyframe.world_from_camera
            for name in tables:
                votes = rasterizer.vote(gaussians, camera, pose, view.labels[name])
                tables[name] = self.accumulate(tables[name], votes)
            progress("register", index + 1, len(views))
        return tables

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


def _add_to_known(track: Tensor, weight: Tensor, votes: Votes) -> Tensor:
    """Adds votes for tracks that their Gaussian's row holds, in place; says which votes [E] found no place."""
    is_same = track[votes.gaussian] == votes.label[:, None]
    vote, slot = torch.nonzero(is_same, as_tuple=True)  # pairs are unique, so no two votes meet in one place
    weight[votes.gaussian[vote], slot] += votes.weight[vote]
    return ~is_same.any(dim=1)


def _heaviest(
    track: Tensor, weight: Tensor, row_of_vote: Tensor, votes: Votes, which: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows [U, S] with further votes put in, heaviest first; and per row the largest weight that fell off."""
    num_rows, slots = track.shape
    held_row, held_slot = torch.nonzero(track != NONE, as_tuple=True)
    row = torch.cat([held_row, row_of_vote])
    name = torch.cat([track[held_row, held_slot], votes.label[which].to(track.dtype)])
    value = torch.cat([weight[held_row, held_slot], votes.weight[which]])
    order = value.argsort(descending=True, stable=True)
    order = order[row[order].argsort(stable=True)]
    row, name, value = row[order], name[order], value[order]
    begin = torch.searchsorted(row, torch.arange(num_rows, device=row.device))
    rank = torch.arange(len(row), device=row.device) - begin[row]
    is_kept = rank < slots
    new_track = torch.full_like(track, NONE)
    new_weight = torch.zeros_like(weight)
    new_track[row[is_kept], rank[is_kept]] = name[is_kept]
    new_weight[row[is_kept], rank[is_kept]] = value[is_kept]
    fallen = torch.zeros(num_rows, dtype=weight.dtype, device=weight.device)
    is_next = rank == slots
    fallen[row[is_next]] = value[is_next]
    return new_track, new_weight, fallen
