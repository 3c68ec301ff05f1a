# SPDX-License-Identifier: Apache-2.0
"""The Gaussians of a map as a browser draws them: no more than it can bear, the most visible kept."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import expit

from ccl_lgs_ros.colours import base_colors
from ccl_lgs_ros.structures import Gaussians

LEAST_OPACITY = 1.0 / 255.0  # a fainter one changes no pixel
SCALES = (0.001, 10.0)  # metres: covariances travel as half floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splats:
    """Some Gaussians of a map, ready to be sent."""

    ids: NDArray[np.int64]  # [n] their places in the map, ascending
    centers: NDArray[np.float32]  # [n, 3] metres
    covariances: NDArray[np.float32]  # [n, 3, 3] square metres
    opacities: NDArray[np.float32]  # [n, 1]
    colors: NDArray[np.float32]  # [n, 3] 0 to 1
    total: int  # Gaussians in the map

    def __len__(self) -> int:
        return len(self.ids)


def splats_of(gaussians: Gaussians, most: int) -> Splats:
    """The Gaussians that show most, at most so many."""
    ids = most_visible(gaussians, most)
    chosen = gaussians.select(torch.from_numpy(ids)).detached()
    turn = Rotation.from_quat(np.roll(chosen.quats.numpy(), -1, axis=1)).as_matrix().astype(np.float32)
    axes = turn * np.clip(chosen.scales.numpy(), *SCALES)[:, None, :]
    return Splats(
        ids=ids,
        centers=chosen.means.numpy(),
        covariances=axes @ axes.transpose(0, 2, 1),
        opacities=chosen.opacities.numpy()[:, None],
        colors=base_colors(chosen.sh),
        total=len(gaussians),
    )


def most_visible(gaussians: Gaussians, most: int) -> NDArray[np.int64]:
    """The places [n] of the Gaussians with the largest surface times opacity, ascending; none that cannot be seen."""
    means, quats = gaussians.means.detach().numpy(), gaussians.quats.detach().numpy()
    opacity = expit(gaussians.logit_opacities.detach().numpy())
    surface = np.exp(np.sort(gaussians.log_scales.detach().numpy(), axis=1)[:, 1:].sum(axis=1))
    is_sound = np.isfinite(means).all(axis=1) & np.isfinite(surface) & quats.any(axis=1)
    shows = np.where(is_sound & (opacity >= LEAST_OPACITY), opacity * surface, 0.0)
    seen = np.flatnonzero(shows > 0.0)
    if len(seen) > most:
        seen = np.sort(seen[np.argpartition(-shows[seen], most - 1)[:most]])
    return seen
