# SPDX-License-Identifier: Apache-2.0
"""Where a map doubts what it says: the uncertainty that its lifter learnt, seen from a camera beside a photo."""

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.answer_views import MIN_SHOWN_ALPHA
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.languages import NOT_TRUSTED
from ccl_lgs_ros.level_names import coarse_first
from ccl_lgs_ros.pictures import Image, beside, captioned, heat, legend
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, SemanticMap


def doubted_level(semantic_map: SemanticMap) -> str:
    """The coarsest level that has an uncertainty.

    Raises:
        MapError: if none has, with what makes one.
    """
    for name in coarse_first(semantic_map.levels):
        if semantic_map.levels[name].uncertainty is not None:
            return name
    raise MapError(
        "the map knows no uncertainty, which only a lifter that learns it gives; "
        "map again with --set field.lifter=smoothed_distillation"
    )


def uncertainty_view(
    semantic_map: SemanticMap,
    level: str,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The mean uncertainty [H, W] in [0, 1] of what each pixel shows, and where anything labelled is shown [H, W]."""
    found, gaussians = semantic_map.levels[level], semantic_map.gaussians
    assert found.uncertainty is not None
    is_labelled = (found.track_of_gaussian != NONE).to(gaussians.means)
    unsure = found.uncertainty.to(gaussians.means) / NOT_TRUSTED
    with torch.no_grad():
        channels = torch.stack([is_labelled, is_labelled * unsure], dim=1)
        view = rasterizer.render(gaussians, camera, world_from_camera, channels)
    share, total = view.features.unbind(dim=-1)
    is_shown = (view.alpha > MIN_SHOWN_ALPHA) & (share > view.alpha / 2)
    mean = torch.where(is_shown, total / share.clamp_min(torch.finfo(share.dtype).tiny), 0.0)
    return mean.clamp(0.0, 1.0).numpy(force=True), is_shown.numpy(force=True)


def uncertainty_picture(photo: Image, uncertainty: NDArray[np.floating], is_shown: NDArray[np.bool_]) -> Image:
    """A photo beside its uncertainty [H, W] as heat over it, with the legend; black where the map has no label."""
    shown = heat(uncertainty, photo)
    shown[~is_shown] = 0
    mean = float(uncertainty[is_shown].mean()) if is_shown.any() else 0.0
    panels = beside(photo, shown, legend(photo.shape[0]))
    return captioned(panels, f"A photo, and how uncertain the map is of it: {mean:.2f} on average; black: no label.")
