# SPDX-License-Identifier: Apache-2.0
"""The votes of several label maps of one view for the price of one: a pixel votes for its pair of labels.

Segments of one level mostly lie within those of the other, so there are hardly more pairs than labels.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians, Votes

MAX_SPAN = 1 << 22  # labels up to here are numbered with a table, higher ones by sorting


def joint_votes(
    rasterizer: Rasterizer,
    gaussians: Gaussians,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
    labels: Mapping[str, Tensor],
    outdated: NDArray[np.bool_] | None = None,
    most: int = 0,
) -> dict[str, Votes]:
    """What `rasterizer.vote` says of each label map [H, W] int32, -1 none, from one pass over the view.

    The sums are added in another order, so they may differ in the last digits.

    Args:
        outdated: pixels [H, W] that are as if they had not been seen at all: no votes, and no visibility.
        most: Gaussians that count in a pixel, the heaviest; 0 = all.
    """
    if outdated is not None:
        return _without(outdated, rasterizer, gaussians, camera, world_from_camera, labels, most)
    if len(labels) < 2:
        seen_from = gaussians, camera, world_from_camera
        return {name: rasterizer.vote(*seen_from, found, most=most) for name, found in labels.items()}
    joint, label_of_pair = _paired([found.cpu().long().numpy() for found in labels.values()])
    votes = rasterizer.vote(gaussians, camera, world_from_camera, torch.from_numpy(joint), most=most)
    return {name: marginal(votes, column) for name, column in zip(labels, label_of_pair, strict=True)}


def _without(
    outdated: NDArray[np.bool_],
    rasterizer: Rasterizer,
    gaussians: Gaussians,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
    labels: Mapping[str, Tensor],
    most: int,
) -> dict[str, Votes]:
    """The votes of all other pixels: those that are outdated get a label of their own, which is taken away again."""
    own = {name: int(found.max()) + 1 for name, found in labels.items()}
    mask = torch.from_numpy(outdated)
    marked = {name: torch.where(mask, own[name], found.cpu()).to(torch.int32) for name, found in labels.items()}
    voted = joint_votes(rasterizer, gaussians, camera, world_from_camera, marked, most=most)
    return {name: _taken_away(votes, own[name]) for name, votes in voted.items()}


def _taken_away(votes: Votes, label: int) -> Votes:
    kept = votes.label != label
    unseen = torch.zeros_like(votes.visibility).index_add_(
        0, votes.gaussian[~kept], votes.weight[~kept].to(votes.visibility.dtype)
    )
    return Votes(
        gaussian=votes.gaussian[kept],
        label=votes.label[kept],
        weight=votes.weight[kept],
        visibility=(votes.visibility - unseen).clamp_min(0.0),
    )


def _paired(maps: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int32], list[NDArray[np.int64]]]:
    """A map of tuples of labels, and for each given map the label of each tuple; tuples are in order.

    A pixel without any label has no tuple (-1).
    """
    joint, columns = _numbered(maps[0])
    names = [columns]
    for labels in maps[1:]:
        mine, known = _numbered(labels)
        pairs, number = _numbered(joint * len(known) + mine)
        names = [column[number // len(known)] for column in names] + [known[number % len(known)]]
        joint = pairs
    is_any = np.any([column != NONE for column in names], axis=0)
    place = np.where(is_any, np.cumsum(is_any) - 1, NONE).astype(np.int32)
    return place[joint], [column[is_any] for column in names]


def _numbered(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The labels of a map numbered from 0 on in their order, -1 among them, and the label of each number."""
    span = int(labels.max(initial=NONE)) + 2
    if span > MAX_SPAN:
        known, number = np.unique(labels, return_inverse=True)
        return number.reshape(labels.shape), known
    has = np.zeros(span, bool)
    has[labels + 1] = True
    return (np.cumsum(has) - 1)[labels + 1], np.flatnonzero(has) - 1


def marginal(votes: Votes, label_of_pair: NDArray[np.int64]) -> Votes:
    """Votes for pairs as votes for one of the pair; -1 none, in which case they are no votes."""
    label = label_of_pair[votes.label.numpy()]
    is_kept = label != NONE
    gaussian, label, weight = votes.gaussian.numpy()[is_kept], label[is_kept], votes.weight.numpy()[is_kept]
    key = gaussian * (int(label_of_pair.max(initial=0)) + 1) + label
    if (np.diff(key) < 0).any():
        order = key.argsort(kind="stable")  # they are in order but for some neighbours, which this sort is quick at
        gaussian, label, weight, key = gaussian[order], label[order], weight[order], key[order]
    first = np.flatnonzero(np.diff(key, prepend=NONE))
    return Votes(
        gaussian=torch.from_numpy(gaussian[first]),
        label=torch.from_numpy(label[first]),
        weight=torch.from_numpy(np.add.reduceat(weight, first) if len(first) else weight),
        visibility=votes.visibility,
    )
