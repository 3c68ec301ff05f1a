# SPDX-License-Identifier: Apache-2.0
"""The size at which keyframes are rendered, optimised and voted on, smaller than the images that are segmented."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.protocols import KeyframeSource
from ccl_lgs_ros.recent import Recent

CACHED_BYTES = 128 << 20  # some 250 keyframes at 320x240


class WorkingSize:
    """Scales keyframes and label maps down to a width in pixels; never up."""

    def __init__(self, width: int) -> None:
        self.width = width

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """The working (height, width) of an image."""
        if width <= self.width:
            return height, width
        return max(1, round(height * self.width / width)), self.width

    def of(self, keyframe: Keyframe) -> Keyframe:
        """The keyframe at working size."""
        height, width = self.size_of(*keyframe.image.shape[:2])
        if keyframe.image.shape[:2] == (height, width):
            return keyframe
        depth = keyframe.depth
        return replace(
            keyframe,
            camera=keyframe.camera.resized(width, height),
            image=cv2.resize(keyframe.image, (width, height), interpolation=cv2.INTER_AREA),
            depth=None if depth is None else _nearest_surface(depth, height, width),
            labels=None,  # of use to the segmenter alone, which sees the whole keyframe
        )

    def labels(self, labels: Tensor) -> Tensor:
        """A label map [H, W] at working size: the label at the middle of each pixel."""
        height, width = self.size_of(*labels.shape)
        if labels.shape == (height, width):
            return labels
        rows = ((torch.arange(height) + 0.5) * labels.shape[0] / height).long()
        columns = ((torch.arange(width) + 0.5) * labels.shape[1] / width).long()
        return labels[rows][:, columns].contiguous()

    def source(self, keyframes: KeyframeSource) -> KeyframeSource:
        """The keyframes at working size, the last used ones kept in memory."""
        return Recent(
            lambda: len(keyframes),
            lambda index: self.of(keyframes[index]),
            CACHED_BYTES,
            size=lambda found: found.num_bytes,
        )


def _nearest_surface(depth: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Depth at a smaller size: the nearest known depth that falls into each pixel, so that no value is invented."""
    rows = np.arange(depth.shape[0]) * height // depth.shape[0]
    columns = np.arange(depth.shape[1]) * width // depth.shape[1]
    target = rows[:, None] * width + columns[None, :]
    known = np.isfinite(depth)
    nearest = np.full(height * width, np.inf, np.float32)
    np.minimum.at(nearest, target[known], depth[known])
    nearest[np.isinf(nearest)] = np.nan
    return nearest.reshape(height, width)
