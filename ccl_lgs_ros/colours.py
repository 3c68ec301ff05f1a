# SPDX-License-Identifier: Apache-2.0
"""Colours of Gaussians and tracks, 0 to 1: the same in clouds, pictures, the report and the viewer."""

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.gaussians.seed import SH_C0
from ccl_lgs_ros.structures import NONE

GOLDEN = 0.6180339887498949  # of a turn between the hues of two tracks, so that neighbours differ
GREY = 0.35  # of what has no track


def base_colors(sh: Tensor) -> NDArray[np.float32]:
    """The colours [n, 3] of Gaussians with coefficients [n, S, 3], the same from all sides."""
    return np.clip(0.5 + SH_C0 * sh[:, 0].detach().numpy(), 0.0, 1.0)


def track_colors(track: NDArray[np.integer]) -> NDArray[np.float32]:
    """A colour [n, 3] for each track, always the same one; GREY for -1."""
    hue = (track.astype(np.float64) * GOLDEN % 1.0 * 360.0).astype(np.float32)
    hsv = np.stack([hue, np.full_like(hue, 0.65), np.full_like(hue, 0.95)], axis=1)[:, None]
    colors = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[:, 0] if len(hsv) else hsv[:, 0]
    return np.where((track == NONE)[:, None], GREY, colors).astype(np.float32)
