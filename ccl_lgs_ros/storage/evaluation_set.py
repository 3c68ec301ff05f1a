# SPDX-License-Identifier: Apache-2.0
"""Evaluation sets: posed views with labelled polygons (LERF-OVS layout), absent prompts, 3D ground truth.

    SET/transforms.json     cameras and poses in the map's frame (nerfstudio layout); `camera_convention` is
                            "opengl" (default) or "opencv"
    SET/labels/<stem>.json  {"info": {"name", "width", "height"},
                             "objects": [{"category", "segmentation": [[x, y], ...]}, ...]}
    SET/absent.txt          optional: prompts that name nothing in the scene, one a line
    SET/objects.json        optional: {"objects": [{"id", "category", "kind", "centroid", "box": {"center", "size",
                            "quaternion_xyzw"}}]}, metres in the map's frame
    SET/surface.ply         optional: points on the surfaces of the objects and on what is around them, each with the
                            id of the object that it lies on, 0 for none

A polygon's vertices count pixels from 0 at the centre of the first; a frame may name a `depth_file_path`, a 16-bit PNG
of millimetres with the true depth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.geometry import rotation_from_quat
from ccl_lgs_ros.storage.cameras import camera_convention, camera_of, frames_of, pose_of, read_json, read_text
from ccl_lgs_ros.storage.labelled_points import LabelledPoints, read_labelled_points
from ccl_lgs_ros.storage.polygons import mask_of_polygons

SAME_SHAPE = 0.01  # relative difference of width over height at which an image is no resized version of another


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledView:
    """A camera with what can be seen from it."""

    stem: str
    camera: Camera
    world_from_camera: NDArray[np.float64]  # [4, 4], optical frame
    masks: Mapping[str, NDArray[np.bool_]]  # by category, [H, W]
    boxes: Mapping[str, NDArray[np.float64]]  # by category, [n, 4] left, top, right, bottom of each polygon, pixels
    depth: NDArray[np.float32] | None = None  # [H, W] metres, NaN unknown
    image_path: Path | None = None  # the photo, where there is one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ObjectTruth:
    """An object as it really is."""

    id: int
    category: str
    kind: str
    centroid: NDArray[np.float64]  # [3] metres
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationSet:
    """Everything that a map is scored against."""

    views: tuple[LabelledView, ...]
    absent: tuple[str, ...] = ()
    objects: tuple[ObjectTruth, ...] = ()
    surface: LabelledPoints | None = None

    @property
    def categories(self) -> tuple[str, ...]:
        """Every labelled prompt, each once."""
        return tuple(dict.fromkeys(category for view in self.views for category in view.masks))


def read_evaluation_set(path: Path | str) -> EvaluationSet:
    """The evaluation set in a folder.

    Raises:
        EvaluationError: naming the file, what is wrong with it and what it should hold.
    """
    root = Path(path)
    if not root.is_dir():
        raise EvaluationError(f"there is no evaluation set at {root}; give the folder that holds transforms.json")
    source = root / "transforms.json"
    transforms = read_json(source)
    convention = camera_convention(source, transforms)
    frames = frames_of(source, transforms)
    labels = sorted((root / "labels").glob("*.json"))
    if not labels:
        raise EvaluationError(f"{root / 'labels'} holds no <stem>.json; label at least one image")
    missing = [label.stem for label in labels if label.stem not in frames]
    if missing:
        raise EvaluationError(f"{source} has no frame for the label {missing[0]}.json; add its pose")
    views = tuple(_view(root, transforms, frames[label.stem], label, convention) for label in labels)
    surface = read_labelled_points(root / "surface.ply") if (root / "surface.ply").exists() else None
    return EvaluationSet(views=views, absent=_absent(root), objects=_objects(root), surface=surface)


def _view(
    root: Path, transforms: Mapping[str, Any], frame: Mapping[str, Any], label: Path, convention: str
) -> LabelledView:
    content = read_json(label)
    try:
        width, height = int(content["info"]["width"]), int(content["info"]["height"])
        objects = [(str(o["category"]), np.asarray(o["segmentation"], dtype=np.float64)) for o in content["objects"]]
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(
            f"{label} must hold info (name, width, height) and objects (category, segmentation [[x, y], ...]): "
            f"{error!r}"
        ) from error
    camera = _camera_of_label(camera_of(root / "transforms.json", {**transforms, **frame}), width, height, label)
    masks, boxes = {}, {}
    for category in dict.fromkeys(name for name, _ in objects):
        polygons = [polygon for name, polygon in objects if name == category]
        if any(polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) == 0 for polygon in polygons):
            raise EvaluationError(f"{label}: a segmentation of {category!r} is no list of [x, y] points; draw it again")
        masks[category] = mask_of_polygons(polygons, height, width)
        boxes[category] = np.array([[*polygon.min(0), *polygon.max(0)] for polygon in polygons])
    return LabelledView(
        stem=label.stem,
        camera=camera,
        world_from_camera=pose_of(root / "transforms.json", frame, convention),
        masks=masks,
        boxes=boxes,
        depth=_depth(root, frame, camera),
        image_path=image if (image := root / str(frame["file_path"])).is_file() else None,
    )


def _camera_of_label(camera: Camera, width: int, height: int, label: Path) -> Camera:
    """The camera at the size at which the label was drawn."""
    if abs(camera.width * height / (camera.height * width) - 1.0) > SAME_SHAPE:
        raise EvaluationError(
            f"{label} is {width}x{height}, but its camera is {camera.width}x{camera.height}; label the whole image"
        )
    return camera.resized(width, height)


def _depth(root: Path, frame: Mapping[str, Any], camera: Camera) -> NDArray[np.float32] | None:
    if "depth_file_path" not in frame:
        return None
    path = root / str(frame["depth_file_path"])
    depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if depth is None or depth.dtype != np.uint16 or depth.shape != (camera.height, camera.width):
        raise EvaluationError(f"{path} must be a 16-bit PNG of millimetres, {camera.width}x{camera.height}, or unnamed")
    return np.where(depth > 0, depth * 1e-3, np.nan).astype(np.float32)


def _absent(root: Path) -> tuple[str, ...]:
    path = root / "absent.txt"
    lines = read_text(path).splitlines() if path.exists() else []
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _objects(root: Path) -> tuple[ObjectTruth, ...]:
    path = root / "objects.json"
    if not path.exists():
        return ()
    try:
        return tuple(_object(entry) for entry in read_json(path)["objects"])
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(
            f"{path} must list objects with id, category, centroid and box (center, size, quaternion_xyzw): {error!r}"
        ) from error


def _object(entry: Mapping[str, Any]) -> ObjectTruth:
    box = entry["box"]
    numbers = [np.asarray(value, dtype=np.float64) for value in (entry["centroid"], box["center"], box["size"])]
    if any(value.shape != (3,) or not np.isfinite(value).all() for value in numbers):
        raise ValueError("centroid, center and size must be 3 finite numbers")
    rotation = rotation_from_quat(np.roll(np.asarray(box["quaternion_xyzw"], dtype=np.float64), 1))
    return ObjectTruth(
        id=int(entry["id"]),
        category=str(entry["category"]),
        kind=str(entry.get("kind", "")),
        centroid=numbers[0],
        box=Box(center=numbers[1], rotation=rotation, size=numbers[2]),
    )
