# SPDX-License-Identifier: Apache-2.0
"""COLMAP's sparse models, binary and text: posed images without distortion, and sparse points.

Pixel centres are at (0.5, 0.5) and camera axes are optical, as inside. Layout: COLMAP's documentation, "Output Format".
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.geometry import invert_rigid, rigid, rotation_from_quat
from ccl_lgs_ros.storage.cameras import PosedCamera

# By number in binary files: the model's name, how many parameters it has, how many of the first are focal lengths.
MODELS = {
    0: ("SIMPLE_PINHOLE", 3, 1),
    1: ("PINHOLE", 4, 2),
    2: ("SIMPLE_RADIAL", 4, 1),
    3: ("RADIAL", 5, 1),
    4: ("OPENCV", 8, 2),
    5: ("OPENCV_FISHEYE", 8, 2),
    6: ("FULL_OPENCV", 12, 2),
    7: ("FOV", 5, 2),
    8: ("SIMPLE_RADIAL_FISHEYE", 4, 1),
    9: ("RADIAL_FISHEYE", 5, 1),
    10: ("THIN_PRISM_FISHEYE", 12, 2),
}
PINHOLE_IF_ZERO = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
FOLDERS = ("sparse/0", "sparse", ".")  # where a scene keeps its model

_COUNT = struct.Struct("<Q")
_CAMERA = struct.Struct("<iiQQ")  # id, model, width, height
_IMAGE = struct.Struct("<i7di")  # id, camera_from_world as quaternion wxyz and translation, camera id
_KEYPOINT_BYTES = 24  # x, y, id of the point
_POINT = struct.Struct("<Q3d3BdQ")  # id, x y z, red green blue, error, length of the track
_TRACK = struct.Struct("<ii")  # image id, index of the keypoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosedImage(PosedCamera):
    """A camera where it stood, with the path of its image below the folder of images and its number in the model."""

    name: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparsePoints:
    """The points of a model, and which images show them."""

    positions: NDArray[np.float64]  # [n, 3] in the model's units
    colours: NDArray[np.uint8]  # [n, 3] RGB
    image: NDArray[np.int64]  # [t] number of an image that shows ...
    point: NDArray[np.int64]  # [t] ... this row

    def seen_by(self, number: int) -> NDArray[np.float64]:
        """The positions [m, 3] of the points that an image shows."""
        return self.positions[self.point[self.image == number]]


def find_model(scene: Path) -> Path | None:
    """The folder of a scene's sparse model; None where there is none."""
    for folder in FOLDERS:
        for suffix in (".bin", ".txt"):
            if (scene / folder / f"images{suffix}").is_file():
                return scene / folder
    return None


def read_colmap(model: Path) -> list[PosedImage]:
    """The posed images of a sparse model, by name; binary files are preferred, as COLMAP does.

    Raises:
        EvaluationError: naming the file and what is wrong with it; distorted cameras are refused.
    """
    is_binary = (model / "images.bin").is_file()
    suffix = ".bin" if is_binary else ".txt"
    cameras_path, images_path = model / f"cameras{suffix}", model / f"images{suffix}"
    try:
        if is_binary:
            cameras = dict(_binary_cameras(cameras_path))
            images = list(_binary_images(images_path, cameras))
        else:
            cameras = dict(_text_cameras(cameras_path))
            images = list(_text_images(images_path, cameras))
    except (OSError, struct.error, ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{model} holds no readable COLMAP model ({error!r}); export it again") from error
    if not images:
        raise EvaluationError(f"{images_path} lists no images; reconstruct the scene again")
    return sorted(images, key=lambda image: image.name)


def read_points(model: Path) -> SparsePoints:
    """The sparse points; none where the model has no file of them.

    Raises:
        EvaluationError: if the file cannot be read.
    """
    rows: list[tuple[float, ...]] = []
    tracks: list[list[int]] = []
    try:
        if (model / "points3D.bin").is_file():
            rows, tracks = _unzipped(_binary_points(model / "points3D.bin"))
        elif (model / "points3D.txt").is_file():
            rows, tracks = _unzipped(_text_points(model / "points3D.txt"))
        table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    except (OSError, struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{model} holds no readable points3D ({error!r}); export it again") from error
    return SparsePoints(
        positions=table[:, :3],
        colours=table[:, 3:].astype(np.uint8),
        image=np.array([number for track in tracks for number in track], dtype=np.int64),
        point=np.repeat(np.arange(len(rows)), [len(track) for track in tracks]),
    )


def _unzipped(
    pairs: Iterator[tuple[tuple[float, ...], list[int]]],
) -> tuple[list[tuple[float, ...]], list[list[int]]]:
    both = list(pairs)
    return [row for row, _ in both], [track for _, track in both]


def _camera(model: str, width: int, height: int, params: tuple[float, ...], path: Path) -> Camera:
    num_focal = next((focal for name, _, focal in MODELS.values() if name == model), 0)
    if model not in PINHOLE_IF_ZERO or any(params[num_focal + 2 :]):
        raise EvaluationError(f"{path} has a {model} camera; undistort the images with: colmap image_undistorter")
    fx, fy = params[0], params[num_focal - 1]
    cx, cy = params[num_focal : num_focal + 2]
    return Camera(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy)


def _image(name: str, number: int, pose: tuple[float, ...], camera: Camera) -> PosedImage:
    camera_from_world = rigid(rotation_from_quat(np.array(pose[:4])), np.array(pose[4:7]))
    world_from_camera = invert_rigid(camera_from_world)
    return PosedImage(
        stem=Path(name).stem, camera=camera, world_from_camera=world_from_camera, name=name, number=number
    )


def _binary_cameras(path: Path) -> Iterator[tuple[int, Camera]]:
    data = path.read_bytes()
    (count,), offset = _COUNT.unpack_from(data), _COUNT.size
    for _ in range(count):
        number, model, width, height = _CAMERA.unpack_from(data, offset)
        name, num_params, _ = MODELS[model]
        params = struct.unpack_from(f"<{num_params}d", data, offset + _CAMERA.size)
        yield number, _camera(name, width, height, params, path)
        offset += _CAMERA.size + 8 * num_params


def _binary_images(path: Path, cameras: dict[int, Camera]) -> Iterator[PosedImage]:
    data = path.read_bytes()
    (count,), offset = _COUNT.unpack_from(data), _COUNT.size
    for _ in range(count):
        number, *pose, camera = _IMAGE.unpack_from(data, offset)
        start = offset + _IMAGE.size
        end = data.index(b"\0", start)
        (num_keypoints,) = _COUNT.unpack_from(data, end + 1)
        yield _image(data[start:end].decode(), number, tuple(pose), cameras[camera])
        offset = end + 1 + _COUNT.size + _KEYPOINT_BYTES * num_keypoints


def _binary_points(path: Path) -> Iterator[tuple[tuple[float, ...], list[int]]]:
    data = path.read_bytes()
    (count,), offset = _COUNT.unpack_from(data), _COUNT.size
    for _ in range(count):
        _, *place_and_colour, _, length = _POINT.unpack_from(data, offset)
        offset += _POINT.size
        end = offset + _TRACK.size * length
        yield tuple(place_and_colour), [number for number, _ in _TRACK.iter_unpack(data[offset:end])]
        offset = end


def _text_points(path: Path) -> Iterator[tuple[tuple[float, ...], list[int]]]:
    for line in _lines(path):
        if line.strip():
            numbers = line.split()
            yield tuple(map(float, numbers[1:7])), [int(number) for number in numbers[8::2]]


def _lines(path: Path) -> list[str]:
    """The lines that are no comment; empty ones stay, for they mean an image without keypoints."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def _text_cameras(path: Path) -> Iterator[tuple[int, Camera]]:
    for line in _lines(path):
        if line.strip():
            number, model, width, height, *params = line.split()
            yield int(number), _camera(model, int(width), int(height), tuple(map(float, params)), path)


def _text_images(path: Path, cameras: dict[int, Camera]) -> Iterator[PosedImage]:
    for line in _lines(path)[::2]:  # every second line lists keypoints
        if line.strip():
            number, *pose, camera, name = line.split(maxsplit=9)
            yield _image(name, int(number), tuple(map(float, pose)), cameras[int(camera)])
