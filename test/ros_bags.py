# SPDX-License-Identifier: Apache-2.0
"""Records written to rosbag2 recordings of every kind, as a recorder would have."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ccl_lgs_ros.ingest.records import (
    CameraInfoRecord,
    ColourRecord,
    DepthRecord,
    ImageRecord,
    PoseRecord,
    Record,
    TransformRecord,
)

STORE = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types
NAMES = {
    "colour": "/camera/color/image_raw",
    "info": "/camera/color/camera_info",
    "depth": "/camera/depth/image_rect_raw",
    "depth_info": "/camera/depth/camera_info",
    "pose": "/camera/pose",
}
KINDS = {
    "sqlite3": (StoragePlugin.SQLITE3, None),
    "mcap": (StoragePlugin.MCAP, None),
    "mcap-zstd-chunks": (StoragePlugin.MCAP, CompressionMode.STORAGE),
    "sqlite3-zstd-file": (StoragePlugin.SQLITE3, CompressionMode.FILE),
    "sqlite3-zstd-message": (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    "mcap-zstd-file": (StoragePlugin.MCAP, CompressionMode.FILE),
}

Sent = tuple[str, int, Any]  # topic, time of recording in ns, message


def write_bag(path: Path, messages: Sequence[Sent], kind: str = "mcap") -> Path:
    """A recording; topics appear in the order of their first messages."""
    storage, compression = KINDS[kind]
    writer = Writer(path, version=8, storage_plugin=storage)
    if compression is not None:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, time_ns, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            writer.write(connections[topic], time_ns, STORE.serialize_cdr(message, message.__msgtype__))
    return path


def write_split_bag(path: Path, messages: Sequence[Sent], kind: str = "mcap") -> Path:
    """A recording in two files, as `ros2 bag record --max-bag-duration` leaves it."""
    half = len(messages) // 2
    parts = [write_bag(path / f"part{i}", part, kind) for i, part in enumerate((messages[:half], messages[half:]))]
    contents = [yaml.safe_load((part / "metadata.yaml").read_text()) for part in parts]
    first, second = (content["rosbag2_bagfile_information"] for content in contents)
    names = []
    for i, (part, content) in enumerate(zip(parts, (first, second), strict=True)):
        (name,) = content["relative_file_paths"]
        names.append(f"drive_{i}{Path(name).suffix}")
        shutil.move(part / name, path / names[-1])
        shutil.rmtree(part)
    counts = {entry["topic_metadata"]["name"]: entry for entry in first["topics_with_message_count"]}
    for entry in second["topics_with_message_count"]:
        known = counts.setdefault(entry["topic_metadata"]["name"], {**entry, "message_count": 0})
        known["message_count"] += entry["message_count"]
    end = second["starting_time"]["nanoseconds_since_epoch"] + second["duration"]["nanoseconds"]
    first["relative_file_paths"] = names
    first["topics_with_message_count"] = list(counts.values())
    first["message_count"] = len(messages)
    first["duration"]["nanoseconds"] = end - first["starting_time"]["nanoseconds_since_epoch"]
    first["files"] = []
    (path / "metadata.yaml").write_text(yaml.safe_dump(contents[0]))
    return path


def messages_of(records: Sequence[Record], names: dict[str, str] | None = None) -> list[Sent]:
    """Records as messages on the usual topics, recorded at their stamps in the order given."""
    names = {**NAMES, **(names or {})}
    sent, now = [], 0
    for record in records:
        now = max(now, record.stamp_ns)
        sent.append((*_message(record, names), now))
    return [(topic, time_ns, message) for topic, message, time_ns in sent]


def header(stamp_ns: int, frame_id: str) -> Any:
    stamp = T["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return T["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def image(record: ImageRecord) -> Any:
    data = np.frombuffer(record.data, np.uint8)
    if record.is_compressed:
        make = T["sensor_msgs/msg/CompressedImage"]
        return make(header=header(record.stamp_ns, record.frame_id), format=record.format, data=data)
    return T["sensor_msgs/msg/Image"](
        header=header(record.stamp_ns, record.frame_id),
        height=record.height,
        width=record.width,
        encoding=record.encoding,
        is_bigendian=int(record.is_bigendian),
        step=record.step,
        data=data,
    )


def camera_info(record: CameraInfoRecord) -> Any:
    x, y, width, height = record.roi
    roi = T["sensor_msgs/msg/RegionOfInterest"](x_offset=x, y_offset=y, height=height, width=width, do_rectify=False)
    return T["sensor_msgs/msg/CameraInfo"](
        header=header(record.stamp_ns, record.frame_id),
        height=record.height,
        width=record.width,
        distortion_model=record.distortion_model,
        d=np.array(record.d, np.float64),
        k=np.array(record.k),
        r=np.eye(3).ravel(),
        p=np.array(record.p),
        binning_x=record.binning[0],
        binning_y=record.binning[1],
        roi=roi,
    )


def transform(record: TransformRecord | PoseRecord, parent: str, child: str) -> Any:
    return T["geometry_msgs/msg/TransformStamped"](
        header=header(record.stamp_ns, parent),
        child_frame_id=child,
        transform=T["geometry_msgs/msg/Transform"](
            translation=T["geometry_msgs/msg/Vector3"](*record.translation), rotation=_quaternion(record)
        ),
    )


def pose(record: PoseRecord, kind: str = "PoseStamped") -> Any:
    """A pose as one of the four types of pose topics."""
    at = header(record.stamp_ns, record.frame_id)
    place = T["geometry_msgs/msg/Pose"](T["geometry_msgs/msg/Point"](*record.translation), _quaternion(record))
    covariant = T["geometry_msgs/msg/PoseWithCovariance"](pose=place, covariance=np.zeros(36))
    if kind == "PoseStamped":
        return T["geometry_msgs/msg/PoseStamped"](header=at, pose=place)
    if kind == "PoseWithCovarianceStamped":
        return T["geometry_msgs/msg/PoseWithCovarianceStamped"](header=at, pose=covariant)
    if kind == "TransformStamped":
        return transform(record, record.frame_id, record.child)
    zero = T["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    twist = T["geometry_msgs/msg/TwistWithCovariance"](T["geometry_msgs/msg/Twist"](zero, zero), np.zeros(36))
    return T["nav_msgs/msg/Odometry"](header=at, child_frame_id=record.child, pose=covariant, twist=twist)


def _message(record: Record, names: dict[str, str]) -> tuple[str, Any]:
    if isinstance(record, ColourRecord):
        return names["colour"], image(record)
    if isinstance(record, DepthRecord):
        return names["depth"], image(record)
    if isinstance(record, CameraInfoRecord):
        return names["depth_info" if record.is_depth else "info"], camera_info(record)
    if isinstance(record, PoseRecord):
        return names["pose"], pose(record)
    made = T["tf2_msgs/msg/TFMessage"](transforms=[transform(record, record.parent, record.child)])
    return "/tf_static" if record.is_static else "/tf", made


def _quaternion(record: TransformRecord | PoseRecord) -> Any:
    w, x, y, z = record.quat
    return T["geometry_msgs/msg/Quaternion"](x, y, z, w)
