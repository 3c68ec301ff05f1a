# SPDX-License-Identifier: Apache-2.0
"""A program: a 640x480 RGB-D camera at 30 Hz that slides along a wall, with tf at 100 Hz, for some seconds.

Images are made before it begins; what it costs then is publishing alone. When it ends it prints what it has published.
"""

import argparse
import json
import sys
import time

import cv2
import numpy as np
import rclpy
from ccl_lgs_ros.msg import Keyframe
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros.fake_camera import raw, stamp
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

WIDTH, HEIGHT, FOCAL, WALL = 640, 480, 500.0, 2.5
IMAGE_PERIOD_NS, TF_PERIOD_NS = 1_000_000_000 // 30, 10_000_000
NUM_IMAGES = 60  # different ones; the camera goes to and fro over them
STEP_PX = 8
STEP = STEP_PX * WALL / FOCAL  # metres between images: 1.2 m/s
RISE = 0.15  # metres that the camera rises with every turn, so that there is always something new
FRAME = "camera_optical"
LINGER = 3.0  # seconds at the end in which what is on its way arrives
DISCOVERY = 60.0  # seconds
BEGIN_PERIOD = 0.3  # seconds between the images before the load


class CameraLoad:
    """Publishes at its rates, as late as the machine makes it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        self._images = node.create_publisher(Image, "image", qos)
        self._depths = node.create_publisher(Image, "depth", qos)
        self._infos = node.create_publisher(CameraInfo, "camera_info", qos)
        self._tf = node.create_publisher(TFMessage, "/tf", qos)
        self._pictures = [raw(pixels, "rgb8", Header()) for pixels in pictures()]
        self._depth = raw(np.full((HEIGHT, WIDTH), round(1000 * WALL), np.uint16), "16UC1", Header())
        self._info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
        self._info.k = [FOCAL, 0.0, WIDTH / 2 - 0.5, 0.0, FOCAL, HEIGHT / 2 - 0.5, 0.0, 0.0, 1.0]
        self.published = 0
        self.latest = 0.0  # seconds that an image was published after its time

    def begin(self) -> bool:
        """Publish a little, until a keyframe tells that everything arrives; whether one did."""
        heard: list[Keyframe] = []
        self._node.create_subscription(Keyframe, "keyframe", heard.append, 10)
        ends_at = time.monotonic() + DISCOVERY
        while not heard and time.monotonic() < ends_at:
            now_ns = time.time_ns()
            self._send_tf(now_ns - TF_PERIOD_NS, 0.0)
            self._send_tf(now_ns + TF_PERIOD_NS, 0.0)
            self._send_image(now_ns)
            rclpy.spin_once(self._node, timeout_sec=BEGIN_PERIOD)
        return bool(heard)

    def run(self, seconds: float) -> None:
        """Publish for so long."""
        began = image_at = tf_at = time.time_ns()
        while image_at < began + seconds * 1e9:
            due = min(image_at, tf_at)
            time.sleep(max(due - time.time_ns(), 0) / 1e9)
            if tf_at <= image_at:
                self._send_tf(tf_at, (tf_at - began) / IMAGE_PERIOD_NS)
                tf_at += TF_PERIOD_NS
            else:
                self._send_image(image_at)
                self.latest = max(self.latest, (time.time_ns() - image_at) / 1e9)
                image_at += IMAGE_PERIOD_NS
        for _ in range(2):  # so that the last image has a transform after it
            self._send_tf(tf_at, (tf_at - began) / IMAGE_PERIOD_NS)
            tf_at += TF_PERIOD_NS

    def _send_image(self, stamp_ns: int) -> None:
        header = Header(stamp=stamp(stamp_ns), frame_id=FRAME)
        picture = self._pictures[to_and_fro(self.published)]
        picture.header = self._depth.header = self._info.header = header
        self._infos.publish(self._info)
        self._depths.publish(self._depth)
        self._images.publish(picture)
        self.published += 1

    def _send_tf(self, stamp_ns: int, image: float) -> None:
        message = TransformStamped(header=Header(stamp=stamp(stamp_ns), frame_id="map"), child_frame_id=FRAME)
        message.transform.translation.x = to_and_fro(image) * STEP
        message.transform.translation.y = -RISE * image / NUM_IMAGES
        message.transform.rotation.w = 1.0
        self._tf.publish(TFMessage(transforms=[message]))


def to_and_fro(image: float):
    """The place on the way, 0 to NUM_IMAGES - 1, at an image that has come, or at a time between two."""
    turn = image % (2 * (NUM_IMAGES - 1))
    return min(turn, 2 * (NUM_IMAGES - 1) - turn)


def pictures() -> list[np.ndarray]:
    """What the camera sees at each place."""
    generator = np.random.default_rng(0)
    width = WIDTH + NUM_IMAGES * STEP_PX
    wall = 128 + cv2.GaussianBlur(generator.normal(0, 90, (HEIGHT, width, 3)), (0, 0), 2.0)
    wall[160:320, width // 2 - 80 : width // 2 + 80] = (220.0, 15.0, 20.0)
    pixels = wall.clip(0, 255).astype(np.uint8)
    return [np.ascontiguousarray(pixels[:, place * STEP_PX :][:, :WIDTH]) for place in range(NUM_IMAGES)]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    rclpy.init(args=None)
    node = rclpy.create_node("camera_load")
    load = CameraLoad(node)
    if not load.begin():
        return 1
    load.run(parser.parse_args().seconds)
    time.sleep(LINGER)
    sys.stdout.write(json.dumps({"published": load.published, "latest": load.latest}) + "\n")
    node.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
