# SPDX-License-Identifier: Apache-2.0
"""Gaussians that move with the keyframes that they hang on, as poses are corrected."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from ccl_lgs_ros.geometry import quat_from_rotation
from ccl_lgs_ros.structures import NONE, Gaussians

NUM_DIRECTIONS = 64  # in which harmonics are compared; four times the 16 of degree 3


def moved(
    gaussians: Gaussians,
    anchor: Tensor,
    new_from_old: Mapping[int, NDArray[np.float64]],
    basis: Callable[[Tensor, Tensor, Tensor], tuple],
) -> Gaussians:
    """The Gaussians, each carried along with its keyframe.

    Args:
        anchor: [N] int32, the keyframe of each, -1 none.
        new_from_old: [4, 4] by keyframe, of those that move: where the world around one of them is now.
        basis: the spherical harmonics in a direction.
    """
    means, quats, sh = gaussians.means.clone(), gaussians.quats.clone(), gaussians.sh.clone()
    keyframe_of = anchor.to(means.device)
    for keyframe, transform in new_from_old.items():
        which = torch.nonzero(keyframe_of == keyframe)[:, 0]
        if not len(which):
            continue
        rotation = torch.as_tensor(transform[:3, :3]).to(means)
        means[which] = means[which] @ rotation.T + torch.as_tensor(transform[:3, 3]).to(means)
        quat = torch.as_tensor(quat_from_rotation(transform[:3, :3])).to(quats)
        quats[which] = quat_product(quat, quats[which])
        if sh.shape[1] > 1:
            turn = harmonics_turned(rotation.cpu(), sh.shape[1], basis).to(sh)
            sh[which] = torch.einsum("ij,njc->nic", turn, sh[which])
    return replace(gaussians, means=means, quats=quats, sh=sh)


def quat_product(first: Tensor, second: Tensor) -> Tensor:
    """The rotation `second` [n, 4], then `first` [4]; wxyz."""
    w, x, y, z = first
    matrix = torch.stack(
        [
            torch.stack([w, -x, -y, -z]),
            torch.stack([x, w, -z, y]),
            torch.stack([y, z, w, -x]),
            torch.stack([z, -y, x, w]),
        ]
    )
    return second @ matrix.T


def harmonics_turned(rotation: Tensor, count: int, basis: Callable[[Tensor, Tensor, Tensor], tuple]) -> Tensor:
    """The matrix [S, S] that turns coefficients of harmonics as a rotation [3, 3] turns what they describe.

    A turned function has in a direction the value that it had where that direction came from; harmonics of one degree
    turn into each other, so that the equations in enough directions have one solution.
    """
    index = torch.arange(NUM_DIRECTIONS, dtype=torch.float64) + 0.5
    height, turn = 1.0 - 2.0 * index / NUM_DIRECTIONS, index * torch.pi * (3.0 - 5.0**0.5)  # a Fibonacci sphere
    radius = (1.0 - height.square()).sqrt()
    directions = torch.stack([radius * turn.cos(), radius * turn.sin(), height], dim=1)
    before = directions @ rotation.double()  # the inverse rotation of each
    here = torch.stack(basis(*directions.unbind(1)), dim=1)[:, :count]
    there = torch.stack(basis(*before.unbind(1)), dim=1)[:, :count]
    return torch.linalg.lstsq(here, there).solution


def anchored(anchor: Tensor, means: Tensor) -> Tensor:
    """Anchors [N] of Gaussians [N, 3] of which some have none (-1): they take that of their nearest neighbour."""
    is_free = anchor == NONE
    if not is_free.any() or is_free.all():
        return anchor
    points = means.detach().cpu().double().numpy()
    held = torch.nonzero(~is_free)[:, 0]
    _, nearest = KDTree(points[held.numpy()]).query(points[is_free.numpy()])
    anchor = anchor.clone()
    anchor[is_free] = anchor[held[torch.from_numpy(nearest)]]
    return anchor
