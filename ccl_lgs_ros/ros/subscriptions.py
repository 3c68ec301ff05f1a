# SPDX-License-Identifier: Apache-2.0
"""What the keyframe node listens to: images, intrinsics and labels of each camera, and what all of them share."""

from collections.abc import Callable, Mapping
from typing import Any

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.ingest.messages import (
    camera_info_record,
    cloud_record,
    colour_record,
    depth_record,
    label_record,
    path_record,
    pose_record,
    transform_records,
)
from ccl_lgs_ros.ingest.records import Record
from ccl_lgs_ros.ros.camera_options import CameraOptions
from ccl_lgs_ros.ros.inputs import Input
from ccl_lgs_ros.ros.keyframe_options import KeyframeNodeOptions
from ccl_lgs_ros.ros.qos import LAST, RELIABLE, RELIABLE_DEPTH, STATIC, sensor_qos

IMAGES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
CLOUDS = {"sensor_msgs/msg/PointCloud2": PointCloud2}
INFOS = {"sensor_msgs/msg/CameraInfo": CameraInfo}
POSES = {
    "geometry_msgs/msg/PoseStamped": PoseStamped,
    "geometry_msgs/msg/PoseWithCovarianceStamped": PoseWithCovarianceStamped,
    "nav_msgs/msg/Odometry": Odometry,
    "geometry_msgs/msg/TransformStamped": TransformStamped,
}
PATHS = {"nav_msgs/msg/Path": Path}
TF = {"tf2_msgs/msg/TFMessage": TFMessage}
TRANSPORTS = ("compressed", "compressedDepth")

Receive = Callable[[Any, str], None]  # a message and its topic


class Subscriptions:
    """Hands over what messages hold.

    Args:
        node: subscribes.
        options: of the node.
        config: the groups frames and ingest are used.
        cameras: by name.
        add: takes the records.
    """

    def __init__(
        self,
        node: Node,
        options: KeyframeNodeOptions,
        config: MapConfig,
        cameras: Mapping[str, CameraOptions],
        add: Callable[[Record], None],
    ) -> None:
        self.inputs: list[Input] = []
        self._node, self._add = node, add
        self._sensor, self._pose = sensor_qos(options.qos), sensor_qos(options.qos, RELIABLE_DEPTH)
        self._use_depth = config.ingest.use_depth
        for name, camera in cameras.items():
            self._listen_to_camera(name, camera)
        cloud = config.ingest.cloud_topic
        if cloud:
            self._listen("point cloud", cloud, CLOUDS, lambda m, _: add(cloud_record(m)), "ingest.cloud_topic")
        if config.ingest.pose_source != "tf":
            self._listen("pose", options.pose_topic or "pose", POSES, lambda m, _: add(pose_record(m)), "pose_topic")
        self._subscribe("corrected path", ["corrected_path"], PATHS, lambda m, _: add(path_record(m)), LAST)
        if config.ingest.pose_source != "topic" or self._use_depth or cloud:
            self._listen_to_tf()

    def look(self) -> None:
        """Subscribe to what has come up since the last look."""
        for source in self.inputs:
            source.look()

    def _listen_to_camera(self, name: str, camera: CameraOptions) -> None:
        resolve, add = self._node.resolve_topic_name, self._add
        of, below, option = (f" of {name}", f"{name}/", f"cameras.{name}.") if name else ("", "", "")
        image, depth = camera.image_topic or f"{below}image", camera.depth_topic or f"{below}depth"
        info = camera.camera_info_topic or info_beside(resolve(image))
        depth_info = camera.depth_info_topic or info_beside(resolve(depth))
        is_one_info = resolve(info) == resolve(depth_info)

        def take_info(message: CameraInfo, _: str) -> None:
            add(camera_info_record(message, camera_name=name))
            if is_one_info:
                add(camera_info_record(message, is_depth=True, camera_name=name))

        def take_depth_info(message: CameraInfo, _: str) -> None:
            add(camera_info_record(message, is_depth=True, camera_name=name))

        def listen(role: str, topic: str, types: Mapping[str, type], receive: Receive, parameter: str) -> None:
            self._listen(role + of, topic, types, receive, option + parameter)

        listen("colour image", image, IMAGES, lambda m, t: add(colour_record(m, t, name)), "image_topic")
        listen("camera_info", info, INFOS, take_info, "camera_info_topic")
        if self._use_depth:
            listen("depth image", depth, IMAGES, lambda m, t: add(depth_record(m, t, name)), "depth_topic")
        if self._use_depth and not is_one_info:
            listen("depth camera_info", depth_info, INFOS, take_depth_info, "depth_info_topic")
        if camera.label_topic:
            take_labels: Receive = lambda m, t: add(label_record(m, t, name))  # noqa: E731
            listen("label image", camera.label_topic, IMAGES, take_labels, "label_topic")
        if name and camera.pose_topic:
            listen("pose", camera.pose_topic, POSES, lambda m, _: add(pose_record(m, name)), "pose_topic")

    def _listen(self, role: str, name: str, types: Mapping[str, type], receive: Receive, parameter: str) -> None:
        names = [name, *(f"{name}/{transport}" for transport in TRANSPORTS)] if types is IMAGES else [name]
        self._subscribe(role, names, types, receive, self._pose if types is POSES else self._sensor, parameter)

    def _subscribe(
        self,
        role: str,
        names: list[str],
        types: Mapping[str, type],
        receive: Receive,
        qos: QoSProfile,
        parameter: str = "",
    ) -> None:
        self.inputs.append(Input(self._node, role, names, types, receive, qos, parameter))

    def _listen_to_tf(self) -> None:
        for topic, is_static in (("/tf", False), ("/tf_static", True)):

            def take(message: TFMessage, _: str, is_static: bool = is_static) -> None:
                for record in transform_records(message, is_static=is_static):
                    self._add(record)

            self._subscribe(topic.strip("/"), [topic], TF, take, STATIC if is_static else RELIABLE)


def info_beside(topic: str) -> str:
    """Where drivers publish the camera_info of an image topic."""
    base, _, last = topic.rpartition("/")
    if last in TRANSPORTS:
        base = base.rpartition("/")[0]
    return f"{base}/camera_info"
