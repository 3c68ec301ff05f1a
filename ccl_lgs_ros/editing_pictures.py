# SPDX-License-Identifier: Apache-2.0
"""A map before and after an edit, seen from the keyframe that shows the edited things best."""

from collections.abc import Sequence

import numpy as np
import torch

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.pictures import FAINT, TEXT, Image, beside, captioned, rendered_color, with_mask
from ccl_lgs_ros.query.surface import instance_seen
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.structures import SemanticMap

WIDTH = 640  # pixels of each panel


def before_and_after(
    before: SemanticMap,
    after: SemanticMap,
    things: Sequence[Instance],
    views: ViewedFrom,
    config: MapConfig,
    title: str,
) -> Image:
    """Two renderings of one view, under a title; what is edited is outlined in the first.

    Args:
        things: of the map before.
        views: the cameras that saw it.

    Raises:
        MapError: if there is no camera to look from.
    """
    if len(views) == 0:
        raise MapError("the map holds no keyframes, so there is no view to show; leave --picture away")
    place = _place(before, things, views)
    pose = views.world_from_camera[place]
    camera = views.cameras[place].resized(
        WIDTH, round(views.cameras[place].height * WIDTH / views.cameras[place].width)
    )
    rasterizer, _ = configured_part("rasterizer", config)
    chosen = torch.zeros(len(before.gaussians), 1)
    for thing in things:
        chosen[thing.gaussian_ids] = 1.0
    with torch.no_grad():
        old = rasterizer.render(before.gaussians, camera, pose, chosen)
        new = rasterizer.render(after.gaussians, camera, pose)
    mask = (old.features[..., 0] > 0.5 * old.alpha.clamp_min(0.1)).numpy(force=True)
    marked = with_mask(rendered_color(old.color.numpy(force=True)), mask, is_tinted=False)
    sheet = beside(
        captioned(marked, f"before, as keyframe {int(views.keyframe_ids[place])} saw it", TEXT - 1, FAINT),
        captioned(rendered_color(new.color.numpy(force=True)), "after", TEXT - 1, FAINT),
        gap=4,
    )
    return captioned(sheet, title, TEXT + 4)


def _place(semantic_map: SemanticMap, things: Sequence[Instance], views: ViewedFrom) -> int:
    """The view that shows most of the things; of equals, the one that shows the first best."""
    seen = [instance_seen(thing, semantic_map.gaussians, views).keyframe_ids for thing in things]
    numbers = list(dict.fromkeys(number for ids in seen for number in ids))
    best = max(numbers, key=lambda number: sum(number in ids for ids in seen), default=int(views.keyframe_ids[0]))
    return int(np.flatnonzero(views.keyframe_ids == best)[0])
