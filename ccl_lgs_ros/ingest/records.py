# SPDX-License-Identifier: Apache-2.0
"""What messages hold, as plain data: the one form in which live topics and recordings enter.

Pixels and intrinsics are as the sender put them (ROS: the centre of the top-left pixel is (0, 0)); quaternions are
wxyz; frame names carry no leading slash.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ImageData = bytes | bytearray | memoryview | NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageRecord:
    """An image as it was sent, raw (`encoding`) or compressed (`format`); not decoded."""

    stamp_ns: int
    frame_id: str
    data: ImageData
    encoding: str = ""  # of raw images, as in sensor_msgs/Image
    format: str = ""  # of compressed images, as in sensor_msgs/CompressedImage
    width: int = 0  # pixels; 0 for compressed images
    height: int = 0
    step: int = 0  # bytes of a row, padding included
    is_bigendian: bool = False
    is_compressed: bool = False
    is_rectified: bool = False  # the sender removed the distortion: P holds, K and D do not
    camera_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColourRecord(ImageRecord):
    """A colour image."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthRecord(ImageRecord):
    """A depth image."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelRecord(ImageRecord):
    """An image of labels, seen by the colour camera."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraInfoRecord:
    """Intrinsics as in sensor_msgs/CameraInfo; `is_depth` says which of a camera's two streams they belong to."""

    stamp_ns: int
    frame_id: str
    width: int  # pixels at full resolution
    height: int
    distortion_model: str = "plumb_bob"
    d: tuple[float, ...] = ()
    k: tuple[float, ...]  # 9, row by row
    p: tuple[float, ...] = (0.0,) * 12  # 12, row by row
    binning: tuple[int, int] = (0, 0)  # x, y; 0 means 1
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)  # x, y, width, height at full resolution; width 0 means all
    is_depth: bool = False
    camera_name: str = ""

    @property
    def intrinsics_key(self) -> tuple[object, ...]:
        """Equal for two records exactly if they describe the same pixels."""
        return (self.width, self.height, self.distortion_model, self.d, self.k, self.p, self.binning, self.roi)

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the images that this describes, after region of interest and binning; 0 unknown."""
        width, height = self.roi[2:] if self.roi[2] and self.roi[3] else (self.width, self.height)
        return width // max(self.binning[0], 1), height // max(self.binning[1], 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformRecord:
    """The pose of frame `child` in frame `parent`: parent_from_child."""

    stamp_ns: int
    parent: str
    child: str
    translation: tuple[float, float, float]  # metres
    quat: tuple[float, float, float, float]  # wxyz
    is_static: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseRecord:
    """The pose of `child`, or of the camera itself where child is empty, in `frame_id`."""

    stamp_ns: int
    frame_id: str
    translation: tuple[float, float, float]  # metres
    quat: tuple[float, float, float, float]  # wxyz
    child: str = ""
    camera_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudField:
    """What a point of a cloud holds, as in sensor_msgs/PointField."""

    name: str
    offset: int  # bytes
    datatype: int
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CloudRecord:
    """A point cloud as in sensor_msgs/PointCloud2; not decoded."""

    stamp_ns: int
    frame_id: str
    data: ImageData
    fields: tuple[CloudField, ...]
    width: int  # points of a row
    height: int = 1  # rows
    point_step: int  # bytes
    row_step: int = 0  # bytes, padding included; 0 = none
    is_bigendian: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathRecord:
    """Poses by stamp as in nav_msgs/Path; in any order, and not checked."""

    stamp_ns: int  # of the whole
    frame_ids: frozenset[str]  # every frame that is named
    stamps_ns: NDArray[np.int64]  # [P] of the poses
    translations: NDArray[np.float64]  # [P, 3] metres
    quats: NDArray[np.float64]  # [P, 4] wxyz


Record = (
    ColourRecord
    | DepthRecord
    | LabelRecord
    | CloudRecord
    | CameraInfoRecord
    | TransformRecord
    | PoseRecord
    | PathRecord
)
