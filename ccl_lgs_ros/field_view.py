# SPDX-License-Identifier: Apache-2.0
"""An answer as the distilled field sees it: features blended into a view, decoded to codes, looked up. 2D only."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.field.decoder import decoded_codes
from ccl_lgs_ros.protocols import Encoder, Rasterizer
from ccl_lgs_ros.structures import NONE, SemanticField, SemanticMap


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
        mask: [H, W] bool, where the decoded entry is relevant enough; there are no instances.
        relevancy: [H, W] in [0, 1], of the decoded entry; 0 where the map covers less than half of a pixel.

    Raises:
        MapError: if the map has no field.

    Source: CCL-LGS (Tian et al., 2025), open-vocabulary querying; the threshold is absolute here.
    """
    nothing = torch.zeros(camera.height, camera.width)
    _field_of(semantic_map)
    if not found.level or not found.prompt.is_understood:
        return nothing.bool(), nothing
    codes = code_view(semantic_map, found.level, rasterizer, camera, world_from_camera)
    of_entry = encoder.relevancy(semantic_map.levels[found.level].codebook.entries, found.prompt)
    relevancy = torch.where(codes == NONE, 0.0, of_entry[codes.long()].to(nothing))
    return (codes != NONE) & (relevancy >= found.threshold), relevancy


def field_relevancies(
    semantic_map: SemanticMap,
    prompts: Sequence[Prompt],
    encoder: Encoder,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> dict[str, Tensor]:
    """The relevancy of the entry that each pixel decodes to, for prompts at every level: level -> [P, H, W].

    Pixels that the map hardly covers are as relevant as the least relevant entry: the published protocols are relative
    to the extremes of an image.

    Raises:
        MapError: if the map has no field.
    """
    found = {}
    for name, level in semantic_map.levels.items():
        codes = code_view(semantic_map, name, rasterizer, camera, world_from_camera).long()
        images = []
        for prompt in prompts:
            of_entry = encoder.relevancy(level.codebook.entries, prompt).float()
            images.append(torch.where(codes == NONE, of_entry.min(), of_entry[codes]))
        found[name] = torch.stack(images)
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
    field = _field_of(semantic_map)
    with torch.no_grad():
        view = rasterizer.render(semantic_map.gaussians, camera, world_from_camera, field.features[level])
    return decoded_codes(field, level, view.features, view.alpha)


def _field_of(semantic_map: SemanticMap) -> SemanticField:
    if semantic_map.field is None:
        raise MapError("the map has no distilled field; build it with --set field.lifter=distillation")
    return semantic_map.field
