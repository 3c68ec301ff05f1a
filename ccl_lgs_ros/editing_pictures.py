# SPDX-License-Identifier: Apache-2.0
"""A map before and after an edit, seen from the keyframe that shows the edited things best, here and there."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.pictures import FAINT, TEXT, Image, beside, captioned, rendered_color, with_mask
from ccl_lgs_ros.query.boxes import upright_box
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
    place = shown_from(before, after, things, views)
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


def shown_from(before: SemanticMap, after: SemanticMap, things: Sequence[Instance], views: ViewedFrom) -> int:
    """The view [V] that shows most of the things, where they were and where they are now; if not both, where they are.

    Of equals, the one that shows them best.
    """
    was = [_ranks(before, thing, views) for thing in things]
    now = [_ranks(after, _standing(after, thing), views) for thing in things] if _are_in(after, before) else []

    def merit(number: int) -> tuple[int, int, int]:
        there, here = ([ranks[number] for ranks in shown if number in ranks] for shown in (was, now))
        return len(there) + len(here), len(here), -sum(there) - sum(here)

    best = max(dict.fromkeys(n for ranks in was + now for n in ranks), key=merit, default=int(views.keyframe_ids[0]))
    return int(np.flatnonzero(views.keyframe_ids == best)[0])


def _are_in(after: SemanticMap, before: SemanticMap) -> bool:
    """Whether all Gaussians are still there: nothing was taken away, so that things have the same numbers."""
    return len(after.gaussians) == len(before.gaussians)


def _standing(semantic_map: SemanticMap, thing: Instance) -> Instance:
    """A thing where its Gaussians are in a map."""
    points = semantic_map.gaussians.means[thing.gaussian_ids].numpy(force=True).astype(np.float64)
    return replace(thing, box=upright_box(points, np.asarray(semantic_map.map_up, np.float64)))


def _ranks(semantic_map: SemanticMap, thing: Instance, views: ViewedFrom) -> dict[int, int]:
    """The ids of the keyframes that show a thing, each with its rank, 0 for the best."""
    seen = instance_seen(replace(thing, keyframe_ids=()), semantic_map.gaussians, views, most_views=len(views))
    return {number: rank for rank, number in enumerate(seen.keyframe_ids)}
