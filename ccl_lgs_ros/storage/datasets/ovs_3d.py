# SPDX-License-Identifier: Apache-2.0
"""3D-OVS, ten scenes with a closed list of classes and a mask per class in some views.

ROOT/<scene>/images/                       any names; in their order they have the numbers 00, 01, ...
ROOT/<scene>/sparse/0/                     COLMAP, or ROOT/<scene>/transforms.json
ROOT/<scene>/segmentations/classes.txt     a class a line
ROOT/<scene>/segmentations/00/<class>.png  white where the class is, of any size of the image's shape

Some releases name the folders of masks like the images themselves; both are read.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.storage.cameras import PosedCamera, read_text
from ccl_lgs_ros.storage.datasets.scene_cameras import camera_at, cameras_of_scene
from ccl_lgs_ros.storage.evaluation_set import LabelledView

MAX_WIDTH = 1600  # pixels at which wider images are scored, as 3DGS programs load them
WHITE = 127  # grey value above which a pixel is the class


def ovs_3d_scenes(root: Path) -> tuple[str, ...]:
    """The labelled scenes.

    Raises:
        EvaluationError: if the folder is missing or has another layout.
    """
    if not root.is_dir():
        raise EvaluationError(f"there is no folder {root}; give the unpacked folder of 3D-OVS scenes")
    scenes = tuple(sorted(path.parent.parent.name for path in root.glob("*/segmentations/classes.txt")))
    if not scenes:
        raise EvaluationError(f"{root} has no <scene>/segmentations/classes.txt; give the folder that holds the scenes")
    return scenes


def read_3d_ovs(root: Path, scene: str) -> tuple[list[LabelledView], list[str]]:
    """The labelled views of a scene, and its classes in their order.

    Raises:
        EvaluationError: naming the file, what is wrong with it and what it should hold.
    """
    if scene not in ovs_3d_scenes(root):
        raise EvaluationError(
            f"{root} has no scene {scene} with segmentations; it has {', '.join(ovs_3d_scenes(root))}"
        )
    folder = root / scene / "segmentations"
    lines = (line.strip() for line in read_text(folder / "classes.txt").splitlines())
    classes = list(dict.fromkeys(line for line in lines if line))
    if not classes:
        raise EvaluationError(f"{folder / 'classes.txt'} is empty; it must name a class a line")
    views = sorted(path for path in folder.iterdir() if path.is_dir())
    if not views:
        raise EvaluationError(f"{folder} labels no view; it must hold folders such as 00, named like images")
    cameras = cameras_of_scene(root / scene)
    names = _image_names(root / scene, cameras)
    return [_view(path, classes, cameras, names) for path in views], classes


def _image_names(scene: Path, cameras: dict[str, PosedCamera]) -> list[str]:
    """The stems of the images in the order that numbers them."""
    images = sorted(path.stem for path in (scene / "images").glob("*") if path.is_file())
    return images or sorted(cameras)


def _view(folder: Path, classes: list[str], cameras: dict[str, PosedCamera], names: list[str]) -> LabelledView:
    stem = folder.name
    if stem not in cameras and stem.isdigit() and int(stem) < len(names):
        stem = names[int(stem)]
    found = {name: _mask(folder / f"{name}.png") for name in classes}
    height, width = next(iter(found.values())).shape
    camera_at(cameras, stem, width, height, folder)  # the labels must be of this image
    camera = _scored(cameras[stem].camera)
    masks = {name: _resized(mask, camera.width, camera.height) for name, mask in found.items()}
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    return LabelledView(
        stem=stem,
        camera=camera,
        world_from_camera=cameras[stem].world_from_camera,
        masks=masks,
        boxes={name: _bounds(mask) for name, mask in masks.items()},
    )


def _scored(camera: Camera) -> Camera:
    if camera.width <= MAX_WIDTH:
        return camera
    return camera.resized(MAX_WIDTH, round(camera.height * MAX_WIDTH / camera.width))


def _mask(path: Path) -> NDArray[np.bool_]:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if image is None:
        raise EvaluationError(f"{path} is missing or no image; every class of classes.txt needs one in every view")
    return np.asarray(image) > WHITE


def _resized(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    size = (width, height)
    return np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)).astype(bool)


def _bounds(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows, columns = np.nonzero(mask)
    return np.array([[columns.min(), rows.min(), columns.max(), rows.max()]], dtype=np.float64)
