# SPDX-License-Identifier: Apache-2.0
"""Listens to a posed camera and stores the images worth keeping in the map directory. Never loads torch.

Publishes `keyframe`, `keyframe_path`, `keyframe_markers` and `status`; serves `~/capture_now` and `~/pause_capture`.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.ingest.messages import (
    camera_info_record,
    cloud_record,
    colour_record,
    depth_record,
    label_record,
    pose_record,
    transform_records,
)
from ccl_lgs_ros.msg import Keyframe as KeyframeMessage
from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.ros.capture_thread import AnnouncingStore, BagCapture, BagTopics, CaptureThread, LiveCapture
from ccl_lgs_ros.ros.conversions import keyframe_message
from ccl_lgs_ros.ros.guards import guarded, guarded_service
from ccl_lgs_ros.ros.inputs import Input, topics_of_types
from ccl_lgs_ros.ros.keyframe_options import KeyframeNodeOptions
from ccl_lgs_ros.ros.parameters import declare_options, warn_of_unknown
from ccl_lgs_ros.ros.spinning import run_node
from ccl_lgs_ros.ros.status import StatusPublisher
from ccl_lgs_ros.ros.trail import KeyframeTrail
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

GROUPS = ("frames.", "ingest.", "keyframes.")
IMAGES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
CLOUDS = {"sensor_msgs/msg/PointCloud2": PointCloud2}
INFOS = {"sensor_msgs/msg/CameraInfo": CameraInfo}
POSES = {
    "geometry_msgs/msg/PoseStamped": PoseStamped,
    "geometry_msgs/msg/PoseWithCovarianceStamped": PoseWithCovarianceStamped,
    "nav_msgs/msg/Odometry": Odometry,
    "geometry_msgs/msg/TransformStamped": TransformStamped,
}
TRANSPORTS = ("compressed", "compressedDepth")
LIVE_DEPTH = 5  # messages that a best-effort camera may be ahead
RELIABLE_DEPTH = 100
TICK = 0.1  # seconds
NO_DATA = 5.0  # seconds of silence that are worth a warning
STOP_TIMEOUT = 3.5  # seconds that the last keyframes may take on the way out


class KeyframeNode(Node):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("keyframe_node")
        self.options = declare_options(self, KeyframeNodeOptions())
        self.config = declare_options(self, MapConfig(), groups=GROUPS)
        warn_of_unknown(self, self._parameters)
        self.directory = MapDirectory.open_or_create(self.options.map_path)
        options = self.config.keyframes
        self.store = AnnouncingStore(
            KeyframeStore(
                self.directory, writable=True, jpeg_quality=options.jpeg_quality, max_disk_gb=options.max_disk_gb
            )
        )
        known = [(e.stamp_ns, e.world_from_camera) for e in self.store.store.entries]
        self._trail = KeyframeTrail(self, self.config.frames.map_frame, known)
        self._inputs: list[Input] = []
        self._images_before, self._checked_at = 0, time.monotonic()
        self.capture = self._create_capture()
        self._create_outputs()
        self.capture.start()
        self.get_logger().info(f"map {self.directory.path}: {len(self.store)} keyframes; {self._source}")

    def close(self) -> None:
        """Store what has come, bring the map's files up to date."""
        if not self.capture.stop(STOP_TIMEOUT):
            self.get_logger().warning("the last images were not decided in time; the keyframes stored before are safe")
        self._announce()
        self.store.store.close()
        self.directory.release()

    @property
    def _source(self) -> str:
        return f"reading {self.options.bag_path}" if self.options.bag_path else "listening"

    def _create_capture(self) -> CaptureThread:
        o = self.options
        if o.bag_path:
            topics = BagTopics(
                image_topic=o.image_topic,
                depth_topic=o.depth_topic,
                camera_info_topic=o.camera_info_topic,
                pose_topic=o.pose_topic,
                label_topic=o.label_topic,
            )
            return BagCapture(self.store, self.config, Path(o.bag_path).expanduser(), topics)
        capture = LiveCapture(self.store, self.config, use_labels=bool(o.label_topic))
        self._create_inputs(capture)
        return capture

    def _create_inputs(self, capture: LiveCapture) -> None:
        o, use_depth = self.options, self.config.ingest.use_depth
        image, depth = o.image_topic or "image", o.depth_topic or "depth"
        image_info = o.camera_info_topic or info_beside(self.resolve_topic_name(image))
        depth_info = o.depth_info_topic or info_beside(self.resolve_topic_name(depth))
        is_one_info = self.resolve_topic_name(image_info) == self.resolve_topic_name(depth_info)

        def take_info(message: CameraInfo, _: str) -> None:
            capture.add(camera_info_record(message))
            if is_one_info:
                capture.add(camera_info_record(message, is_depth=True))

        self._listen("colour image", image, IMAGES, lambda m, t: capture.add(colour_record(m, t)))
        self._listen("camera_info", image_info, INFOS, take_info)
        if use_depth:
            self._listen("depth image", depth, IMAGES, lambda m, t: capture.add(depth_record(m, t)))
        if use_depth and not is_one_info:
            self._listen(
                "depth camera_info", depth_info, INFOS, lambda m, t: capture.add(camera_info_record(m, is_depth=True))
            )
        cloud = self.config.ingest.cloud_topic
        if cloud:
            self._listen("point cloud", cloud, CLOUDS, lambda m, _: capture.add(cloud_record(m)))
        if o.label_topic:
            self._listen("label image", o.label_topic, IMAGES, lambda m, t: capture.add(label_record(m, t)))
        if self.config.ingest.pose_source != "tf":
            self._listen("pose", o.pose_topic or "pose", POSES, lambda m, t: capture.add(pose_record(m)))
        if self.config.ingest.pose_source != "topic" or use_depth or cloud:
            self._listen_to_tf(capture)

    def _listen(self, role: str, name: str, types: dict[str, type], receive: Any) -> None:
        names = [name, *(f"{name}/{transport}" for transport in TRANSPORTS)] if types is IMAGES else [name]
        is_reliable = self.options.qos == "reliable"
        qos = QoSProfile(
            depth=RELIABLE_DEPTH if is_reliable or types is POSES else LIVE_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        )
        self._inputs.append(Input(self, role, names, types, receive, qos))

    def _listen_to_tf(self, capture: LiveCapture) -> None:
        for topic, is_static in (("/tf", False), ("/tf_static", True)):
            durability = DurabilityPolicy.TRANSIENT_LOCAL if is_static else DurabilityPolicy.VOLATILE
            qos = QoSProfile(depth=RELIABLE_DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=durability)

            def take(message: TFMessage, _: str, is_static: bool = is_static) -> None:
                for record in transform_records(message, is_static=is_static):
                    capture.add(record)

            tf = Input(self, topic.strip("/"), [topic], {"tf2_msgs/msg/TFMessage": TFMessage}, take, qos)
            self._inputs.append(tf)

    def _create_outputs(self) -> None:
        logger = self.get_logger()
        reliable = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self._keyframes = self.create_publisher(KeyframeMessage, "keyframe", reliable)
        self._status = StatusPublisher(self)
        self.create_service(Trigger, "~/capture_now", guarded_service(logger, "capture_now", self._capture_now))
        self.create_service(SetBool, "~/pause_capture", guarded_service(logger, "pause_capture", self._pause_capture))
        self.create_timer(TICK, guarded(logger, "tick", self._tick))
        self.create_timer(1.0, guarded(logger, "path", self._trail.publish))

    def _tick(self) -> None:
        for source in self._inputs:
            source.look()
        self._announce()
        self._warn_of_silence()
        self._publish_status()

    def _announce(self) -> None:
        for keyframe in self.store.take_new():
            previous = self._trail.last_pose
            self._trail.append(keyframe.stamp_ns, keyframe.world_from_camera, keyframe.camera)
            self._keyframes.publish(self._message(keyframe, previous))

    def _message(self, keyframe: Any, previous: NDArray[np.float64] | None) -> KeyframeMessage:
        folder = self.directory.path.resolve()
        return keyframe_message(
            keyframe,
            previous,
            map_frame=self.config.frames.map_frame,
            camera_frame=self.config.frames.camera_frame or self.capture.camera_frame,
            map_path=str(folder),
            uri=f"{self.directory.keyframes_path.name}/{self.store.store.entries[keyframe.id].image_name}",
        )

    def _warn_of_silence(self) -> None:
        now, images = time.monotonic(), self.capture.capture.num_images if self.capture.capture else 0
        if now - self._checked_at < NO_DATA:
            return
        is_silent = images == self._images_before
        self._checked_at, self._images_before = now, images
        if not self._inputs or self.capture.is_paused:
            return
        if is_silent:
            self.get_logger().warning(f"no colour image for {NO_DATA:.0f} s; {self._inputs_text()}")
        elif self.capture.capture is not None and not self.capture.capture.num_kept and not len(self.store):
            self.get_logger().warning(f"no keyframe yet: {self.capture.capture.status_text}; {self._inputs_text()}")

    def _inputs_text(self) -> str:
        text = "; ".join(source.description() for source in self._inputs)
        parameters = {"colour image": "image_topic", "label image": "label_topic"}
        silent = [source.role for source in self._inputs if source.role in parameters and not source.topic]
        if not silent:
            return text
        others = ", ".join(sorted(topics_of_types(self, tuple(IMAGES)))) or "none"
        return (
            f"{text}. Nobody publishes the {silent[0]}s; topics with images: {others}; set {parameters[silent[0]]}, "
            "start the camera, or check ROS_DOMAIN_ID"
        )

    def _publish_status(self) -> None:
        capture = self.capture.capture
        counts = capture.counts if capture else {}
        self._status.publish(
            self.config.frames.map_frame,
            state=self._state(),
            stage="" if self.capture.is_done else "keyframes",
            message=self.capture.error or (capture.status_text if capture else f"opening {self.options.bag_path}"),
            map_id=self.directory.map_id,
            map_version=self.directory.newest_version(),
            map_path=str(self.directory.path.resolve()),
            keyframes=len(self.store),
            frames_received=capture.num_images if capture else 0,
            frames_skipped_motion=counts.get("motion", 0) + counts.get("duplicate", 0),
            frames_skipped_blur=counts.get("blur", 0),
            frames_skipped_limit=counts.get("limit", 0),
            frames_rejected_format=counts.get("format", 0),
            **{f"frames_dropped_{name}": counts.get(name, 0) for name in ("tf", "sync", "depth", "queue")},
        )

    def _state(self) -> int:
        if self.capture.error:
            return MapStatus.STATE_ERROR
        if self.capture.is_paused:
            return MapStatus.STATE_PAUSED
        if self.capture.is_done:
            return MapStatus.STATE_READY
        has_images = self.capture.capture is not None and self.capture.capture.num_images
        return MapStatus.STATE_COLLECTING if has_images else MapStatus.STATE_WAITING_FOR_DATA

    def _capture_now(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.capture.take_next()
        response.success = not self.capture.is_done
        response.message = "the next image becomes a keyframe" if response.success else "the recording has been read"
        return response

    def _pause_capture(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.capture.is_paused = request.data
        response.success, response.message = True, "capture is paused" if request.data else "capture goes on"
        return response


def info_beside(topic: str) -> str:
    """Where drivers publish the camera_info of an image topic."""
    base, _, last = topic.rpartition("/")
    if last in TRANSPORTS:
        base = base.rpartition("/")[0]
    return f"{base}/camera_info"


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns its exit code."""
    return run_node(KeyframeNode, "keyframe_node", args)


if __name__ == "__main__":
    sys.exit(main())
