# SPDX-License-Identifier: Apache-2.0
"""An answer as the distilled field sees it: features blended into a view, decoded to codes, looked up. 2D only."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.field.decoder import decoded_codes
from ccl_lgs_ros.protocols import Encoder, Rasterizer
from ccl_lgs_ros.structures import NONE, SemanticMap


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
    field = semantic_map.field
    if field is None:
        raise MapError("the map has no distilled field; build it with --set field.lifter=distillation")
    nothing = torch.zeros(camera.height, camera.width)
    if not found.level or not found.prompt.is_understood:
        return nothing.bool(), nothing
    features = field.features[found.level]
    with torch.no_grad():
        view = rasterizer.render(semantic_map.gaussians, camera, world_from_camera, features)
    codes = decoded_codes(field, found.level, view.features, view.alpha)
    of_entry = encoder.relevancy(semantic_map.levels[found.level].codebook.entries, found.prompt)
    relevancy = torch.where(codes == NONE, 0.0, of_entry[codes.long()].to(nothing))
    return (codes != NONE) & (relevancy >= found.threshold), relevancy
