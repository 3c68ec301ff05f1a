# SPDX-License-Identifier: Apache-2.0
"""A folder of posed images as keyframes: COLMAP's sparse/0 beside images/, or nerfstudio's transforms.json. No torch.

COLMAP has no depth, so each keyframe gets that of the sparse points which its image shows, at their pixels; and no
scale, so its units are taken for metres. nerfstudio's depth images count millimetres.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.storage.cameras import PosedCamera, camera_convention, camera_of, frames_of, pose_of, read_json
from ccl_lgs_ros.storage.datasets.colmap import find_model, read_colmap, read_points
from ccl_lgs_ros.storage.datasets.scene_cameras import SAME_SHAPE

STEP_NS = 1_000_000_000  # images have no stamps: they get one a second, in the order of their names
MILLIMETRES = np.float32(1000.0)  # per metre


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneImage:
    """A posed image on disk and where its depth comes from."""

    path: Path
    posed: PosedCamera
    depth_path: Path | None = None  # 16-bit PNG of millimetres
    points: NDArray[np.float64] | None = None  # [m, 3] world, seen in the image


def is_scene(path: Path) -> bool:
    """Whether a folder holds posed images."""
    return path.is_dir() and (find_model(path) is not None or (path / "transforms.json").is_file())


class SceneImages:
    """The posed images of a folder as a KeyframeSource, in the order of their names.

    Args:
        max_image_size: pixels; longer images are scaled down.

    Raises:
        EvaluationError: if the cameras cannot be read or an image is missing, naming it.
    """

    def __init__(self, scene: Path, *, max_image_size: int = 1280) -> None:
        self.path, self._max_size = scene, max_image_size
        model = find_model(scene)
        self._images = _colmap_images(scene, model) if model is not None else _nerfstudio_images(scene)
        missing = [image.path for image in self._images if not image.path.is_file()]
        if missing:
            count = f"{len(missing)} of {len(self._images)}"
            raise EvaluationError(f"{missing[0]} is missing ({count} images are); unpack them beside the cameras")

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int, /) -> Keyframe:
        source = self._images[index]
        loaded = cv2.imread(str(source.path), cv2.IMREAD_COLOR)
        if loaded is None:
            raise EvaluationError(f"{source.path} is no readable image; get it again")
        camera = self._camera(source, loaded.shape[1], loaded.shape[0])
        size = (camera.width, camera.height)
        image = np.asarray(cv2.resize(loaded, size, interpolation=cv2.INTER_AREA)[..., ::-1], dtype=np.uint8)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return Keyframe(
            id=index,
            stamp_ns=(index + 1) * STEP_NS,
            camera=camera,
            world_from_camera=source.posed.world_from_camera,
            image=np.ascontiguousarray(image),
            depth=_depth(source, camera),
            sharpness=float(cv2.Laplacian(grey, cv2.CV_32F).var()),
        )

    def _camera(self, source: SceneImage, width: int, height: int) -> Camera:
        """The camera of the image as it is stored, scaled down to the largest size."""
        camera = source.posed.camera
        if abs(camera.width * height / (camera.height * width) - 1.0) > SAME_SHAPE:
            raise EvaluationError(
                f"{source.path} is {width}x{height}, but its camera is {camera.width}x{camera.height}; "
                "give the images that were reconstructed"
            )
        scale = min(1.0, self._max_size / max(width, height))
        return camera.resized(max(1, round(width * scale)), max(1, round(height * scale)))


def _colmap_images(scene: Path, model: Path) -> list[SceneImage]:
    points = read_points(model)
    return [
        SceneImage(path=scene / "images" / image.name, posed=image, points=points.seen_by(image.number))
        for image in read_colmap(model)
    ]


def _nerfstudio_images(scene: Path) -> list[SceneImage]:
    source = scene / "transforms.json"
    transforms = read_json(source)
    convention = camera_convention(source, transforms)
    images = []
    for stem, frame in frames_of(source, transforms).items():
        camera, pose = camera_of(source, {**transforms, **frame}), pose_of(source, frame, convention)
        posed = PosedCamera(stem=stem, camera=camera, world_from_camera=pose)
        depth = scene / str(frame["depth_file_path"]) if "depth_file_path" in frame else None
        images.append(SceneImage(path=scene / str(frame["file_path"]), posed=posed, depth_path=depth))
    return sorted(images, key=lambda image: image.path)


def _depth(source: SceneImage, camera: Camera) -> NDArray[np.float32] | None:
    if source.depth_path is not None:
        stored = cv2.imread(str(source.depth_path), cv2.IMREAD_UNCHANGED)
        if stored is None or stored.dtype != np.uint16 or stored.ndim != 2:
            raise EvaluationError(f"{source.depth_path} must be a 16-bit PNG of millimetres, or not be named")
        size = (camera.width, camera.height)
        metres = cv2.resize(stored, size, interpolation=cv2.INTER_NEAREST).astype(np.float32) / MILLIMETRES
        return np.where(metres > 0, metres, np.nan).astype(np.float32)
    if source.points is None or not len(source.points):
        return None
    return sparse_depth(transform_points(invert_rigid(source.posed.world_from_camera), source.points), camera)


def sparse_depth(points: NDArray[np.floating], camera: Camera) -> NDArray[np.float32]:
    """The depth [H, W] of points [m, 3] in the camera's frame at the pixels that they fall into, the nearest of
    several; NaN elsewhere."""
    pixels = np.nan_to_num(np.floor(camera.project(points)), nan=-1.0)
    u, v = pixels.T
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    depth = np.full(camera.width * camera.height, np.inf, dtype=np.float32)
    target = (v[inside] * camera.width + u[inside]).astype(np.int64)
    np.minimum.at(depth, target, points[inside, 2].astype(np.float32))
    depth[np.isinf(depth)] = np.nan
    return depth.reshape(camera.height, camera.width)
