# SPDX-License-Identifier: Apache-2.0
"""The map on topics: each new version as clouds where somebody looks, and whole on request."""

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from ccl_lgs_ros.msg import SemanticGaussians
from ccl_lgs_ros.ros.conversions import header_message
from ccl_lgs_ros.ros.map_clouds import Look, gaussian_cloud, semantic_cloud, semantic_gaussians
from ccl_lgs_ros.ros.status import LATCHED
from ccl_lgs_ros.structures import SemanticMap

MAX_CHUNKS = 64  # that a late subscriber still gets
CLOUDS = {"gaussian_cloud": gaussian_cloud, "semantic_cloud": semantic_cloud}


class MapPublisher:
    """Publishes `gaussian_cloud`, `semantic_cloud` and `semantic_gaussians`.

    Args:
        node: whose topics they are.
        max_points: of a cloud.
    """

    def __init__(self, node: Node, max_points: int) -> None:
        self._node, self._look = node, Look(max_points=max_points)
        self._clouds = {name: node.create_publisher(PointCloud2, name, LATCHED) for name in CLOUDS}
        whole = QoSProfile(
            depth=MAX_CHUNKS, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._whole = node.create_publisher(SemanticGaussians, "semantic_gaussians", whole)
        self._sent: dict[str, tuple[str, int]] = {}  # map and version of what was sent last

    def look(self, semantic_map: SemanticMap) -> None:
        """Publish what somebody subscribes to and has not been sent of this version."""
        name = (semantic_map.map_id, semantic_map.version)
        for topic, publisher in self._clouds.items():
            if self._sent.get(topic) != name and publisher.get_subscription_count():
                publisher.publish(CLOUDS[topic](semantic_map, self._header(semantic_map), self._look))
                self._sent[topic] = name
        if self._sent.get("semantic_gaussians") != name and self._whole.get_subscription_count():
            self.publish_whole(semantic_map)

    def publish_whole(self, semantic_map: SemanticMap) -> int:
        """Publish all Gaussians with their language; returns the number of messages."""
        count = 0
        for message in semantic_gaussians(semantic_map, self._header(semantic_map)):
            self._whole.publish(message)
            count += 1
        self._sent["semantic_gaussians"] = (semantic_map.map_id, semantic_map.version)
        return count

    def _header(self, semantic_map: SemanticMap):
        return header_message(self._node.get_clock().now().nanoseconds, semantic_map.map_frame)
