# SPDX-License-Identifier: Apache-2.0
"""An answer as the distilled field sees it: features blended into a view and decoded at each pixel. 2D only.

A pixel is as relevant as the codebook entry that it decodes to or, where the field decodes to vectors, as its vector.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answer_views import answer_view
from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.field.autoencoder import decoded, nearest_codes, says_vectors
from ccl_lgs_ros.field.decoder import DECODED_AT_ONCE, MIN_ALPHA, decoded_codes
from ccl_lgs_ros.protocols import Encoder, Rasterizer
from ccl_lgs_ros.structures import NONE, Rendering, SemanticField, SemanticMap


def seen_by(
    way: str,
    semantic_map: SemanticMap,
    found: Answer,
    encoder: Encoder,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> tuple[Tensor, Tensor]:
    """The mask [H, W] bool and the relevancy [H, W] of an answer, by the field or by votes, as `query.view` says."""
    see = field_view if way == "field" else answer_view
    return see(semantic_map, found, encoder, rasterizer, camera, world_from_camera)


def field_view(
    semantic_map: SemanticMap,
    found: Answer,
    encoder: Encoder,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> tuple[Tensor, Tensor]:
    """An answer seen from a camera, decoded from the field at the answer's level.

    Returns:
        mask: [H, W] bool, where what is decoded is relevant enough; there are no instances.
        relevancy: [H, W] in [0, 1]; 0 where the map covers less than half of a pixel.

    Raises:
        MapError: if the map has no field.

    Source: CCL-LGS (Tian et al., 2025), open-vocabulary querying; the threshold is absolute here.
    """
    field = _field_of(semantic_map)
    if found.level not in field.features or not found.prompt.is_understood:
        nothing = torch.zeros(camera.height, camera.width)
        return nothing.bool(), nothing
    drawn = _drawn(semantic_map, found.level, rasterizer, camera, world_from_camera)
    is_covered, (relevancy,) = _relevancies(semantic_map, found.level, (found.prompt,), encoder, drawn)
    relevancy = torch.where(is_covered, relevancy, 0.0)
    return is_covered & (relevancy >= found.threshold), relevancy


def field_relevancies(
    semantic_map: SemanticMap,
    prompts: Sequence[Prompt],
    encoder: Encoder,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> dict[str, Tensor]:
    """The relevancy of what each pixel decodes to, for prompts at every level of the field: level -> [P, H, W].

    Pixels that the map hardly covers are as relevant as the least relevant entry: the published protocols are relative
    to the extremes of an image.

    Raises:
        MapError: if the map has no field.
    """
    found = {}
    for name in _field_of(semantic_map).features:
        drawn = _drawn(semantic_map, name, rasterizer, camera, world_from_camera)
        is_covered, images = _relevancies(semantic_map, name, prompts, encoder, drawn)
        entries = semantic_map.levels[name].codebook.entries
        least = [encoder.relevancy(entries, prompt).float().min() for prompt in prompts]
        found[name] = torch.stack(
            [torch.where(is_covered, image, low) for image, low in zip(images, least, strict=True)]
        )
    return found


def code_view(
    semantic_map: SemanticMap,
    level: str,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> Tensor:
    """The code [H, W] int32 that the field decodes at each pixel of a level; -1 where the map covers less than half.

    Raises:
        MapError: if the map has no field.
    """
    if level not in _field_of(semantic_map).features:
        return torch.full((camera.height, camera.width), NONE, dtype=torch.int32)
    return _codes(semantic_map, level, _drawn(semantic_map, level, rasterizer, camera, world_from_camera))


def _drawn(
    semantic_map: SemanticMap,
    level: str,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> Rendering:
    with torch.no_grad():
        features = _field_of(semantic_map).features[level]
        return rasterizer.render(semantic_map.gaussians, camera, world_from_camera, features)


def _codes(semantic_map: SemanticMap, level: str, drawn: Rendering) -> Tensor:
    field = _field_of(semantic_map)
    if says_vectors(field.decoders[level]):
        entries = semantic_map.levels[level].codebook.entries
        return nearest_codes(field.decoders[level], entries, drawn.features, drawn.alpha > MIN_ALPHA)
    return decoded_codes(field, level, drawn.features, drawn.alpha)


def _relevancies(
    semantic_map: SemanticMap, level: str, prompts: Sequence[Prompt], encoder: Encoder, drawn: Rendering
) -> tuple[Tensor, list[Tensor]]:
    """Where the map covers a pixel [H, W], and the relevancy [H, W] of what it decodes to for each prompt, 0 elsewhere.

    Source, for vectors: LangSplat (Qin et al., 2024), open-vocabulary querying.
    """
    is_covered = drawn.alpha > MIN_ALPHA
    decoder = _field_of(semantic_map).decoders[level]
    images = [torch.zeros_like(drawn.alpha) for _ in prompts]
    if not says_vectors(decoder):
        code = _codes(semantic_map, level, drawn)[is_covered].long()
        for image, prompt in zip(images, prompts, strict=True):
            image[is_covered] = encoder.relevancy(semantic_map.levels[level].codebook.entries, prompt).to(image)[code]
        return is_covered, images
    with torch.no_grad():
        parts = [decoded(decoder, part) for part in drawn.features[is_covered].split(DECODED_AT_ONCE)]
        for image, prompt in zip(images, prompts, strict=True):
            image[is_covered] = torch.cat([encoder.relevancy(part, prompt).to(image) for part in parts])
    return is_covered, images


def _field_of(semantic_map: SemanticMap) -> SemanticField:
    if semantic_map.field is None:
        raise MapError("the map has no distilled field; build it with --set field.lifter=distillation")
    return semantic_map.field
