# SPDX-License-Identifier: Apache-2.0
"""The network between two hosts: carries the topics of one namespace to the other over links that lose and delay."""

import threading
import time
from typing import Any

import rclpy
from ccl_lgs_ros.msg import KeyframeAck, KeyframePiece
from lossy_link import Link
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy

PERIOD = 0.002  # seconds
QOS = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)


class Relay:
    """Pieces go from /robot to /base over one link, acknowledgements come back over another, in a thread of its own.

    Args:
        domain: of the nodes.
        forth, back: the links; they may be changed while they are used.
    """

    def __init__(self, domain: int, forth: Link, back: Link) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = rclpy.create_node("relay", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._ways = [
            self._way(KeyframePiece, "/robot/keyframe_piece", "/base/keyframe_piece", forth),
            self._way(KeyframeAck, "/base/keyframe_ack", "/robot/keyframe_ack", back),
        ]
        self._is_open = True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Leave the graph."""
        self._is_open = False
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _way(self, kind: type, start: str, end: str, link: Link) -> tuple[Any, Link]:
        take = lambda message: link.send(message, len(message), time.monotonic())  # noqa: E731
        self._node.create_subscription(kind, start, take, QOS, raw=True)
        return self._node.create_publisher(kind, end, QOS), link

    def _run(self) -> None:
        while self._is_open:
            self._executor.spin_once(timeout_sec=PERIOD)
            for publisher, link in self._ways:
                for message in link.arrived(time.monotonic()):
                    publisher.publish(message)
