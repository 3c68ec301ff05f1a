# SPDX-License-Identifier: Apache-2.0
"""Views of a map as image files, one set per camera of a transforms.json."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.field_view import seen_by
from ccl_lgs_ros.pictures import rendered_color
from ccl_lgs_ros.pipeline import create_encoder, query_map
from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.storage.cameras import PosedCamera, read_cameras
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load
from ccl_lgs_ros.uncertainty_view import doubted_level, uncertainty_picture, uncertainty_view

MAX_MILLIMETRES = 65535


def write_views(
    map_path: Path,
    transforms: Path,
    output: Path,
    config: MapConfig,
    prompt: str | None = None,
    progress: Progress = no_progress,
    *,
    uncertainty: bool = False,
) -> int:
    """Render a map from every camera of a transforms.json; returns how many.

    Raises:
        MapError: if the map cannot be read, has no uncertainty to show, or the images cannot be written.
        EvaluationError: if the cameras cannot be read.
    """
    semantic_map = load(MapDirectory.open(map_path))
    cameras = read_cameras(transforms)
    doubted = doubted_level(semantic_map) if uncertainty else ""
    rasterizer, _ = configured_part("rasterizer", config)
    encoder = create_encoder(semantic_map, config) if prompt is not None else None
    found = query_map(semantic_map, prompt, config, encoder) if prompt is not None else None
    output.mkdir(parents=True, exist_ok=True)
    for index, posed in enumerate(cameras):
        rendering = rasterizer.render(semantic_map.gaussians, posed.camera, posed.world_from_camera)
        millimetres = (rendering.depth.numpy() * 1000.0).round().clip(0, MAX_MILLIMETRES).astype(np.uint16)
        color = cv2.cvtColor(rendered_color(rendering.color.numpy()), cv2.COLOR_RGB2BGR)
        _write(output / f"{posed.stem}.rgb.png", color)
        _write(output / f"{posed.stem}.depth.png", millimetres)
        if found is not None and encoder is not None:
            drawn_with = encoder, rasterizer, posed.camera, posed.world_from_camera
            mask, relevancy = seen_by(config.query.view, semantic_map, found, *drawn_with)
            _write(output / f"{posed.stem}.relevancy.png", (relevancy.numpy() * 255).round().astype(np.uint8))
            _write(output / f"{posed.stem}.mask.png", mask.numpy().astype(np.uint8) * 255)
        if doubted:
            seen_from = posed.camera, posed.world_from_camera
            picture = uncertainty_picture(
                _photo(posed, color), *uncertainty_view(semantic_map, doubted, rasterizer, *seen_from)
            )
            _write(output / f"{posed.stem}.uncertainty.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        progress("render", index + 1, len(cameras))
    return len(cameras)


def _photo(posed: PosedCamera, rendered: NDArray) -> NDArray:
    """The photo of a camera at its size, RGB; what was rendered (BGR) where the photo is missing."""
    image = cv2.imread(str(posed.image)) if posed.image is not None and posed.image.is_file() else None
    image = rendered if image is None else cv2.resize(image, rendered.shape[1::-1], interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _write(path: Path, image: NDArray) -> None:
    if not cv2.imwrite(str(path), image):
        raise MapError(f"cannot write {path}; check the folder's permissions and the disk")
