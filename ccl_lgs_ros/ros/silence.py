# SPDX-License-Identifier: Apache-2.0
"""Says why nothing happens: which topics are listened to, who publishes them, and what else is there."""

import time
from collections.abc import Sequence

from rclpy.node import Node

from ccl_lgs_ros.ros.capture_thread import CaptureThread
from ccl_lgs_ros.ros.inputs import Input, topics_of_types
from ccl_lgs_ros.ros.subscriptions import IMAGES

NO_DATA = 5.0  # seconds of silence that are worth a warning
NEEDED = ("colour image", "label image")


class SilenceWatch:
    """Warns every NO_DATA seconds while a camera is silent, or while images come and no keyframe does.

    Args:
        node: warns.
        inputs: what it listens to.
    """

    def __init__(self, node: Node, inputs: Sequence[Input]) -> None:
        self._node, self._inputs = node, inputs
        self._images = [source for source in inputs if source.role.startswith("colour image")]
        self._counts = {source.role: 0 for source in self._images}
        self._checked_at = time.monotonic()

    def check(self, capture: CaptureThread) -> None:
        """Look, if it is time to."""
        if time.monotonic() - self._checked_at < NO_DATA:
            return
        self._checked_at = time.monotonic()
        silent = [source.role for source in self._images if source.count == self._counts[source.role]]
        self._counts = {source.role: source.count for source in self._images}
        if capture.is_paused or not self._images:
            return
        images = capture.capture
        if silent:
            self._warn(f"no {' and no '.join(silent)} for {NO_DATA:.0f} s")
        elif images is not None and not images.num_kept and not len(capture.store):
            self._warn(f"no keyframe yet: {images.status_text}")

    def _warn(self, what: str) -> None:
        text = f"{what}; {'; '.join(source.description() for source in self._inputs)}"
        missing = [s for s in self._inputs if s.role.startswith(NEEDED) and not s.topic]
        if missing:
            others = ", ".join(sorted(topics_of_types(self._node, tuple(IMAGES)))) or "none"
            text += (
                f". Nobody publishes the {plural(missing[0].role)}; topics with images: {others}; "
                f"set {missing[0].parameter}, start the camera, or check ROS_DOMAIN_ID"
            )
        self._node.get_logger().warning(text)


def plural(role: str) -> str:
    """'colour image of front' -> 'colour images of front'."""
    return role.replace("image", "images", 1)
