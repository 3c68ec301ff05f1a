# SPDX-License-Identifier: Apache-2.0
"""LERF-OVS, the labels that LangSplat publishes for four scenes of LERF.

ROOT/<scene>/images/frame_00041.jpg
ROOT/<scene>/sparse/0/                 COLMAP, or ROOT/<scene>/transforms.json
ROOT/label/<scene>/frame_00041.json    {"info": {"name", "width", "height"}, "objects": [{"category",
                                       "segmentation": [[x, y], ...], "bbox": [x, y, x, y]}, ...]}
ROOT/label/<scene>/frame_00041.jpg     the labelled image again; not read
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.storage.cameras import PosedCamera, read_json
from ccl_lgs_ros.storage.datasets.scene_cameras import camera_at, cameras_of_scene
from ccl_lgs_ros.storage.evaluation_set import LabelledView
from ccl_lgs_ros.storage.polygons import mask_of_polygons


def lerf_ovs_scenes(root: Path) -> tuple[str, ...]:
    """The labelled scenes.

    Raises:
        EvaluationError: if the folder is missing or has another layout.
    """
    if not root.is_dir():
        raise EvaluationError(f"there is no folder {root}; give the unpacked lerf_ovs folder")
    scenes = tuple(sorted(path.name for path in root.glob("label/*") if any(path.glob("*.json"))))
    if not scenes:
        raise EvaluationError(f"{root} has no label/<scene>/*.json; give the folder lerf_ovs, which holds label")
    return scenes


def read_lerf_ovs(root: Path, scene: str) -> list[LabelledView]:
    """The labelled views of a scene.

    Raises:
        EvaluationError: naming the file, what is wrong with it and what it should hold.
    """
    if scene not in lerf_ovs_scenes(root):
        raise EvaluationError(f"{root / 'label'} has no scene {scene}; it has {', '.join(lerf_ovs_scenes(root))}")
    if not (root / scene).is_dir():
        raise EvaluationError(f"{root} has labels of {scene} but no folder {scene} with its cameras; unpack it there")
    cameras = cameras_of_scene(root / scene)
    return [_view(path, cameras) for path in sorted((root / "label" / scene).glob("*.json"))]


def _view(label: Path, cameras: dict[str, PosedCamera]) -> LabelledView:
    content = read_json(label)
    try:
        info = content["info"]
        stem, width, height = Path(str(info.get("name", label.stem))).stem, int(info["width"]), int(info["height"])
        objects = [_object(entry) for entry in content["objects"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EvaluationError(
            f"{label} must hold info (name, width, height) and objects (category, segmentation [[x, y], ...]): "
            f"{error!r}"
        ) from error
    posed = camera_at(cameras, stem, width, height, label)
    masks, boxes = {}, {}
    for category in dict.fromkeys(name for name, _, _ in objects):
        of_category = [(polygon, box) for name, polygon, box in objects if name == category]
        masks[category] = mask_of_polygons([polygon for polygon, _ in of_category], height, width)
        boxes[category] = np.stack([box for _, box in of_category])
    return LabelledView(
        stem=stem, camera=posed.camera, world_from_camera=posed.world_from_camera, masks=masks, boxes=boxes
    )


def _object(entry: Mapping[str, Any]) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    """The category, its polygon [n, 2] and its box [4] of two corners."""
    polygon = np.trunc(np.asarray(entry["segmentation"], dtype=np.float64))  # as LangSplat rasterises it
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) == 0:
        raise ValueError(f"the segmentation of {entry['category']!r} is no list of [x, y] points")
    box = np.asarray(entry.get("bbox", [*polygon.min(0), *polygon.max(0)]), dtype=np.float64).reshape(-1)
    if box.shape != (4,):
        raise ValueError(f"the bbox of {entry['category']!r} is not [x, y, x, y]")
    return str(entry["category"]), polygon, box
