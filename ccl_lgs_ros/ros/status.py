# SPDX-License-Identifier: Apache-2.0
"""What a node is doing, told to whoever joins late: once a second and at every change of state."""

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile

from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.ros.conversions import header_message
from ccl_lgs_ros.ros.diagnostics import TOPIC, diagnostics_of
from ccl_lgs_ros.ros.process_memory import peak_memory
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides

PERIOD = 1.0  # seconds
UNKNOWN = float("nan")


class StatusPublisher:
    """Publishes MapStatus on `status`, and the same on /diagnostics."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(MapStatus, "status", **with_overrides(LATCHED))
        self._diagnostics = node.create_publisher(DiagnosticArray, TOPIC, **with_overrides(QoSProfile(depth=10)))
        self._sent_state: tuple[Any, ...] = ()
        self._sent_at = 0.0  # time.monotonic, as /clock may stand still

    def publish(self, frame_id: str, **fields: Any) -> None:
        """Send a report if a second has passed since the last, or its state, stage or map version changed."""
        now = time.monotonic()
        state = (fields.get("state"), fields.get("stage", ""), fields.get("map_version", 0), fields.get("map_path", ""))
        if state == self._sent_state and now - self._sent_at < PERIOD:
            return
        self._sent_state, self._sent_at = state, now
        defaults = {"loss": UNKNOWN, "psnr": UNKNOWN, "eta": -1.0, "memory": peak_memory()}
        header = header_message(self._node.get_clock().now().nanoseconds, frame_id)
        status = MapStatus(header=header, node=self._node.get_name(), **{**defaults, **fields})
        self._publisher.publish(status)
        self._diagnostics.publish(diagnostics_of(status, self._node.get_fully_qualified_name()))
