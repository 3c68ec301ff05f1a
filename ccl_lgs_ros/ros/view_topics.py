# SPDX-License-Identifier: Apache-2.0
"""Pictures on topics, drawn where somebody looks and no request waits: the map, and the last answer in it."""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.ros.conversions import header_message, image_message
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.ros.pictures import Sight, answer_pictures, map_picture, newest_view, shrunk
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides
from ccl_lgs_ros.structures import SemanticMap

MOST_PIXELS = 1_000_000  # in a picture: 3 MB
REST = 3.0  # times what drawing a preview took that the node does other things, so that a slow machine still answers


class ViewTopics:
    """Publishes `query/mask`, `query/overlay` and `preview`; node is whose topics they are."""

    def __init__(self, node: Node) -> None:
        self._node = node
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._mask = node.create_publisher(Image, "query/mask", **with_overrides(LATCHED))
        self._overlay = node.create_publisher(Image, "query/overlay", **with_overrides(LATCHED))
        self._preview = node.create_publisher(Image, "preview", **with_overrides(best_effort))
        self._due: Sight | tuple[SemanticMap, Answer] | None = None  # the last answer while it is not drawn
        self._next_preview = 0.0  # by time.monotonic()
        self._shown: tuple[tuple[str, int, int, int], NDArray[np.uint8]] | None = None  # the last preview

    def answered(self, semantic_map: SemanticMap, answer: Answer) -> None:
        """An answer, to be seen from the newest keyframe."""
        self._due = (semantic_map, answer)

    def seen(self, sight: Sight) -> None:
        """An answer that was looked at from somewhere."""
        self._due = replace(sight, view=shrunk(sight.view, MOST_PIXELS))

    def look(self, reader: MapReader, preview_period: float) -> None:
        """Draw one thing that somebody subscribes to; nothing while the rasterizer is being compiled."""
        wants_answer = self._mask.get_subscription_count() + self._overlay.get_subscription_count() > 0
        wants_preview = self._preview.get_subscription_count() > 0 and time.monotonic() >= self._next_preview
        if not reader.version or not ((wants_answer and self._due) or wants_preview) or not reader.is_ready_to_draw():
            return
        if wants_answer and self._due:
            due, self._due = self._due, None
            self._draw_answer(reader, due)
        else:
            began = time.monotonic()
            self._next_preview = began + preview_period  # also where drawing fails
            self._draw_preview(reader)
            now = time.monotonic()
            self._next_preview = max(self._next_preview, now + REST * (now - began))

    def _draw_answer(self, reader: MapReader, due: Sight | tuple[SemanticMap, Answer]) -> None:
        if isinstance(due, tuple):
            due = Sight(semantic_map=due[0], answer=due[1], view=newest_view(reader, MOST_PIXELS))
        mask, overlay = answer_pictures(due, reader.encoder, reader.rasterizer)
        header = header_message(self._node.get_clock().now().nanoseconds, due.view.frame_id)
        self._mask.publish(image_message(mask, header))
        self._overlay.publish(image_message(overlay, header))

    def _draw_preview(self, reader: MapReader) -> None:
        entry = reader.last_keyframe()
        key = (reader.map.map_id, reader.version, entry.id, entry.revision)
        if self._shown is None or self._shown[0] != key:
            picture = map_picture(reader.map, reader.rasterizer, newest_view(reader, MOST_PIXELS))
            self._shown = (key, picture)
        header = header_message(self._node.get_clock().now().nanoseconds, reader.map.map_frame)
        self._preview.publish(image_message(self._shown[1], header))
