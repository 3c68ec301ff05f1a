# SPDX-License-Identifier: Apache-2.0
"""Keyframes of a place that has changed since: what they show of things that are gone is no evidence any more."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.protocols import KeyframeSource
from ccl_lgs_ros.structures import NONE

Outdated = Mapping[int, NDArray[np.bool_]]  # keyframe -> pixels [h, w] at working size; few have any


def still_true(view: Keyframe, pixels: NDArray[np.bool_] | None) -> Keyframe:
    """A keyframe at working size without the depth of pixels [h, w], which are marked as outdated."""
    if pixels is None:
        return view
    depth = None if view.depth is None else np.where(pixels, np.float32(np.nan), view.depth)
    return replace(view, depth=depth, outdated=pixels)


def labels_still_true(labels: Tensor, pixels: NDArray[np.bool_] | None) -> Tensor:
    """A label map [h, w] in which pixels have none (-1)."""
    return labels if pixels is None else labels.masked_fill(torch.from_numpy(pixels), NONE)


class StillTrue:
    """Keyframes at working size, each without what is outdated of it."""

    def __init__(self, views: KeyframeSource, outdated: Outdated) -> None:
        self._views, self._outdated = views, outdated

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: int, /) -> Keyframe:
        return still_true(self._views[index], self._outdated.get(index))
