# SPDX-License-Identifier: Apache-2.0
"""A camera that slides along a grey wall with a red square on it, published as topics."""

from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

WIDTH, HEIGHT, FOCAL = 160, 120, 100.0  # pixels
WALL = 2.5  # metres
STEP = 0.125  # metres between images: 5 pixels on the wall
STEP_PX = round(FOCAL * STEP / WALL)
MAX_STEPS = 24
PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000
FRAME = "camera_optical"
SQUARE_PX = 44
SETTLE = 0.3  # seconds: a subscription may learn of a publisher after the publisher knows of it, and miss what it sends


class FakeCamera:
    """Publishes image, camera_info, depth and tf; `send` sends one of each.

    Args:
        client: of the test.
        qos: of images and camera_info.
        labels: the topic of label images; '' = none.
        below: what its topics begin with, such as front/.
        frame: the optical frame as tf has it.
        named: the frame as the images have it; None = the same.
        has_depth: whether it publishes depth.
    """

    def __init__(
        self,
        client: Any,
        qos: Any,
        *,
        is_awaited: bool = True,
        labels: str = "",
        below: str = "",
        frame: str = FRAME,
        named: str | None = None,
        has_depth: bool = True,
    ) -> None:
        self._frame, self._named = frame, frame if named is None else named
        self._images = client.publisher(Image, f"{below}image", qos, is_awaited=is_awaited)
        self._infos = client.publisher(CameraInfo, f"{below}camera_info", qos, is_awaited=is_awaited)
        self._depths = client.publisher(Image, f"{below}depth", qos, is_awaited=is_awaited) if has_depth else None
        self._labels = client.publisher(Image, labels, qos, is_awaited=is_awaited) if labels else None
        self._tf = client.publisher(TFMessage, "/tf", is_awaited=is_awaited)
        if is_awaited:
            client.spin(SETTLE)
        self._wall = wall()
        self.step = 0
        self.stamp_ns = START_NS

    def send(
        self, *, image: Any = None, depth: NDArray[np.float32] | None = None, moves: bool = True, tf: bool = True
    ) -> None:
        """One image and all that belongs to it, a step further on."""
        self.stamp_ns += PERIOD_NS
        self.step += moves
        header = Header(stamp=stamp(self.stamp_ns), frame_id=self._named)
        if tf:
            self.send_tf()
        self._infos.publish(info(header))
        if self._depths is not None:
            self._depths.publish(raw(depth if depth is not None else plane(), "32FC1", header))
        if self._labels is not None:
            self._labels.publish(raw(self.labels(), "16UC1", header))
        if image is None:
            image = raw(self.picture(), "rgb8", header)
        image.header = header
        self._images.publish(image)

    def labels(self) -> NDArray[np.uint16]:
        """What a detector says of the picture: the red square is thing 300."""
        return np.where(self.picture()[..., 0] > self.picture()[..., 1].astype(int) + 100, 300, 0).astype(np.uint16)

    def send_tf(self) -> None:
        """Where the camera is at the last image."""
        self._tf.publish(TFMessage(transforms=[transform(self.stamp_ns, self.step * STEP, self._frame)]))

    def picture(self) -> NDArray[np.uint8]:
        """What the camera sees now."""
        left = self.step * STEP_PX
        return np.ascontiguousarray(self._wall[:, left : left + WIDTH])


def wall() -> NDArray[np.uint8]:
    """The whole wall, textured so that images are sharp."""
    generator = np.random.default_rng(0)
    width = WIDTH + MAX_STEPS * STEP_PX
    grey = 128 + cv2.GaussianBlur(generator.normal(0, 60, (HEIGHT, width)), (0, 0), 1.0)
    image = np.repeat(grey[..., None], 3, axis=2)
    top, left = (HEIGHT - SQUARE_PX) // 2, width // 2 - SQUARE_PX
    shade = (0.85 + 0.15 * (grey[top : top + SQUARE_PX, left : left + SQUARE_PX] / 255))[..., None]
    image[top : top + SQUARE_PX, left : left + SQUARE_PX] = shade * np.array([220.0, 15.0, 20.0])
    return image.clip(0, 255).astype(np.uint8)


def plane() -> NDArray[np.float32]:
    """The depth of the wall."""
    return np.full((HEIGHT, WIDTH), WALL, np.float32)


def raw(pixels: NDArray[Any], encoding: str, header: Header) -> Image:
    """Pixels as an Image."""
    message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = pixels.strides[0]
    message.data = pixels.tobytes()
    return message


def info(header: Header) -> CameraInfo:
    """The camera's intrinsics, as ROS counts pixels."""
    k = [FOCAL, 0.0, WIDTH / 2 - 0.5, 0.0, FOCAL, HEIGHT / 2 - 0.5, 0.0, 0.0, 1.0]
    message = CameraInfo(header=header, width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5, k=k)
    message.p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    return message


def transform(stamp_ns: int, x: float, frame: str = FRAME, parent: str = "map") -> TransformStamped:
    """A frame's place, looking along z of its parent."""
    message = TransformStamped(header=Header(stamp=stamp(stamp_ns), frame_id=parent), child_frame_id=frame)
    message.transform.translation.x = x
    message.transform.rotation.w = 1.0
    return message


def stamp(stamp_ns: int) -> Time:
    """Nanoseconds as a Time."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)
