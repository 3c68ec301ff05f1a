# SPDX-License-Identifier: Apache-2.0
"""The costmap of whoever plans the robot's ways: what it knows to be occupied, the map need not have seen."""

import time

from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node

from ccl_lgs_ros.errors import TransformError
from ccl_lgs_ros.grid import Grid
from ccl_lgs_ros.ingest.transforms import TransformBuffer
from ccl_lgs_ros.ros.grids import grid_of
from ccl_lgs_ros.ros.guards import guarded
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides


class Costmap:
    """Listens to a costmap.

    Args:
        node: that listens.
        topic: of the costmap; '' = none.
        transforms: lead from its frame to the map's.
    """

    def __init__(self, node: Node, topic: str, transforms: TransformBuffer) -> None:
        self._topic, self._transforms = topic, transforms
        self._message: OccupancyGrid | None = None
        self._came_at = 0.0
        if topic:
            take = guarded(node.get_logger(), topic, self._take)
            node.create_subscription(OccupancyGrid, topic, take, **with_overrides(LATCHED))

    def newest(self, map_frame: str, max_age: float) -> tuple[Grid | None, str]:
        """The costmap in the map, and why there is none although one is listened to.

        Args:
            max_age: seconds since it came; 0 = however old.
        """
        if not self._topic:
            return None, ""
        if self._message is None:
            return None, f"no costmap has come on {self._topic}"
        age = time.monotonic() - self._came_at
        if 0 < max_age < age:
            return None, f"the costmap on {self._topic} is {age:.0f} s old and was left out"
        frame = self._message.header.frame_id.lstrip("/")
        try:
            return grid_of(self._message, self._transforms.lookup_newest(map_frame, frame)), ""
        except (TransformError, ValueError) as error:
            return None, f"the costmap was left out: {error}"

    def _take(self, message: OccupancyGrid) -> None:
        self._message, self._came_at = message, time.monotonic()
