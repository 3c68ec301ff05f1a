# SPDX-License-Identifier: Apache-2.0
"""Lens distortion, region of interest, binning and size: from a camera_info to one undistorted pinhole camera.

OpenCV and ROS put the centre of the top-left pixel at (0, 0), our cameras at (0.5, 0.5). A `Lens` holds ROS's numbers,
a `Camera` ours; the half pixel is added in `Rectifier`, nowhere else. Scaling is done on ours, where it is exact.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.records import CameraInfoRecord

HALF_PIXEL = 0.5
MIN_FOCAL, MAX_PIXEL = 0.1, 1e6  # pixels; of focal length and principal point
MAX_COEFFICIENT = 1e6  # of a distortion
FISHEYE = "equidistant"
# Names of distortion models -> how many coefficients OpenCV takes for them.
_COEFFICIENTS = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    FISHEYE: (4,),
    "fisheye": (4,),  # what some drivers call equidistant
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """Intrinsics with distortion; the centre of the top-left pixel is (0, 0), as in ROS and OpenCV."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    is_fisheye: bool = False
    distortion: tuple[float, ...] = ()  # empty: none

    @property
    def matrix(self) -> NDArray[np.float64]:
        """K [3, 3]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> "Lens":
        """The lens of the same image at another size."""
        sx, sy = width / self.width, height / self.height
        return Lens(
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + HALF_PIXEL) * sx - HALF_PIXEL,
            cy=(self.cy + HALF_PIXEL) * sy - HALF_PIXEL,
            is_fisheye=self.is_fisheye,
            distortion=self.distortion,
        )

    def rays(self) -> NDArray[np.float32]:
        """x/z and y/z [H, W, 2] of what each pixel's centre sees."""
        v, u = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        if not self.distortion:
            return np.stack([(u - self.cx) / self.fx, (v - self.cy) / self.fy], axis=-1).astype(np.float32)
        pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
        undistort = cv2.fisheye.undistortPoints if self.is_fisheye else cv2.undistortPoints
        rays = np.asarray(undistort(pixels, self.matrix, np.array(self.distortion)), dtype=np.float32)
        return rays.reshape(self.height, self.width, 2)


def lens_of(info: CameraInfoRecord, *, is_rectified: bool, size: tuple[int, int]) -> Lens:
    """The lens of an image of this size (width, height).

    Images that the sender rectified are described by P alone, as REP-104 and image_proc have it; R, which is not the
    identity for stereo pairs only, is left out. Binning averages pixels, so it scales about the image's corner.

    Raises:
        DecodeError: if the intrinsics are zero, the model is unknown or the size is another camera's.
    """
    name = info.frame_id or info.camera_name or "the camera"
    k = np.array(info.k).reshape(3, 3)
    p = np.array(info.p).reshape(3, 4)
    matrix = p[:, :3] if is_rectified and p[0, 0] > 0 else k
    if not (np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise DecodeError(
            f"the camera_info of '{name}' has no focal length (K = {tuple(info.k)}); calibrate the camera or "
            "let its driver publish the calibration"
        )
    _check_plausible(name, matrix, info.d)
    expected = info.image_size
    if expected[0] and expected[1] and expected != size:
        raise DecodeError(
            f"the camera_info of '{name}' describes {expected[0]}x{expected[1]} pixels but the image has "
            f"{size[0]}x{size[1]}; give the camera_info topic that belongs to the image"
        )
    bx, by = max(info.binning[0], 1), max(info.binning[1], 1)
    x, y = info.roi[:2]
    fisheye, distortion = (False, ()) if is_rectified else _distortion(info, name)
    return Lens(
        width=size[0],
        height=size[1],
        fx=float(matrix[0, 0]) / bx,
        fy=float(matrix[1, 1]) / by,
        cx=(float(matrix[0, 2]) + HALF_PIXEL - x) / bx - HALF_PIXEL,
        cy=(float(matrix[1, 2]) + HALF_PIXEL - y) / by - HALF_PIXEL,
        is_fisheye=fisheye,
        distortion=distortion,
    )


class Rectifier:
    """Removes the distortion of one lens and scales down to a longest side of `max_image_size` pixels.

    The undistorted camera sees only what the lens saw: no pixel is made up at the border.
    """

    def __init__(self, lens: Lens, *, max_image_size: int) -> None:
        self.lens = lens
        pinhole = _undistorted_matrix(lens)
        full = Camera(
            width=lens.width,
            height=lens.height,
            fx=float(pinhole[0, 0]),
            fy=float(pinhole[1, 1]),
            cx=float(pinhole[0, 2]) + HALF_PIXEL,
            cy=float(pinhole[1, 2]) + HALF_PIXEL,
        )
        shrink = min(1.0, max_image_size / max(lens.width, lens.height))
        self.camera = full.resized(max(1, round(lens.width * shrink)), max(1, round(lens.height * shrink)))
        self._maps = _undistortion_maps(lens, pinhole) if lens.distortion else None
        self._full_size = (lens.width, lens.height)

    @property
    def is_identity(self) -> bool:
        """Whether images pass unchanged."""
        return self._maps is None and self._size == self._full_size

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image [H, W, 3] as `camera` sees it."""
        self._check(image)
        seen: NDArray = image
        if self._maps is not None:
            seen = np.asarray(cv2.remap(seen, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        if self._size != self._full_size:
            seen = np.asarray(cv2.resize(seen, self._size, interpolation=cv2.INTER_AREA))
        return np.ascontiguousarray(seen)

    def depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth [H, W] that is registered to the lens, as `camera` sees it; never mixed across edges."""
        self._check(depth)
        seen: NDArray = depth
        if self._maps is not None:
            edge = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": float("nan")}
            seen = np.asarray(cv2.remap(seen, *self._maps, cv2.INTER_NEAREST, **edge))
        if self._size != self._full_size:
            rows = ((np.arange(self._size[1]) + HALF_PIXEL) * self._full_size[1] / self._size[1]).astype(int)
            columns = ((np.arange(self._size[0]) + HALF_PIXEL) * self._full_size[0] / self._size[0]).astype(int)
            seen = seen[np.ix_(rows, columns)]
        return np.ascontiguousarray(seen)

    def labels(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """Labels [H, W] up to 65535 of the lens, at any size of its shape, as `camera` sees them; never mixed."""
        values = labels.astype(np.float32)  # exact up to 2^24
        if values.shape != self._full_size[::-1]:
            values = np.asarray(cv2.resize(values, self._full_size, interpolation=cv2.INTER_NEAREST_EXACT), np.float32)
        seen = self.depth(values)
        return np.nan_to_num(seen, nan=0.0).astype(np.int32)

    @property
    def _size(self) -> tuple[int, int]:
        return self.camera.width, self.camera.height

    def _check(self, image: NDArray) -> None:
        if image.shape[:2] != self._full_size[::-1]:
            raise DecodeError(
                f"expected an image of {self._full_size[0]}x{self._full_size[1]} as the camera_info says, got "
                f"{image.shape[1]}x{image.shape[0]}"
            )


def _check_plausible(name: str, matrix: NDArray[np.float64], d: tuple[float, ...]) -> None:
    """Refuse numbers that no camera has, which would overflow further on."""
    focal, middle = (matrix[0, 0], matrix[1, 1]), (matrix[0, 2], matrix[1, 2])
    if min(focal) < MIN_FOCAL or max(*focal, *map(abs, middle)) > MAX_PIXEL:
        raise DecodeError(f"the camera_info of '{name}' has implausible focal lengths {focal} or centre {middle}")
    if any(abs(x) > MAX_COEFFICIENT for x in d):
        raise DecodeError(f"the camera_info of '{name}' has implausible distortion coefficients {d}")


def _distortion(info: CameraInfoRecord, name: str) -> tuple[bool, tuple[float, ...]]:
    """Whether the lens is a fisheye, and OpenCV's coefficients, none if all are zero."""
    model, d = info.distortion_model, info.d
    if not d or (not any(d) and model not in (FISHEYE, "fisheye")):
        return False, ()
    if not np.isfinite(d).all():
        raise DecodeError(f"the camera_info of '{name}' has distortion {d}; expected finite numbers")
    counts = _COEFFICIENTS.get(model, ())
    if not counts:
        known = ", ".join(name for name, counts in _COEFFICIENTS.items() if counts)
        raise DecodeError(f"the camera_info of '{name}' has the distortion model '{model}'; known: {known}")
    if len(d) not in counts:
        expected = " or ".join(map(str, counts))
        raise DecodeError(f"the camera_info of '{name}' has {len(d)} {model} coefficients; expected {expected} or none")
    return model in (FISHEYE, "fisheye"), d


def _undistorted_matrix(lens: Lens) -> NDArray[np.float64]:
    """K of the largest undistorted view that the lens covers entirely, at the lens's size."""
    if not lens.distortion:
        return lens.matrix
    size, d = (lens.width, lens.height), np.array(lens.distortion)
    if lens.is_fisheye:
        estimate = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify
        return np.asarray(estimate(lens.matrix, d, size, np.eye(3), balance=0.0), dtype=np.float64)
    matrix, _ = cv2.getOptimalNewCameraMatrix(lens.matrix, d, size, alpha=0.0)
    return np.asarray(matrix, dtype=np.float64)


def _undistortion_maps(lens: Lens, pinhole: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    size, d = (lens.width, lens.height), np.array(lens.distortion)
    make = cv2.fisheye.initUndistortRectifyMap if lens.is_fisheye else cv2.initUndistortRectifyMap
    first, second = make(lens.matrix, d, np.eye(3), pinhole, size, cv2.CV_32FC1)
    return first, second
