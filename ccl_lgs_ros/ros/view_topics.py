# SPDX-License-Identifier: Apache-2.0
"""Pictures on topics, drawn where somebody looks: the map, and the last answer in it."""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.ros.conversions import header_message, image_message
from ccl_lgs_ros.ros.loading import Loading
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.ros.pictures import Sight, answer_pictures, map_picture, newest_view, shrunk
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides
from ccl_lgs_ros.structures import SemanticMap

MOST_PIXELS = 1_000_000  # in a picture: 3 MB
REST = 3.0  # times what drawing a preview took that the machine does other things

Picture = tuple[Publisher, NDArray[np.uint8], str]  # where it goes, its pixels, the frame of its header
PreviewKey = tuple[str, int, int, int]  # map, version, and the keyframe with how often its pose was corrected


class ViewTopics:
    """Publishes `query/mask`, `query/overlay` and `preview`; node is whose topics they are.

    A picture of a large map takes seconds, so a thread of its own draws it; there is one at a time.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._mask = node.create_publisher(Image, "query/mask", **with_overrides(LATCHED))
        self._overlay = node.create_publisher(Image, "query/overlay", **with_overrides(LATCHED))
        self._preview = node.create_publisher(Image, "preview", **with_overrides(best_effort))
        self._due: Sight | tuple[SemanticMap, Answer, str] | None = None  # the last answer while it is not drawn
        self._drawing: Loading[list[Picture]] | None = None
        self._preview_began = self._next_preview = 0.0  # by time.monotonic()
        self._shown: tuple[PreviewKey, Picture] | None = None  # the last preview

    def answered(self, semantic_map: SemanticMap, answer: Answer, way: str) -> None:
        """An answer, to be seen from the newest keyframe, as the option query.view has it."""
        self._due = (semantic_map, answer, way)

    def seen(self, sight: Sight) -> None:
        """An answer that was looked at from somewhere."""
        self._due = replace(sight, view=shrunk(sight.view, MOST_PIXELS))

    def look(self, reader: MapReader, preview_period: float) -> None:
        """Publish what has been drawn, or begin to draw one thing that somebody subscribes to."""
        if self._drawing is not None:
            if self._drawing.is_done:
                drawn, self._drawing = self._drawing, None
                self._publish(drawn.result())
            return
        wants_answer = self._mask.get_subscription_count() + self._overlay.get_subscription_count() > 0
        wants_preview = self._preview.get_subscription_count() > 0 and time.monotonic() >= self._next_preview
        if not reader.version or not ((wants_answer and self._due) or wants_preview) or not reader.is_ready_to_draw():
            return
        if wants_answer and self._due:
            due, self._due = self._due, None
            self._draw_answer(reader, due)
        else:
            self._preview_began = time.monotonic()
            self._next_preview = self._preview_began + preview_period  # also where drawing fails
            self._draw_preview(reader)

    def _draw_answer(self, reader: MapReader, due: Sight | tuple[SemanticMap, Answer, str]) -> None:
        if isinstance(due, tuple):
            semantic_map, answer, way = due
            due = Sight(semantic_map=semantic_map, answer=answer, view=newest_view(reader, MOST_PIXELS), way=way)
        sight, encoder, rasterizer = due, reader.encoder, reader.rasterizer

        def draw() -> list[Picture]:
            mask, overlay = answer_pictures(sight, encoder, rasterizer)
            return [(self._mask, mask, sight.view.frame_id), (self._overlay, overlay, sight.view.frame_id)]

        self._drawing = Loading(draw)

    def _draw_preview(self, reader: MapReader) -> None:
        entry, semantic_map, rasterizer = reader.last_keyframe(), reader.map, reader.rasterizer
        key = (semantic_map.map_id, semantic_map.version, entry.id, entry.revision)
        if self._shown is not None and self._shown[0] == key:
            self._publish([self._shown[1]])
            return
        view = newest_view(reader, MOST_PIXELS)

        def draw() -> list[Picture]:
            self._shown = (key, (self._preview, map_picture(semantic_map, rasterizer, view), view.frame_id))
            return [self._shown[1]]

        self._drawing = Loading(draw)

    def _publish(self, pictures: list[Picture]) -> None:
        for publisher, pixels, frame_id in pictures:
            header = header_message(self._node.get_clock().now().nanoseconds, frame_id)
            publisher.publish(image_message(pixels, header))
            if publisher is self._preview:
                now = time.monotonic()
                self._next_preview = max(self._next_preview, now + REST * (now - self._preview_began))
