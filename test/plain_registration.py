# SPDX-License-Identifier: Apache-2.0
"""The vote table in plain torch: what the compiled one is held to, and a dense one that forgets nothing."""

import torch
from torch import Tensor

from ccl_lgs_ros.structures import NONE, Votes, VoteTable


def accumulated_plainly(table: VoteTable, votes: Votes) -> VoteTable:
    """The table with one keyframe's votes added."""
    visibility = table.visibility.clone()
    visibility[: len(votes.visibility)] += votes.visibility
    track, weight, lost = table.track.clone(), table.weight.clone(), table.lost.clone()
    has_room = _add_to_known(track, weight, votes)
    touched, place = torch.unique_consecutive(votes.gaussian, return_inverse=True)
    if len(touched):
        rows = _heaviest(track[touched], weight[touched], place[has_room], votes, has_room)
        weight[touched] = (rows[1] - rows[2][:, None]).clamp_min(0)
        track[touched] = torch.where(weight[touched] > 0, rows[0], NONE)
        lost[touched] += rows[2]
    return VoteTable(track=track, weight=weight, lost=lost, visibility=visibility)


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
