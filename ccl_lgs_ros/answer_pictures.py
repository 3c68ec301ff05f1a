# SPDX-License-Identifier: Apache-2.0
"""Pictures of answers: the view that shows them best."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ccl_lgs_ros.answer_views import answer_view
from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.asking import create_encoder
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.pictures import Image, beside, captioned, heat, rendered_color, with_box, with_mask
from ccl_lgs_ros.protocols import KeyframeSource
from ccl_lgs_ros.structures import SemanticMap

VIEWS_TRIED = 24  # keyframes, evenly spread, among which the best view is looked for
TRIED_WIDTH = 160  # pixels; enough to see which view shows most of an instance
SHOWN_WIDTH = 640


def best_view_picture(semantic_map: SemanticMap, found: Answer, keyframes: KeyframeSource, config: MapConfig) -> Image:
    """The keyframe that shows the answer best: the photo with mask, boxes and scores beside the heat over the map.

    Raises:
        MapError: if the map has no keyframes to show.
    """
    if not len(keyframes):
        raise MapError("the map holds no keyframes, so there is no view to show; map the recording again")
    encoder = create_encoder(semantic_map, config)
    rasterizer, _ = configured_part("rasterizer", config)
    shown = keyframes[_best_view(semantic_map, found, keyframes, encoder, rasterizer)]
    width = min(SHOWN_WIDTH, shown.camera.width)
    camera = shown.camera.resized(width, round(shown.camera.height * width / shown.camera.width))
    photo = cv2.resize(shown.image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    mask, relevancy = answer_view(semantic_map, found, encoder, rasterizer, camera, shown.world_from_camera)
    rendering = rasterizer.render(semantic_map.gaussians, camera, shown.world_from_camera)
    marked = with_mask(photo, mask.numpy()) if found.instances else photo
    for item in found.instances:
        marked = with_box(marked, item.box, camera, shown.world_from_camera, f"{item.score:.2f}")
    caption = f'"{found.prompt.text}": {found.message}'
    return beside(
        captioned(marked, caption),
        captioned(heat(relevancy.numpy(), rendered_color(rendering.color.numpy())), "relevancy over the map"),
    )


def _best_view(
    semantic_map: SemanticMap, found: Answer, keyframes: KeyframeSource, encoder: Any, rasterizer: Any
) -> int:
    """The position of the keyframe in which most pixels belong to the answer."""
    tried = np.unique(np.linspace(0, len(keyframes) - 1, VIEWS_TRIED).round().astype(int))
    if not found.instances:
        return int(tried[len(tried) // 2])

    def seen(index: int) -> int:
        view: Keyframe = keyframes[index]
        height = round(view.camera.height * TRIED_WIDTH / view.camera.width)
        camera = view.camera.resized(TRIED_WIDTH, height)
        mask, _ = answer_view(semantic_map, found, encoder, rasterizer, camera, view.world_from_camera)
        return int(mask[2:-2, 2:-2].sum())

    return max((int(i) for i in tried), key=seen)


def write_picture(path: Path, image: Image) -> None:
    """Write an image where its folder may not exist yet.

    Raises:
        MapError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise MapError(f"cannot write a picture as '{path}'; end its name in .png or .jpg")
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise MapError(f"cannot write {path}; check the folder's permissions and the disk")
