# SPDX-License-Identifier: Apache-2.0
"""Our nouns to ROS messages and back; ingest/messages.py reads sensor messages. No torch here.

This is where quaternions become xyzw and where the centre of the top-left pixel becomes (0, 0), as ROS has both.
"""

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from nav_msgs.msg import Path
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import invert_rigid, quat_from_rotation, rigid, rotation_angle, rotation_from_quat
from ccl_lgs_ros.msg import Keyframe as KeyframeMessage

NS_PER_S = 1_000_000_000
HALF_PIXEL = 0.5  # ours minus ROS's coordinate of a pixel's centre


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds as a builtin_interfaces Time."""
    return Time(sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)


def header_message(stamp_ns: int, frame_id: str) -> Header:
    """A std_msgs Header."""
    return Header(stamp=time_message(stamp_ns), frame_id=frame_id)


def quaternion_message(quat_wxyz: NDArray[np.floating]) -> Quaternion:
    """A quaternion wxyz as a message, which is xyzw."""
    w, x, y, z = (float(value) for value in quat_wxyz)
    return Quaternion(x=x, y=y, z=z, w=w)


def quat_wxyz(message: Quaternion) -> NDArray[np.float64]:
    """A message's quaternion as wxyz [4]."""
    return np.array([message.w, message.x, message.y, message.z])


def point_message(point: Iterable[float]) -> Point:
    """[3] metres as a Point."""
    x, y, z = (float(value) for value in point)
    return Point(x=x, y=y, z=z)


def vector_message(vector: Iterable[float]) -> Vector3:
    """[3] as a Vector3."""
    x, y, z = (float(value) for value in vector)
    return Vector3(x=x, y=y, z=z)


def xyz(message: Any) -> NDArray[np.float64]:
    """A Point or Vector3 as [3]."""
    return np.array([message.x, message.y, message.z])


def pose_message(world_from_body: NDArray[np.floating]) -> Pose:
    """A rigid transform [4, 4] as a Pose."""
    return Pose(
        position=point_message(world_from_body[:3, 3]),
        orientation=quaternion_message(quat_from_rotation(world_from_body[:3, :3])),
    )


def transform_of(pose: Pose) -> NDArray[np.float64]:
    """A Pose as a rigid transform [4, 4].

    Raises:
        ValueError: if its quaternion has no direction.
    """
    return rigid(rotation_from_quat(quat_wxyz(pose.orientation)), xyz(pose.position))


def camera_info_message(camera: Camera, header: Header) -> CameraInfo:
    """The intrinsics of an undistorted image."""
    cx, cy = camera.cx - HALF_PIXEL, camera.cy - HALF_PIXEL
    k = [camera.fx, 0.0, cx, 0.0, camera.fy, cy, 0.0, 0.0, 1.0]
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=k,
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0],
    )


def camera_of(info: CameraInfo) -> Camera:
    """The pinhole camera of an undistorted image; P is taken where it is filled, K otherwise.

    Raises:
        ValueError: if there are no intrinsics in it.
    """
    m = info.p if info.p[0] > 0 else [*info.k[:3], 0.0, *info.k[3:6], 0.0]
    return Camera(
        width=info.width,
        height=info.height,
        fx=float(m[0]),
        fy=float(m[5]),
        cx=float(m[2]) + HALF_PIXEL,
        cy=float(m[6]) + HALF_PIXEL,
    )


def image_message(pixels: NDArray[Any], header: Header) -> Image:
    """An image [H, W, 3] uint8 as rgb8, [H, W] uint8 as mono8, [H, W] float32 as 32FC1."""
    encodings = {("uint8", 3): "rgb8", ("uint8", 2): "mono8", ("float32", 2): "32FC1"}
    kind = (pixels.dtype.name, pixels.ndim)
    if kind not in encodings:
        raise ValueError(f"pixels: expected uint8 [H, W, 3], uint8 [H, W] or float32 [H, W], got {kind}")
    pixels = np.ascontiguousarray(pixels)
    message = Image(
        header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encodings[kind], step=pixels.strides[0]
    )
    message.data = array("B", pixels.tobytes())  # of bytes alone, some versions of rclpy look at each
    return message


def keyframe_message(
    keyframe: Keyframe,
    previous: NDArray[np.float64] | None,
    *,
    map_frame: str,
    camera_frame: str,
    map_path: str,
    uri: str,
    pose_revision: int = 0,
) -> KeyframeMessage:
    """What a keyframe is and where it lies.

    Args:
        previous: world_from_camera [4, 4] of the keyframe before it, None for the first.
        uri: of the colour image, relative to map_path.
        pose_revision: how often its pose was corrected.
    """
    header = header_message(keyframe.stamp_ns, camera_frame)
    step = np.eye(4) if previous is None else invert_rigid(previous) @ keyframe.world_from_camera
    known = 0.0 if keyframe.depth is None else float(np.isfinite(keyframe.depth).mean())
    return KeyframeMessage(
        header=header,
        id=keyframe.id,
        camera=keyframe.camera_name,
        map_frame=map_frame,
        world_from_camera=pose_message(keyframe.world_from_camera),
        pose_revision=pose_revision,
        camera_info=camera_info_message(keyframe.camera, header),
        has_depth=keyframe.depth is not None,
        depth_valid_ratio=known,
        sharpness=float(keyframe.sharpness),
        translation=float(np.linalg.norm(step[:3, 3])),
        rotation=rotation_angle(step),
        map_path=map_path,
        uri=uri,
    )


def path_message(stamps_and_poses: Iterable[tuple[int, NDArray[np.float64]]], header: Header) -> Path:
    """Poses [4, 4] with their stamps as a Path in the frame of the header."""
    path = Path(header=header)
    for stamp_ns, pose in stamps_and_poses:
        path.poses.append(PoseStamped(header=header_message(stamp_ns, header.frame_id), pose=pose_message(pose)))
    return path
