# SPDX-License-Identifier: Apache-2.0
"""How well the map shows views that it never learned from."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.protocols import KeyframeSource, Progress, Rasterizer, no_progress
from ccl_lgs_ros.structures import Gaussians

SCORED_WIDTH = 320  # pixels
MIN_ALPHA = 0.5  # a pixel counts as covered above this
BEST_PSNR = 100.0  # decibels; what equal images get, so that means stay finite


def psnr_report(
    gaussians: Gaussians,
    keyframes: KeyframeSource,
    rasterizer: Rasterizer,
    indices: Sequence[int],
    progress: Progress = no_progress,
) -> dict[str, float]:
    """PSNR of the map at keyframes, each at a width of 320 pixels, over the pixels that the map covers.

    Returns:
        psnr: decibels, raw, mean over the views; NaN if no view is covered anywhere.
        psnr_affine: the same after a gain and an offset per view and colour, which forgives exposure.
        covered: share of the pixels whose rendered alpha exceeds 0.5.
        views: how many were scored.
    """
    rows = []
    for done, index in enumerate(indices, start=1):
        rows.append(_of_view(gaussians, _at_scored_size(keyframes[index]), rasterizer))
        progress("score", done, len(indices))
    raw, affine, covered = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    is_scored = np.isfinite(raw)
    return {
        "psnr": float(raw[is_scored].mean()) if is_scored.any() else float("nan"),
        "psnr_affine": float(affine[is_scored].mean()) if is_scored.any() else float("nan"),
        "covered": float(covered.mean()) if len(covered) else 0.0,
        "views": len(rows),
    }


def _of_view(gaussians: Gaussians, view: Keyframe, rasterizer: Rasterizer) -> tuple[float, float, float]:
    """PSNR, affine PSNR and covered share."""
    with torch.no_grad():
        rendering = rasterizer.render(gaussians, view.camera, view.world_from_camera)
    is_covered = rendering.alpha.cpu().numpy() > MIN_ALPHA
    if view.outdated is not None:
        is_covered &= ~view.outdated
    if not is_covered.any():
        return float("nan"), float("nan"), 0.0
    shown = rendering.color.cpu().numpy().clip(0.0, 1.0)[is_covered].astype(np.float64)
    image = view.image[is_covered].astype(np.float64) / 255.0
    return psnr(shown, image), psnr(_affine_fitted(shown, image), image), float(is_covered.mean())


def psnr(shown: NDArray[np.floating], image: NDArray[np.floating]) -> float:
    """Peak signal-to-noise ratio in decibels of values from 0 to 1, at most BEST_PSNR."""
    error = float(np.mean((shown - image) ** 2))
    return BEST_PSNR if error == 0 else min(BEST_PSNR, -10.0 * np.log10(error))


def _affine_fitted(shown: NDArray[np.float64], image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The colours [n, 3] under the gain and offset per channel that bring them closest to the image's."""
    fitted = np.empty_like(shown)
    for c in range(shown.shape[1]):
        basis = np.stack([shown[:, c], np.ones(len(shown))], axis=1)
        fitted[:, c] = basis @ np.linalg.lstsq(basis, image[:, c], rcond=None)[0]
    return fitted


def _at_scored_size(keyframe: Keyframe) -> Keyframe:
    """The keyframe without depth at a width of 320 pixels."""
    height, width = keyframe.image.shape[:2]
    size = (SCORED_WIDTH, max(1, round(height * SCORED_WIDTH / width)))
    if size == (width, height):
        return keyframe
    shrinks = size[0] < width
    image = cv2.resize(keyframe.image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    outdated = keyframe.outdated
    if outdated is not None:
        outdated = cv2.resize(outdated.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    return replace(keyframe, camera=keyframe.camera.resized(*size), image=image, depth=None, outdated=outdated)
