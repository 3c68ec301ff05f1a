# SPDX-License-Identifier: Apache-2.0
"""Colours of Gaussians and tracks, 0 to 1: the same in clouds, pictures, the report and the viewer."""

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.gaussians.seed import SH_C0
from ccl_lgs_ros.structures import NONE

GOLDEN = 0.6180339887498949  # of a turn between the hues of two tracks, so that neighbours differ
LIGHTNESSES = (80.0, 62.0, 46.0)  # of CIELAB, in turn: every fifth and eighth hue comes close
CHROMA = 52.0  # of CIELAB: soft enough to look at, strong enough to tell apart
GREY = 0.35  # of what has no track


def base_colors(sh: Tensor) -> NDArray[np.float32]:
    """The colours [n, 3] of Gaussians with coefficients [n, S, 3], the same from all sides."""
    return np.clip(0.5 + SH_C0 * sh[:, 0].detach().numpy(), 0.0, 1.0).astype(np.float32, copy=False)


def track_colors(track: NDArray[np.integer]) -> NDArray[np.float32]:
    """A colour [n, 3] for each track, always the same one; GREY for -1."""
    numbers, place = np.unique(np.append(track.ravel(), NONE), return_inverse=True)
    hue = 2 * np.pi * (numbers * GOLDEN % 1.0)
    lightness = np.take(LIGHTNESSES, numbers % len(LIGHTNESSES))
    lab = np.stack([lightness, CHROMA * np.cos(hue), CHROMA * np.sin(hue)], axis=1).astype(np.float32)
    table = np.clip(cv2.cvtColor(lab[:, None], cv2.COLOR_LAB2RGB)[:, 0], 0.0, 1.0)
    table[numbers == NONE] = GREY
    return table[place.ravel()[:-1]].astype(np.float32, copy=False)
