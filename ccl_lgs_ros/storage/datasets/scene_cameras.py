# SPDX-License-Identifier: Apache-2.0
"""The cameras of a scene folder, whichever common layout it has."""

from pathlib import Path

from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.storage.cameras import PosedCamera, read_cameras
from ccl_lgs_ros.storage.datasets.colmap import find_model, read_colmap

SAME_SHAPE = 0.01  # relative difference of width over height at which an image is no resized version of another


def cameras_of_scene(scene: Path) -> dict[str, PosedCamera]:
    """The cameras by the stem of their image, from COLMAP's sparse/0 or from nerfstudio's transforms.json.

    Raises:
        EvaluationError: if there is neither, or it cannot be read.
    """
    model = find_model(scene)
    if model is not None:
        return {image.stem: image for image in read_colmap(model)}
    if (scene / "transforms.json").is_file():
        return {camera.stem: camera for camera in read_cameras(scene)}
    raise EvaluationError(f"{scene} has no cameras; it must hold sparse/0 (COLMAP) or transforms.json (nerfstudio)")


def camera_at(cameras: dict[str, PosedCamera], stem: str, width: int, height: int, label: Path) -> PosedCamera:
    """The camera of an image at the size of its label.

    Raises:
        EvaluationError: if there is no such camera, or it has another shape.
    """
    if stem not in cameras:
        raise EvaluationError(f"no camera has the image {stem} that {label} labels; register it with COLMAP")
    found = cameras[stem]
    if abs(found.camera.width * height / (found.camera.height * width) - 1.0) > SAME_SHAPE:
        raise EvaluationError(
            f"{label} is {width}x{height}, but its camera is {found.camera.width}x{found.camera.height}; "
            "use the labels that were drawn on these images"
        )
    return PosedCamera(stem=stem, camera=found.camera.resized(width, height), world_from_camera=found.world_from_camera)
