# SPDX-License-Identifier: Apache-2.0
"""What a map takes for one thing, or for one kind, as colours: a number has the same colour in every picture."""

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.answer_views import MIN_SHOWN_ALPHA
from ccl_lgs_ros.association.identity import named_gaussians
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.colours import track_colors
from ccl_lgs_ros.pictures import Image, rendered_color
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, SemanticLevel, SemanticMap


def gaussian_colors(level: SemanticLevel, by: str = "track") -> NDArray[np.float32]:
    """The colour [N, 3] of each Gaussian's thing, the same from version to version; or with `by` "entry" of its code,
    which things of one kind share."""
    if by == "track":
        return track_colors(named_gaussians(level))
    track = level.track_of_gaussian.numpy(force=True)
    return track_colors(np.append(level.entry_of_track.numpy(force=True), NONE)[track])


def code_map(
    semantic_map: SemanticMap,
    level: str,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
    by: str = "track",
) -> Image:
    """The map [H, W, 3] from a camera in the colours of its tracks or entries at one level; black where it is empty."""
    colors = torch.from_numpy(gaussian_colors(semantic_map.levels[level], by)).to(semantic_map.gaussians.means.device)
    with torch.no_grad():
        view = rasterizer.render(semantic_map.gaussians, camera, world_from_camera, colors)
    mean = view.features / view.alpha.clamp_min(MIN_SHOWN_ALPHA)[..., None]
    return rendered_color(torch.where((view.alpha > MIN_SHOWN_ALPHA)[..., None], mean, 0.0).numpy(force=True))


def segment_map(labels: NDArray[np.integer], numbers: NDArray[np.integer] | None = None) -> Image:
    """A label map [H, W], -1 none, as colours [H, W, 3]; with `numbers` [M] those of the tracks of its segments."""
    if numbers is not None:
        labels = np.append(numbers, NONE)[labels]
    return rendered_color(track_colors(labels.ravel()).reshape(*labels.shape, 3))
