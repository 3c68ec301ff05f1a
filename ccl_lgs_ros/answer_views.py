# SPDX-License-Identifier: Apache-2.0
"""Answers seen from a camera: masks and relevancy, blended from what the Gaussians of a map carry."""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.protocols import Encoder, Rasterizer
from ccl_lgs_ros.query.relevancy import level_relevancy, relevancy_at
from ccl_lgs_ros.structures import SemanticMap

CHANNELS_AT_ONCE = 16  # blended in one rendering; bounds memory
MIN_SHOWN_ALPHA = 0.1  # a pixel under this rendered alpha shows nothing


def answer_view(
    semantic_map: SemanticMap,
    found: Answer,
    encoder: Encoder,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> tuple[Tensor, Tensor]:
    """The mask [H, W] bool and the relevancy [H, W] of one answer, as by `answer_views`."""
    return answer_views(semantic_map, [found], encoder, rasterizer, camera, world_from_camera)[0]


def answer_views(
    semantic_map: SemanticMap,
    answers: Sequence[Answer],
    encoder: Encoder,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> list[tuple[Tensor, Tensor]]:
    """Answers seen from a camera, occlusion counted, several in one rendering.

    Returns:
        For each answer its mask [H, W] bool, where the instances hold more than half of the rendered weight, and its
        relevancy [H, W] in [0, 1], the mean of what a pixel shows.
    """
    channels = (channel for found in answers for channel in _answer_channels(semantic_map, found, encoder))
    shown, images = _shares(semantic_map, channels, rasterizer, camera, world_from_camera)
    masks, relevancies = images[::2], images[1::2]
    return [
        (shown & (mask > 0.5), relevancy.clamp(0.0, 1.0)) for mask, relevancy in zip(masks, relevancies, strict=True)
    ]


def relevancy_views(
    semantic_map: SemanticMap,
    prompts: Sequence[Prompt],
    encoder: Encoder,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> dict[str, Tensor]:
    """The mean relevancy of what each pixel shows, for prompts at every level.

    What has no track, and pixels that show nothing, are as relevant as the least relevant track of the level: the
    published protocols are relative to the extremes of an image that has a language vector at every pixel, and a hole
    in the map must not become its minimum.

    Returns:
        level -> [P, H, W] in [0, 1].
    """
    found = {}
    for name in semantic_map.levels:
        level = semantic_map.levels[name]
        relevancy = [level_relevancy(level, encoder, prompt) for prompt in prompts]
        floors = [float(found.of_track.min()) if len(found.of_track) else 0.0 for found in relevancy]
        above = (
            (found_at.on_gaussians(level) - floor).clamp_min(0.0)
            for found_at, floor in zip(relevancy, floors, strict=True)
        )
        _, images = _shares(semantic_map, above, rasterizer, camera, world_from_camera)
        found[name] = torch.stack(
            [(image + floor).clamp(0.0, 1.0) for image, floor in zip(images, floors, strict=True)]
        )
    return found


def _shares(
    semantic_map: SemanticMap,
    channels: Iterable[Tensor],  # each [N]
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> tuple[Tensor, list[Tensor]]:
    """Where anything is shown [H, W], and for each channel its mean over what a pixel shows [H, W], 0 elsewhere."""
    images: list[Tensor] = []
    pending = iter(channels)
    shown = torch.zeros(camera.height, camera.width, dtype=torch.bool)
    while block := list(islice(pending, CHANNELS_AT_ONCE)):
        with torch.no_grad():
            view = rasterizer.render(semantic_map.gaussians, camera, world_from_camera, torch.stack(block, dim=1))
        shown = view.alpha > MIN_SHOWN_ALPHA
        share = view.features / view.alpha.clamp_min(MIN_SHOWN_ALPHA)[..., None]
        images += torch.where(shown[..., None], share, 0.0).unbind(dim=-1)
    return shown, images


def _answer_channels(semantic_map: SemanticMap, found: Answer, encoder: Encoder) -> tuple[Tensor, Tensor]:
    """Which Gaussians [N] belong to the instances of an answer, and the relevancy [N] of all at its level."""
    chosen = torch.zeros(len(semantic_map.gaussians))
    for instance in found.instances:
        chosen[instance.gaussian_ids] = 1.0
    if not found.level:
        return chosen, torch.zeros_like(chosen)
    level = semantic_map.levels[found.level]
    return chosen, relevancy_at(level, encoder, found.prompt)
