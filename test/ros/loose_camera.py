# SPDX-License-Identifier: Apache-2.0
"""A camera whose image, intrinsics, depth and transform are sent one by one, each when and how a test wants it."""

import math
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import TransformStamped
from ros.fake_camera import FOCAL, FRAME, HEIGHT, STEP_PX, WALL, WIDTH, raw, stamp, wall
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage


class LooseCamera:
    """Publishes once somebody listens to every topic.

    Args:
        client: of the test.
        qos: of images and camera_info.
    """

    def __init__(self, client: Any, qos: Any, *, is_awaited: bool = True) -> None:
        self._images = client.publisher(Image, "image", qos, is_awaited=is_awaited)
        self._infos = client.publisher(CameraInfo, "camera_info", qos, is_awaited=is_awaited)
        self._depths = client.publisher(Image, "depth", qos, is_awaited=is_awaited)
        self._tf = client.publisher(TFMessage, "/tf", is_awaited=is_awaited)
        self._wall = wall()

    def introduce(self, node: Any, stamp_ns: int, timeout: float) -> None:
        """Send intrinsics and depth until the node has some of both; topics are found seconds apart."""
        for send, role in ((self.info, "camera_info"), (self.depth, "depth image")):
            send(stamp_ns)
            node.wait_for(f"first {role} from", timeout)

    def send(self, stamp_ns: int, x: float = 0.0, *, width: int = WIDTH) -> None:
        """All that a keyframe needs."""
        self.tf(stamp_ns, x)
        self.info(stamp_ns, width=width)
        self.depth(stamp_ns, width=width)
        self.image(stamp_ns, width=width)

    def image(self, stamp_ns: int, *, width: int = WIDTH, frame_id: str = FRAME) -> None:
        """A view of the wall, another one each tenth of a second."""
        left = stamp_ns // 100_000_000 % 16 * STEP_PX
        view = np.ascontiguousarray(self._wall[:, left : left + WIDTH])
        view = view if width == WIDTH else cv2.resize(view, (width, _height(width)), interpolation=cv2.INTER_AREA)
        self._images.publish(raw(view, "rgb8", Header(stamp=stamp(stamp_ns), frame_id=frame_id)))

    def info(self, stamp_ns: int, *, width: int = WIDTH) -> None:
        """The intrinsics of images of this width."""
        height, focal = _height(width), FOCAL * width / WIDTH
        k = [focal, 0.0, width / 2 - 0.5, 0.0, focal, height / 2 - 0.5, 0.0, 0.0, 1.0]
        header = Header(stamp=stamp(stamp_ns), frame_id=FRAME)
        self._infos.publish(CameraInfo(header=header, width=width, height=height, distortion_model="plumb_bob", k=k))

    def depth(self, stamp_ns: int, *, width: int = WIDTH) -> None:
        """The depth of the wall."""
        pixels = np.full((_height(width), width), WALL, np.float32)
        self._depths.publish(raw(pixels, "32FC1", Header(stamp=stamp(stamp_ns), frame_id=FRAME)))

    def tf(self, stamp_ns: int, x: float, *, roll: float = 0.0) -> None:
        """The camera's place in the map; roll turns it about its optical axis."""
        message = TransformStamped(header=Header(stamp=stamp(stamp_ns), frame_id="map"), child_frame_id=FRAME)
        message.transform.translation.x = x
        message.transform.rotation.z, message.transform.rotation.w = math.sin(roll / 2), math.cos(roll / 2)
        self._tf.publish(TFMessage(transforms=[message]))


def _height(width: int) -> int:
    return HEIGHT * width // WIDTH
