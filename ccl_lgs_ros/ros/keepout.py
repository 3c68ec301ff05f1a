# SPDX-License-Identifier: Apache-2.0
"""Where robots shall not drive, as nav2's keepout filter has it; its CostmapFilterInfo where nav2_msgs is present."""

from importlib import import_module
from typing import Any

from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node

from ccl_lgs_ros.grid import Grid
from ccl_lgs_ros.ros.conversions import header_message
from ccl_lgs_ros.ros.grids import grid_message
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides

MASK, INFO = "query/keepout", "query/keepout_info"
KEEPOUT = 0  # the type of filter, as nav2 numbers them


class KeepoutTopics:
    """Publishes `query/keepout`, and `query/keepout_info` where nav2_msgs is present; node is whose topics they are."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._mask = node.create_publisher(OccupancyGrid, MASK, **with_overrides(LATCHED))
        self._kind = filter_info_message()
        self._info = None if self._kind is None else node.create_publisher(self._kind, INFO, **with_overrides(LATCHED))

    def publish(self, mask: Grid, map_frame: str) -> None:
        """A mask: 100 where robots shall not drive, 0 elsewhere."""
        header = header_message(self._node.get_clock().now().nanoseconds, map_frame)
        self._mask.publish(grid_message(mask, header))
        if self._info is not None and self._kind is not None:
            topic = self._mask.topic_name
            info = self._kind(header=header, type=KEEPOUT, filter_mask_topic=topic, base=0.0, multiplier=1.0)
            self._info.publish(info)


def filter_info_message() -> Any | None:
    """The class nav2_msgs.msg.CostmapFilterInfo; None where it is not installed."""
    try:
        return getattr(import_module("nav2_msgs.msg"), "CostmapFilterInfo", None)
    except ImportError:
        return None
