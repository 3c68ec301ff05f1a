# SPDX-License-Identifier: Apache-2.0
"""Writes rosbag2 recordings without ROS: transforms, camera infos, images."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import BagError
from ccl_lgs_ros.geometry import quat_from_rotation

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
METADATA_VERSION = 8  # rosbag2 of Iron and later; 9 is read by Jazzy and later only
JPEG_QUALITY = 95
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "16UC1": 1, "mono16": 1, "32FC1": 1}
FOREVER = QosTime(9223372036, 854775807)

Transform = tuple[str, str, NDArray[np.floating]]  # parent frame, child frame, parent_from_child [4, 4]


class BagWriter:
    """A new recording that is open for writing; use it in a `with` statement.

    Args:
        path: the rosbag2 folder to make; it must not exist.
        storage: "mcap" or "sqlite3".
        is_compressed: whether MCAP chunks are packed with zstd.

    Raises:
        BagError: if something is already at the path.
    """

    def __init__(self, path: Path | str, *, storage: str = "mcap", is_compressed: bool = False) -> None:
        if storage not in STORAGES:
            raise ValueError(f"storage: expected one of {', '.join(STORAGES)}, got {storage!r}")
        if Path(path).exists():
            raise BagError(f"{path} exists already; remove it or write the recording elsewhere")
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        self._writer = Writer(Path(path), version=METADATA_VERSION, storage_plugin=STORAGES[storage])
        if is_compressed and storage == "mcap":
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> "BagWriter":
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def transforms(self, stamp_ns: int, transforms: Iterable[Transform], *, is_static: bool = False) -> None:
        """One message on /tf, or on /tf_static."""
        message = self._make("tf2_msgs/msg/TFMessage", transforms=[self._transform(stamp_ns, t) for t in transforms])
        self._write("/tf_static" if is_static else "/tf", stamp_ns, message)

    def camera_info(self, topic: str, stamp_ns: int, frame_id: str, camera: Camera) -> None:
        """Intrinsics of an undistorted camera; ROS counts pixels from the centre of the first."""
        k = camera.intrinsics
        k[:2, 2] -= 0.5
        message = self._make(
            "sensor_msgs/msg/CameraInfo",
            header=self._header(stamp_ns, frame_id),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=k.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([k, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=self._make(
                "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
            ),
        )
        self._write(topic, stamp_ns, message)

    def image(self, topic: str, stamp_ns: int, frame_id: str, pixels: NDArray[Any], encoding: str) -> None:
        """A raw image [H, W] or [H, W, C] whose array has the type of its encoding."""
        if CHANNELS.get(encoding) != (pixels.shape[2] if pixels.ndim == 3 else 1):
            raise ValueError(f"pixels: expected an array that {encoding} describes, got {pixels.shape} {pixels.dtype}")
        data = np.ascontiguousarray(pixels)
        message = self._make(
            "sensor_msgs/msg/Image",
            header=self._header(stamp_ns, frame_id),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=data.strides[0],
            data=data.view(np.uint8).ravel(),
        )
        self._write(topic, stamp_ns, message)

    def jpeg(self, topic: str, stamp_ns: int, frame_id: str, image: NDArray[np.uint8]) -> None:
        """A compressed colour image [H, W, 3] RGB."""
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        header = self._header(stamp_ns, frame_id)
        message = self._make(
            "sensor_msgs/msg/CompressedImage", header=header, format="rgb8; jpeg compressed bgr8", data=data.ravel()
        )
        self._write(topic, stamp_ns, message)

    def _make(self, kind: str, **fields: Any) -> Any:
        return self._types.types[kind](**fields)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        stamp = self._make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _transform(self, stamp_ns: int, transform: Transform) -> Any:
        parent, child, parent_from_child = transform
        w, x, y, z = map(float, quat_from_rotation(parent_from_child[:3, :3]))
        at = map(float, parent_from_child[:3, 3])
        moved = self._make(
            "geometry_msgs/msg/Transform",
            translation=self._make("geometry_msgs/msg/Vector3", **dict(zip("xyz", at, strict=True))),
            rotation=self._make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        )
        header = self._header(stamp_ns, parent)
        return self._make("geometry_msgs/msg/TransformStamped", header=header, child_frame_id=child, transform=moved)

    def _write(self, topic: str, stamp_ns: int, message: Any) -> None:
        kind = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._types, offered_qos_profiles=[_qos(is_latched=topic == "/tf_static")]
            )
        self._writer.write(self._connections[topic], stamp_ns, self._types.serialize_cdr(message, kind))


def _qos(*, is_latched: bool) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if is_latched else QosDurability.VOLATILE,
        deadline=FOREVER,
        lifespan=FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=FOREVER,
        avoid_ros_namespace_conventions=False,
    )
