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
from ccl_lgs_ros.ros.conversions import header_message, path_message
from ccl_lgs_ros.ros.status import LATCHED

FRUSTUM_DEPTH = 0.15  # metres from a camera to the rectangle that stands for its image
LINE_WIDTH = 0.006  # metres
MAX_FRUSTA = 500  # drawn at most, evenly over the path
EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))  # of apex and corners


class KeyframeTrail:
    """Publishes `keyframe_path` and `keyframe_markers` when keyframes were added.

    Args:
        node: whose topics they are.
        frame_id: the map frame.
        known: stamp and world_from_camera [4, 4] of the keyframes so far.
    """

    def __init__(self, node: Node, frame_id: str, known: Sequence[tuple[int, NDArray[np.float64]]]) -> None:
        self._node, self._frame_id = node, frame_id
        self._poses = list(known)
        self._camera: Camera | None = None
        self._path = node.create_publisher(Path, "keyframe_path", LATCHED)
        self._markers = node.create_publisher(MarkerArray, "keyframe_markers", LATCHED)
        self._num_on_path, self._num_drawn = -1, -1

    @property
    def last_pose(self) -> NDArray[np.float64] | None:
        """world_from_camera [4, 4] of the newest keyframe."""
        return self._poses[-1][1] if self._poses else None

    def append(self, stamp_ns: int, world_from_camera: NDArray[np.float64], camera: Camera) -> None:
        """A keyframe that was stored."""
        self._poses.append((stamp_ns, world_from_camera))
        self._camera = camera

    def publish(self) -> None:
        """Send what is new; markers only where somebody looks."""
        header = header_message(self._node.get_clock().now().nanoseconds, self._frame_id)
        if self._num_on_path != len(self._poses):
            self._num_on_path = len(self._poses)
            self._path.publish(path_message(self._poses, header))
        if self._num_drawn != len(self._poses) and self._markers.get_subscription_count():
            self._num_drawn = len(self._poses)
            self._markers.publish(frusta([pose for _, pose in self._poses], self._camera, header))


def frusta(poses: Sequence[NDArray[np.float64]], camera: Camera | None, header: Header) -> MarkerArray:
    """Cameras [4, 4] as the edges of their pyramids; a camera that is not known has a view of 90 degrees."""
    clear = Marker(header=header, action=Marker.DELETEALL)
    lines = Marker(header=header, ns="keyframes", type=Marker.LINE_LIST, action=Marker.ADD)
    lines.pose.orientation.w = 1.0
    lines.scale.x = LINE_WIDTH
    lines.color = ColorRGBA(r=0.95, g=0.6, b=0.1, a=0.9)
    corners = _corners(camera)
    shown = np.linspace(0, len(poses) - 1, min(len(poses), MAX_FRUSTA)).astype(int) if len(poses) else []
    for place in shown:
        points = transform_points(poses[place], corners)
        for edge in EDGES:
            lines.points += [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in points[list(edge)]]
    return MarkerArray(markers=[clear, lines])


def _corners(camera: Camera | None) -> NDArray[np.float64]:
    """Apex and image corners [5, 3] in the optical frame."""
    left, top, right, bottom = -1.0, -1.0, 1.0, 1.0
    if camera is not None:
        left, right = -camera.cx / camera.fx, (camera.width - camera.cx) / camera.fx
        top, bottom = -camera.cy / camera.fy, (camera.height - camera.cy) / camera.fy
    rays = [(0.0, 0.0, 0.0), (left, top, 1.0), (right, top, 1.0), (right, bottom, 1.0), (left, bottom, 1.0)]
    return FRUSTUM_DEPTH * np.array(rays)
