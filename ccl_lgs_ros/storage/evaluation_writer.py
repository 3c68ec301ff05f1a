# SPDX-License-Identifier: Apache-2.0
"""Writes evaluation sets in the layout that evaluation_set.py describes, with images for people to look at."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.geometry import OPTICAL_FROM_OPENGL, quat_from_rotation
from ccl_lgs_ros.storage.evaluation_set import LabelledView, ObjectTruth
from ccl_lgs_ros.storage.labelled_points import LabelledPoints, write_labelled_points
from ccl_lgs_ros.storage.polygons import polygons_of_mask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewToWrite:
    """A labelled view with its picture."""

    view: LabelledView
    image: NDArray[np.uint8]  # [H, W, 3] RGB
    stamp_ns: int | None = None  # when a recording shows it; None for viewpoints beside the recording


def write_evaluation_set(
    path: Path | str,
    views: Iterable[ViewToWrite],
    absent: Iterable[str],
    objects: Iterable[ObjectTruth],
    surface: LabelledPoints | None = None,
) -> None:
    """Write a new evaluation set.

    Raises:
        EvaluationError: if something is already at the path.
    """
    root = Path(path)
    if root.exists():
        raise EvaluationError(f"{root} exists already; remove it or write the evaluation set elsewhere")
    for folder in ("images", "labels", "depth"):
        (root / folder).mkdir(parents=True)
    frames = [_write_view(root, item) for item in views]
    content = {"camera_model": "OPENCV", "camera_convention": "opengl", "frames": frames}
    _write_json(root / "transforms.json", content)
    (root / "absent.txt").write_text("".join(f"{prompt}\n" for prompt in absent), encoding="utf-8")
    _write_json(root / "objects.json", {"objects": [_object(item) for item in objects]})
    if surface is not None:
        write_labelled_points(root / "surface.ply", surface)


def _write_view(root: Path, item: ViewToWrite) -> dict[str, Any]:
    view, camera = item.view, item.view.camera
    cv2.imwrite(str(root / "images" / f"{view.stem}.png"), item.image[..., ::-1])
    objects = [
        {"category": category, "segmentation": polygon.tolist()}
        for category, mask in view.masks.items()
        for polygon in polygons_of_mask(mask)
    ]
    info = {"name": f"{view.stem}.png", "width": camera.width, "height": camera.height}
    _write_json(root / "labels" / f"{view.stem}.json", {"info": info, "objects": objects})
    frame: dict[str, Any] = {
        "file_path": f"images/{view.stem}.png",
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "transform_matrix": (view.world_from_camera @ OPTICAL_FROM_OPENGL).tolist(),
    }
    if view.depth is not None:
        millimetres = np.clip(np.round(np.nan_to_num(view.depth) * 1000.0), 0, 65535).astype(np.uint16)
        cv2.imwrite(str(root / "depth" / f"{view.stem}.png"), millimetres)
        frame["depth_file_path"] = f"depth/{view.stem}.png"
    if item.stamp_ns is not None:
        frame["stamp_ns"] = item.stamp_ns
    return frame


def _object(item: ObjectTruth) -> dict[str, Any]:
    quat = np.roll(quat_from_rotation(item.box.rotation), -1)
    box = {"center": item.box.center.tolist(), "size": item.box.size.tolist(), "quaternion_xyzw": quat.tolist()}
    return {
        "id": item.id,
        "category": item.category,
        "kind": item.kind,
        "centroid": item.centroid.tolist(),
        "box": box,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
