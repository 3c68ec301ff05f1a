# SPDX-License-Identifier: Apache-2.0
"""What a map takes for one thing, or for one kind, as colours: a number has the same colour in every picture."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, SemanticLevel, SemanticMap

GOLDEN = 0.618033988749895  # hues a golden section apart never come close for neighbouring numbers
LIGHTNESSES = (80.0, 62.0, 46.0)  # of CIELAB; they change from number to number, too
CHROMA = 52.0
NO_TRACK = (70, 70, 70)
MIN_SHOWN_ALPHA = 0.1  # a pixel under this rendered alpha shows nothing


def stable_colours(numbers: NDArray[np.integer]) -> NDArray[np.uint8]:
    """A colour [n, 3] for each number [n] of a track or an entry; dark grey for -1."""
    wanted, place = np.unique(numbers, return_inverse=True)
    hue = 2 * np.pi * (wanted * GOLDEN % 1.0)
    lightness = np.take(LIGHTNESSES, wanted % len(LIGHTNESSES))
    lab = np.stack([lightness, CHROMA * np.cos(hue), CHROMA * np.sin(hue)], axis=-1).astype(np.float32)
    table = cv2.cvtColor(lab.reshape(1, -1, 3), cv2.COLOR_LAB2RGB).reshape(-1, 3)
    table = (np.clip(table, 0.0, 1.0) * 255).round().astype(np.uint8)
    table[wanted < 0] = NO_TRACK
    return table[place.reshape(-1)]


def gaussian_colours(level: SemanticLevel, by: str = "track") -> NDArray[np.uint8]:
    """The colour [N, 3] of each Gaussian's track, or with `by` "entry" of its code, which things of one kind share."""
    track = level.track_of_gaussian.numpy(force=True).astype(np.int64)
    if by == "track":
        return stable_colours(track)
    return stable_colours(np.append(level.entry_of_track.numpy(force=True), NONE)[track])


def code_map(
    semantic_map: SemanticMap,
    level: str,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
    by: str = "track",
) -> NDArray[np.uint8]:
    """The map [H, W, 3] from a camera in the colours of its tracks or entries at one level; black where it is empty."""
    colours = gaussian_colours(semantic_map.levels[level], by).astype(np.float32) / 255.0
    channels = torch.from_numpy(colours).to(semantic_map.gaussians.means.device)
    with torch.no_grad():
        view = rasterizer.render(semantic_map.gaussians, camera, world_from_camera, channels)
    return _as_image(view.features / view.alpha.clamp_min(MIN_SHOWN_ALPHA)[..., None], view.alpha > MIN_SHOWN_ALPHA)


def segment_map(labels: NDArray[np.integer], numbers: NDArray[np.integer] | None = None) -> NDArray[np.uint8]:
    """A label map [H, W], -1 none, as colours [H, W, 3]; with `numbers` [M] those of the tracks of its segments."""
    if numbers is not None:
        labels = np.append(numbers, NONE)[labels]
    return stable_colours(labels.ravel()).reshape(*labels.shape, 3)


def _as_image(colours: Tensor, is_shown: Tensor) -> NDArray[np.uint8]:
    shown = torch.where(is_shown[..., None], colours.clamp(0.0, 1.0), 0.0)
    return (shown.numpy(force=True) * 255 + 0.5).astype(np.uint8)
