# SPDX-License-Identifier: Apache-2.0
"""Answers on topics, for whoever did not ask: points, markers, detections, and the names that labels stand for."""

from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from ccl_lgs_ros.ros.answers import answer_markers
from ccl_lgs_ros.ros.conversions import header_message
from ccl_lgs_ros.ros.detections import detections_message, label_info_message, vision_messages
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides
from ccl_lgs_ros.srv import SemanticQuery


class AnswerTopics:
    """Publishes `query/points`, `query/markers` and, where vision_msgs is present, `query/detections` and `label_info`.

    Args:
        node: whose topics they are.
        names: of the vocabulary; without any there is no label_info.
    """

    def __init__(self, node: Node, names: Sequence[str]) -> None:
        self._node, self._names = node, names
        self._points = self._publisher(PointCloud2, "query/points")
        self._markers = self._publisher(MarkerArray, "query/markers")
        self._vision = vision_messages()
        self._detections = self._labels = None
        if self._vision is not None:
            self._detections = self._publisher(self._vision.Detection3DArray, "query/detections")
        if self._vision is not None and names:
            self._labels = self._publisher(self._vision.LabelInfo, "label_info")
        self._labels_sent: tuple[str, float] | None = None

    def publish(self, response: SemanticQuery.Response, prompt: str, cloud: PointCloud2) -> None:
        """An answer, with the cloud of its Gaussians."""
        self._points.publish(cloud)
        self._markers.publish(answer_markers(response.instances, prompt, response.header))
        if self._detections is not None:
            self._detections.publish(detections_message(self._vision, response.instances, prompt, response.header))

    def publish_labels(self, map_frame: str, threshold: float) -> None:
        """The names that labels stand for, and the relevancy that gives one, where they have changed."""
        if self._labels is not None and self._labels_sent != (map_frame, threshold):
            header = header_message(self._node.get_clock().now().nanoseconds, map_frame)
            self._labels.publish(label_info_message(self._vision, self._names, threshold, header))
            self._labels_sent = (map_frame, threshold)

    def _publisher(self, kind: type, topic: str) -> Any:
        return self._node.create_publisher(kind, topic, **with_overrides(LATCHED))
