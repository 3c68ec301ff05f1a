# SPDX-License-Identifier: Apache-2.0
"""ROS 2 messages to records, by attribute alone: generated classes and classes read from a recording both fit."""

from typing import Any

import numpy as np

from ccl_lgs_ros.ingest.records import (
    CameraInfoRecord,
    CloudField,
    CloudRecord,
    ColourRecord,
    DepthRecord,
    LabelRecord,
    PathRecord,
    PoseRecord,
    TransformRecord,
)

NS_PER_S = 1_000_000_000

POSE_TYPES = (
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/TransformStamped",
)


def colour_record(message: Any, topic: str = "", camera_name: str = "") -> ColourRecord:
    """A sensor_msgs Image or CompressedImage of colour; the topic's name tells whether it is rectified."""
    return ColourRecord(**_image_fields(message, topic, camera_name))


def depth_record(message: Any, topic: str = "", camera_name: str = "") -> DepthRecord:
    """A sensor_msgs Image or CompressedImage of depth; the topic's name tells whether it is rectified."""
    return DepthRecord(**_image_fields(message, topic, camera_name))


def label_record(message: Any, topic: str = "", camera_name: str = "") -> LabelRecord:
    """A sensor_msgs Image or CompressedImage of labels."""
    return LabelRecord(**_image_fields(message, topic, camera_name))


def cloud_record(message: Any) -> CloudRecord:
    """A sensor_msgs PointCloud2."""
    fields = [
        CloudField(name=str(f.name), offset=int(f.offset), datatype=int(f.datatype), count=int(f.count))
        for f in message.fields
    ]
    return CloudRecord(
        stamp_ns=stamp_ns(message.header.stamp),
        frame_id=frame_name(message.header.frame_id),
        data=message.data,
        fields=tuple(fields),
        width=int(message.width),
        height=int(message.height),
        point_step=int(message.point_step),
        row_step=int(message.row_step),
        is_bigendian=bool(message.is_bigendian),
    )


def camera_info_record(message: Any, *, is_depth: bool = False, camera_name: str = "") -> CameraInfoRecord:
    """A sensor_msgs CameraInfo."""
    roi = message.roi
    return CameraInfoRecord(
        stamp_ns=stamp_ns(message.header.stamp),
        frame_id=frame_name(message.header.frame_id),
        width=int(message.width),
        height=int(message.height),
        distortion_model=str(message.distortion_model),
        d=tuple(float(x) for x in message.d),
        k=tuple(float(x) for x in message.k),
        p=tuple(float(x) for x in message.p),
        binning=(int(message.binning_x), int(message.binning_y)),
        roi=(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
        is_depth=is_depth,
        camera_name=camera_name,
    )


def transform_records(message: Any, *, is_static: bool = False) -> list[TransformRecord]:
    """The transforms of a tf2_msgs TFMessage."""
    return [_transform_record(transform, is_static) for transform in message.transforms]


def pose_record(message: Any, camera_name: str = "") -> PoseRecord:
    """A PoseStamped, PoseWithCovarianceStamped, Odometry or TransformStamped."""
    if hasattr(message, "transform"):
        transform = _transform_record(message, is_static=False)
        position, quat = transform.translation, transform.quat
    else:
        pose = message.pose.pose if hasattr(message.pose, "pose") else message.pose
        position, quat = _xyz(pose.position), _wxyz(pose.orientation)
    return PoseRecord(
        stamp_ns=stamp_ns(message.header.stamp),
        frame_id=frame_name(message.header.frame_id),
        translation=position,
        quat=quat,
        child=frame_name(getattr(message, "child_frame_id", "")),
        camera_name=camera_name,
    )


def path_record(message: Any) -> PathRecord:
    """A nav_msgs Path."""
    poses = message.poses
    named = [message.header.frame_id, *(pose.header.frame_id for pose in poses)]
    return PathRecord(
        stamp_ns=stamp_ns(message.header.stamp),
        frame_ids=frozenset(frame_name(name) for name in named if name),
        stamps_ns=np.array([stamp_ns(pose.header.stamp) for pose in poses], np.int64),
        translations=np.array([_xyz(pose.pose.position) for pose in poses]).reshape(-1, 3),
        quats=np.array([_wxyz(pose.pose.orientation) for pose in poses]).reshape(-1, 4),
    )


def stamp_ns(stamp: Any) -> int:
    """A builtin_interfaces Time in nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def frame_name(name: str) -> str:
    """A frame name as tf2 writes it, without the leading slash of older drivers."""
    return str(name).lstrip("/")


def is_rectified_topic(topic: str) -> bool:
    """Whether a topic is named as image_proc names images without distortion: image_rect, image_rect_color ..."""
    return any(part.startswith("image_rect") for part in topic.split("/"))


def _image_fields(message: Any, topic: str, camera_name: str) -> dict[str, Any]:
    common = {
        "stamp_ns": stamp_ns(message.header.stamp),
        "frame_id": frame_name(message.header.frame_id),
        "data": message.data,
        "is_rectified": is_rectified_topic(topic),
        "camera_name": camera_name,
    }
    if hasattr(message, "format"):
        return {**common, "format": str(message.format), "is_compressed": True}
    return {
        **common,
        "encoding": str(message.encoding),
        "width": int(message.width),
        "height": int(message.height),
        "step": int(message.step),
        "is_bigendian": bool(message.is_bigendian),
    }


def _transform_record(message: Any, is_static: bool) -> TransformRecord:
    return TransformRecord(
        stamp_ns=stamp_ns(message.header.stamp),
        parent=frame_name(message.header.frame_id),
        child=frame_name(message.child_frame_id),
        translation=_xyz(message.transform.translation),
        quat=_wxyz(message.transform.rotation),
        is_static=is_static,
    )


def _xyz(vector: Any) -> tuple[float, float, float]:
    return float(vector.x), float(vector.y), float(vector.z)


def _wxyz(quaternion: Any) -> tuple[float, float, float, float]:
    return float(quaternion.w), float(quaternion.x), float(quaternion.y), float(quaternion.z)
