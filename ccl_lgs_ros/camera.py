# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera and a keyframe: what the robot saw, from where. numpy only, so that capture never loads torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import invert_rigid


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Intrinsics of an undistorted image; the centre of the top-left pixel is (0.5, 0.5)."""

    width: int
    height: int
    fx: float  # pixels
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"camera: expected a size of at least 1x1, got {self.width}x{self.height}")
        if not (np.isfinite([self.fx, self.fy, self.cx, self.cy]).all() and self.fx > 0 and self.fy > 0):
            raise ValueError(f"camera: expected finite intrinsics with fx, fy > 0, got {self}")

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """K [3, 3]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> "Camera":
        """The camera of the same image at another size."""
        sx, sy = width / self.width, height / self.height
        return Camera(width=width, height=height, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy)

    def project(self, points_camera: NDArray[np.floating]) -> NDArray[np.floating]:
        """Pixels [..., 2] of points [..., 3] in the optical frame; NaN behind the camera."""
        z = np.where(points_camera[..., 2] > 0, points_camera[..., 2], np.nan)
        u = self.fx * points_camera[..., 0] / z + self.cx
        v = self.fy * points_camera[..., 1] / z + self.cy
        return np.stack([u, v], axis=-1)

    def unproject(self, depth: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points [H, W, 3] in the optical frame of a depth image [H, W] in metres; NaN where depth is."""
        v, u = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32) + 0.5
        x = (u - self.cx) / self.fx * depth
        y = (v - self.cy) / self.fy * depth
        return np.stack([x, y, depth], axis=-1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Keyframe:
    """An image worth keeping, undistorted, with its camera, its pose and, where there are any, its depth and labels.

    Depth is registered to the image: same size, same camera, metres along z, NaN where unknown. Labels are what a
    simulator or a detector says of each pixel: one value per thing, in this keyframe alone, 0 for none.
    """

    id: int
    stamp_ns: int
    camera: Camera
    world_from_camera: NDArray[np.float64]  # [4, 4], optical frame
    image: NDArray[np.uint8]  # [H, W, 3] RGB
    depth: NDArray[np.float32] | None = None  # [H, W] metres
    camera_name: str = ""
    labels: NDArray[np.int32] | None = None  # [H, W] 0 to 65535
    sharpness: float = 0.0  # variance of the Laplacian of the grey image
    outdated: NDArray[np.bool_] | None = None  # [H, W] where it shows what is known to be gone; depth is NaN there

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.image.shape != (*size, 3) or self.image.dtype != np.uint8:
            raise ValueError(f"image: expected uint8 {(*size, 3)}, got {self.image.dtype} {self.image.shape}")
        if self.depth is not None and (self.depth.shape != size or self.depth.dtype != np.float32):
            raise ValueError(f"depth: expected float32 {size}, got {self.depth.dtype} {self.depth.shape}")
        if self.labels is not None and (self.labels.shape != size or self.labels.dtype != np.int32):
            raise ValueError(f"labels: expected int32 {size}, got {self.labels.dtype} {self.labels.shape}")
        if self.outdated is not None and (self.outdated.shape != size or self.outdated.dtype != np.bool_):
            raise ValueError(f"outdated: expected bool {size}, got {self.outdated.dtype} {self.outdated.shape}")
        pose = self.world_from_camera
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise ValueError(f"world_from_camera: expected a finite [4, 4] array, got {pose}")

    @property
    def camera_from_world(self) -> NDArray[np.float64]:
        """[4, 4]."""
        return invert_rigid(self.world_from_camera)

    @property
    def num_bytes(self) -> int:
        """What its pixels take in memory."""
        return sum(plane.nbytes for plane in (self.image, self.depth, self.labels, self.outdated) if plane is not None)
