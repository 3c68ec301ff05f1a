# SPDX-License-Identifier: Apache-2.0
"""What is gone: the Gaussians of things that were taken away, and which pixels of older keyframes still show them."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.frustum import rows_in_view
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.shapes import check_shapes
from ccl_lgs_ros.structures import Gaussians

MIN_ALPHA = 0.3  # rendered; where ghosts are fainter than that a pixel shows something else
TOLERANCE = 0.08  # of the depth between a ghost and the surface that was measured then
RIM_PX = 2  # around a ghost, where colours are mixed
MIN_SHARE = 0.5  # of a segment; one that shows ghosts to this share is of what is gone


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ghosts:
    """Gaussians that are gone, where they were last."""

    gaussians: Gaussians  # [G]
    anchor: Tensor  # [G] int32: the keyframe whose pose each hung on, -1 none
    gone_at: Tensor  # [G] int32: the first keyframe without it

    def __post_init__(self) -> None:
        count = len(self.gaussians)
        check_shapes(anchor=(self.anchor, (count,)), gone_at=(self.gone_at, (count,)))

    def __len__(self) -> int:
        return len(self.gaussians)

    @staticmethod
    def empty(sh_degree: int = 0) -> "Ghosts":
        """Nothing is gone."""
        none = torch.zeros(0, dtype=torch.int32)
        return Ghosts(gaussians=Gaussians.empty(sh_degree), anchor=none, gone_at=none)

    def joined(self, other: "Ghosts") -> "Ghosts":
        """These and others."""
        return Ghosts(
            gaussians=self.gaussians.joined(other.gaussians),
            anchor=torch.cat([self.anchor, other.anchor]),
            gone_at=torch.cat([self.gone_at, other.gone_at]),
        )

    def outdated(
        self, view: Keyframe, index: int, labels: dict[str, Tensor], rasterizer: Rasterizer
    ) -> NDArray[np.bool_] | None:
        """The pixels [H, W] of a keyframe that show what was gone later; None where there are none.

        Args:
            view: with depth; where it has none, nothing is said.
            index: of the keyframe.
            labels: its segments [H, W] by level, -1 none; one that mostly shows what is gone does so wholly.
        """
        if view.depth is None or not len(self):
            return None
        later = self.gaussians.select(self.gone_at > index)
        seen = later.select(rows_in_view(later.means, later.log_scales, view))
        if not len(seen):
            return None
        with torch.no_grad():
            rendering = rasterizer.render(seen, view.camera, view.world_from_camera)
        depth = rendering.depth.cpu().numpy()
        with np.errstate(invalid="ignore"):
            is_shown = np.abs(depth - view.depth) < TOLERANCE * view.depth
        is_shown &= rendering.alpha.cpu().numpy() > MIN_ALPHA
        if not is_shown.any():
            return None
        kernel = np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)
        outdated = cv2.dilate(is_shown.astype(np.uint8), kernel).astype(bool)
        for found in labels.values():
            outdated |= _segments_shown(found.numpy(), is_shown)
        return outdated


def _segments_shown(labels: NDArray[np.integer], is_shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of segments that are shown to a large share."""
    count = int(labels.max(initial=-1)) + 2  # the first is for pixels of no segment
    pixels = np.bincount((labels + 1).ravel(), minlength=count)
    shown = np.bincount((labels + 1)[is_shown], minlength=count)
    is_gone = shown >= MIN_SHARE * np.maximum(pixels, 1)
    is_gone[0] = False
    return is_gone[labels + 1]
