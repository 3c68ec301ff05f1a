# SPDX-License-Identifier: Apache-2.0
"""What has changed: things that were taken away or put there, and which pixels of older keyframes do not know it."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.carve import compared
from ccl_lgs_ros.gaussians.frustum import rows_in_view
from ccl_lgs_ros.gaussians.store import FIRST_EVIDENCE, GaussianStore
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.shapes import check_shapes
from ccl_lgs_ros.structures import Gaussians, Rendering

MIN_ALPHA = 0.3  # rendered; what is fainter is no surface
TOLERANCE = 0.06  # of the depth between what is drawn and the surface that was measured
RIM_PX = 2  # around a ghost, where colours are mixed
MIN_SHARE = 0.5  # of a segment; one that shows ghosts to this share is of what is gone


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ghosts:
    """Gaussians that are gone, where they were last."""

    gaussians: Gaussians  # [G]
    anchor: Tensor  # [G] int32: the keyframe whose pose each hung on, -1 none
    last_seen: Tensor  # [G] int32: the last keyframe that showed it

    def __post_init__(self) -> None:
        count = len(self.gaussians)
        check_shapes(anchor=(self.anchor, (count,)), last_seen=(self.last_seen, (count,)))

    def __len__(self) -> int:
        return len(self.gaussians)

    @staticmethod
    def empty(sh_degree: int = 0) -> "Ghosts":
        """Nothing is gone."""
        none = torch.zeros(0, dtype=torch.int32)
        return Ghosts(gaussians=Gaussians.empty(sh_degree), anchor=none, last_seen=none)

    def joined(self, other: "Ghosts") -> "Ghosts":
        """These and others."""
        return Ghosts(
            gaussians=self.gaussians.joined(other.gaussians),
            anchor=torch.cat([self.anchor, other.anchor]),
            last_seen=torch.cat([self.last_seen, other.last_seen]),
        )

    def shown_by(
        self, view: Keyframe, index: int, store: GaussianStore, rasterizer: Rasterizer
    ) -> NDArray[np.bool_] | None:
        """The pixels [H, W] of a keyframe whose surface is a ghost's, and where the map has none any more.

        Args:
            view: with depth.
            index: of the keyframe.
            store: the Gaussians that are there.

        Returns:
            None where there are none.
        """
        shown = self.gaussians.select(self.last_seen >= index)
        shown = shown.select(rows_in_view(shown.means, shown.log_scales, view))
        if not len(shown) or view.depth is None:
            return None
        part = store.seen_by(view).gaussians
        ghostly, there = (_rendered(gaussians, view, rasterizer) for gaussians in (shown.to(part.means.device), part))
        is_gone = _has_surface(ghostly, view.depth) & ~_has_surface(there, view.depth)
        return is_gone if is_gone.any() else None


def newcomers_before(
    view: Keyframe, index: int, store: GaussianStore, rasterizer: Rasterizer
) -> NDArray[np.bool_] | None:
    """The pixels [H, W] of a keyframe in which something stands now, before what it measured; None if there are none.

    It came after the keyframe, and more than one keyframe has seen it.

    Args:
        view: with depth.
        index: of the keyframe.
        store: the Gaussians that are there.
    """
    part = store.seen_by(view)
    standing = store.standing.select(part.index)
    came = (standing.anchor > index) & (standing.evidence > FIRST_EVIDENCE)
    if view.depth is None or not came.any():
        return None
    part = part.select(came)
    _, is_through = compared(part.gaussians.means.detach().cpu().numpy().astype(np.float64), view)
    if not is_through.any():
        return None
    rendering = _rendered(part.select(torch.from_numpy(is_through)).gaussians, view, rasterizer)
    with np.errstate(invalid="ignore"):
        is_before = rendering.depth.cpu().numpy() < (1.0 - TOLERANCE) * view.depth
    is_before &= rendering.alpha.cpu().numpy() > MIN_ALPHA
    return is_before if is_before.any() else None


def outdated_pixels_of(
    gone: NDArray[np.bool_] | None, came: NDArray[np.bool_] | None, labels: Mapping[str, Tensor]
) -> NDArray[np.bool_] | None:
    """The pixels [H, W] of a keyframe that are no evidence any more, with their rim; None where there are none.

    Args:
        gone: they show what is gone.
        came: something stands before them now.
        labels: the keyframe's segments [H, W] by level, -1 none; one that mostly shows what is gone does so wholly.
    """
    found = [mask for mask in (gone, came) if mask is not None]
    if not found:
        return None
    kernel = np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)
    outdated = cv2.dilate(np.logical_or.reduce(found).astype(np.uint8), kernel).astype(bool)
    if gone is not None:
        for segments in labels.values():
            outdated |= _segments_shown(segments.numpy(), gone)
    return outdated


def _rendered(gaussians: Gaussians, view: Keyframe, rasterizer: Rasterizer) -> Rendering:
    with torch.no_grad():
        return rasterizer.render(gaussians, view.camera, view.world_from_camera)


def _has_surface(rendering: Rendering, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a rendering has a surface at the measured depth [H, W]."""
    with np.errstate(invalid="ignore"):
        is_there = np.abs(rendering.depth.cpu().numpy() - depth) < TOLERANCE * depth
    return is_there & (rendering.alpha.cpu().numpy() > MIN_ALPHA)


def _segments_shown(labels: NDArray[np.integer], is_shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of segments that are shown to a large share."""
    count = int(labels.max(initial=-1)) + 2  # the first is for pixels of no segment
    pixels = np.bincount((labels + 1).ravel(), minlength=count)
    shown = np.bincount((labels + 1)[is_shown], minlength=count)
    is_gone = shown >= MIN_SHARE * np.maximum(pixels, 1)
    is_gone[0] = False
    return is_gone[labels + 1]
