# SPDX-License-Identifier: Apache-2.0
"""The map on topics: each new version as clouds where somebody looks, and whole on request."""

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from ccl_lgs_ros.msg import SemanticGaussians
from ccl_lgs_ros.ros.conversions import header_message
from ccl_lgs_ros.ros.map_clouds import Look, gaussian_cloud, semantic_cloud, semantic_gaussians
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides
from ccl_lgs_ros.structures import SemanticMap

MAX_CHUNKS = 64  # that a late subscriber still gets
CLOUDS = {"gaussian_cloud": gaussian_cloud, "semantic_cloud": semantic_cloud}


class MapPublisher:
    """Publishes `gaussian_cloud`, `semantic_cloud` and `semantic_gaussians`; node is whose topics they are."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._clouds = {name: node.create_publisher(PointCloud2, name, **with_overrides(LATCHED)) for name in CLOUDS}
        whole = QoSProfile(
            depth=MAX_CHUNKS, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._whole = node.create_publisher(SemanticGaussians, "semantic_gaussians", **with_overrides(whole))
        self._sent: dict[str, object] = {}  # map, version and look of what was sent last

    def look(
        self, semantic_map: SemanticMap, max_points: int, label_of_track: NDArray[np.uint16] | None = None
    ) -> None:
        """Publish what somebody subscribes to and has not been sent of this version.

        Args:
            max_points: of a cloud.
            label_of_track: [T] of the whole level, where there is a vocabulary.
        """
        name = (semantic_map.map_id, semantic_map.version)
        look, cloud = Look(max_points=max_points, label_of_track=label_of_track), (*name, max_points)
        for topic, publisher in self._clouds.items():
            if self._sent.get(topic) != cloud and publisher.get_subscription_count():
                publisher.publish(CLOUDS[topic](semantic_map, self._header(semantic_map), look))
                self._sent[topic] = cloud
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
