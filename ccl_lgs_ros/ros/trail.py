# SPDX-License-Identifier: Apache-2.0
"""Where the keyframes were taken: as a path, and as cameras to look at."""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point
from nav_msgs.msg import Path
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import transform_points
from ccl_lgs_ros.ros.capture_thread import AnnouncingStore
from ccl_lgs_ros.ros.conversions import header_message, path_message
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides

FRUSTUM_DEPTH = 0.15  # metres from a camera to the rectangle that stands for its image
LINE_WIDTH = 0.006  # metres
MAX_FRUSTA = 500  # drawn at most, evenly over the path
EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))  # of apex and corners


class KeyframeTrail:
    """Publishes `keyframe_path` and `keyframe_markers` when keyframes were added or moved.

    Args:
        node: whose topics they are.
        frame_id: the map frame.
        store: of the keyframes.
    """

    def __init__(self, node: Node, frame_id: str, store: AnnouncingStore) -> None:
        self._node, self._frame_id, self._store = node, frame_id, store
        self._path = node.create_publisher(Path, "keyframe_path", **with_overrides(LATCHED))
        self._markers = node.create_publisher(MarkerArray, "keyframe_markers", **with_overrides(LATCHED))
        self._sent: tuple[int, int] | None = None
        self._drawn: tuple[int, int] | None = None

    def publish(self) -> None:
        """Send what is new; markers only where somebody looks."""
        state = (len(self._store), self._store.revision)
        is_watched = self._markers.get_subscription_count() > 0
        if self._sent == state and (self._drawn == state or not is_watched):
            return
        header = header_message(self._node.get_clock().now().nanoseconds, self._frame_id)
        entries = self._store.entries
        if self._sent != state:
            self._sent = state
            self._path.publish(path_message([(e.stamp_ns, e.world_from_camera) for e in entries], header))
        if self._drawn != state and is_watched:
            self._drawn = state
            self._markers.publish(frusta([(e.world_from_camera, e.camera) for e in entries], header))


def frusta(views: Sequence[tuple[NDArray[np.float64], Camera]], header: Header) -> MarkerArray:
    """Cameras at their poses [4, 4] as the edges of their pyramids."""
    clear = Marker(header=header, action=Marker.DELETEALL)
    lines = Marker(header=header, ns="keyframes", type=Marker.LINE_LIST, action=Marker.ADD)
    lines.pose.orientation.w = 1.0
    lines.scale.x = LINE_WIDTH
    lines.color = ColorRGBA(r=0.95, g=0.6, b=0.1, a=0.9)
    shown = np.linspace(0, len(views) - 1, min(len(views), MAX_FRUSTA)).astype(int) if len(views) else []
    for place in shown:
        pose, camera = views[place]
        points = transform_points(pose, _corners(camera))
        for edge in EDGES:
            lines.points += [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in points[list(edge)]]
    return MarkerArray(markers=[clear, lines])


def _corners(camera: Camera) -> NDArray[np.float64]:
    """Apex and image corners [5, 3] in the optical frame."""
    left, right = -camera.cx / camera.fx, (camera.width - camera.cx) / camera.fx
    top, bottom = -camera.cy / camera.fy, (camera.height - camera.cy) / camera.fy
    rays = [(0.0, 0.0, 0.0), (left, top, 1.0), (right, top, 1.0), (right, bottom, 1.0), (left, bottom, 1.0)]
    return FRUSTUM_DEPTH * np.array(rays)
