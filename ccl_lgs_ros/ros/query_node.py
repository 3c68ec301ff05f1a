# SPDX-License-Identifier: Apache-2.0
"""Answers questions about the newest published version of a map.

Serves `semantic_query`, `render_view`, `get_map_info`, `encode_text`, `~/load_map` and `~/publish_map`; listens to
`query_text`; publishes answers on `query/...`, the map on `gaussian_cloud`, `semantic_cloud`, `semantic_gaussians`,
`preview` and `occupancy`, for MoveIt `planning_scene`, and `label_info` and `status`. All is in docs/interface.md.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.ingest.messages import transform_records
from ccl_lgs_ros.ingest.transforms import TransformBuffer
from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.ros.answer_topics import AnswerTopics
from ccl_lgs_ros.ros.guards import guarded, guarded_service
from ccl_lgs_ros.ros.lifecycle import AutostartNode
from ccl_lgs_ros.ros.map_publisher import MapPublisher
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.ros.map_recipe import MapRecipe
from ccl_lgs_ros.ros.map_services import MapServices
from ccl_lgs_ros.ros.parameters import declare_options, on_change, warn_of_unknown
from ccl_lgs_ros.ros.planners import Planners
from ccl_lgs_ros.ros.qos import RELIABLE, STATIC, with_overrides
from ccl_lgs_ros.ros.query_options import CHANGEABLE, QueryNodeOptions
from ccl_lgs_ros.ros.questions import error_code
from ccl_lgs_ros.ros.spinning import every, run_node
from ccl_lgs_ros.ros.status import StatusPublisher
from ccl_lgs_ros.ros.turns import Turns
from ccl_lgs_ros.ros.view_topics import ViewTopics
from ccl_lgs_ros.ros.vocabulary import Vocabulary
from ccl_lgs_ros.srv import EncodeText, GetMapInfo, LoadMap, RenderView, SemanticQuery
from ccl_lgs_ros.storage.confined import permitted, save_root

GROUPS = ("device", "download", "frames.", "ingest.tf_cache", "rendering.", "perception.", "query.", "navigation.")
# The middleware must hold what comes at once: of the ten requests that are usual it drops the first for the eleventh.
REQUESTS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
TEXTS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
COMPILING = 60.0  # seconds that the first picture may wait for the rasterizer
DRAW_PERIOD = 0.1  # seconds between looks for pictures to draw


class QueryNode(AutostartNode):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("query_node")
        self.options = declare_options(self, QueryNodeOptions(), changeable=CHANGEABLE)
        self.config = declare_options(self, MapConfig(), changeable=("query.", "navigation."), groups=GROUPS)
        self._map_recipe = MapRecipe(self, self.config)
        on_change(self, lambda: self.options, lambda options: setattr(self, "options", options))
        on_change(self, lambda: self.config, lambda config: setattr(self, "config", config))
        warn_of_unknown(self, self._parameters)
        self.reader: MapReader | None = None
        self.is_active = False
        self.vocabulary = Vocabulary(self.options.vocabulary)
        self._transforms = TransformBuffer(cache=self.config.ingest.tf_cache)
        self._path = Path(self.options.map_path).expanduser()
        self._status = StatusPublisher(self)
        self._map, self._views = MapPublisher(self), ViewTopics(self)
        self._answers = AnswerTopics(self, self.vocabulary.names)
        self._planners = Planners(self, self.options, self._transforms)
        self._replies = MapServices(self, self._transforms, self._answers, self._views, self._planners)
        self._turns = Turns(self, lambda: self.options)
        self._create_services()
        self._create_subscriptions()
        every(self, self.options.watch_period, guarded(self.get_logger(), "watch", self._watch))
        every(self, self.options.watch_period, guarded(self.get_logger(), "planners", self._tell_planners))
        every(self, DRAW_PERIOD, guarded(self.get_logger(), "draw", self._draw))
        self.start(self.options.autostart)

    def configure(self) -> None:
        """Begin to follow the map."""
        self.reader = MapReader(self._path, self.config)

    def activate(self) -> None:
        """Answer from now on; what answers need is loaded meanwhile."""
        assert self.reader is not None
        self._refresh(self.reader)
        self.reader.is_ready_to_ask()
        self.is_active = True

    def deactivate(self) -> None:
        """Answer no more."""
        self.is_active = False

    def cleanup(self) -> None:
        """Let the map go."""
        self.reader = None

    def _create_services(self) -> None:
        log, services, can_ask = self.get_logger(), self._replies, self._is_ready_to_ask
        self._ask = self._serve(SemanticQuery, "semantic_query", services.query, self._is_ready_for, error_code)
        self._serve(RenderView, "render_view", services.render, self._is_ready_to_draw, patience=COMPILING)
        self._serve(GetMapInfo, "get_map_info", services.info, can_ask if self.vocabulary.names else lambda _: True)
        self._serve(EncodeText, "encode_text", services.encode, can_ask)
        self.create_service(LoadMap, "~/load_map", guarded_service(log, "load_map", self._load))
        self.create_service(Trigger, "~/publish_map", guarded_service(log, "publish_map", self._publish_map))

    def _serve(
        self,
        kind: Any,
        name: str,
        callback: Callable[[Any, Any], Any],
        is_ready: Callable[..., bool],
        code: Callable[[Exception], int] | None = None,
        patience: float = 0.0,
    ) -> Callable[[Any, Any], Any]:
        """A service whose requests wait for their turn, but never long; its coroutine."""

        def safe(work: Callable[[Any, Any], Any]) -> Any:
            return guarded_service(self.get_logger(), name, work, code)

        async def answer(request: Any, response: Any) -> Any:
            refusal = await self._turns.refusal(lambda: is_ready(request), patience)
            if refusal is not None:
                return safe(lambda *_: _raise(refusal))(request, response)
            answered = safe(callback)(request, response)
            if not callable(answered):
                return answered
            return await self._turns.result_of(lambda: safe(lambda *_: answered())(request, response))

        self.create_service(kind, name, answer, qos_profile=REQUESTS, callback_group=ReentrantCallbackGroup())
        return answer

    def _create_subscriptions(self) -> None:
        log = self.get_logger()
        group = ReentrantCallbackGroup()
        self.create_subscription(String, "query_text", self._on_text, callback_group=group, **with_overrides(TEXTS))
        for topic, is_static in (("/tf", False), ("/tf_static", True)):

            def take(message: TFMessage, is_static: bool = is_static) -> None:
                for record in transform_records(message, is_static=is_static):
                    self._transforms.add(record)

            qos = with_overrides(STATIC if is_static else RELIABLE)
            self.create_subscription(TFMessage, topic, guarded(log, topic, take), **qos)

    def _watch(self) -> None:
        reader = self.reader
        if reader is not None and self.is_active:
            self._refresh(reader)
            is_ready = reader.is_ready_to_ask()
            if reader.version:
                labels = self._labels(reader) if self.vocabulary.names and is_ready and not reader.lack else None
                self._map.look(reader.map, self.options.viz_max_points, labels)
        self._publish_status()

    def _labels(self, reader: MapReader) -> NDArray[np.uint16]:
        self._answers.publish_labels(reader.map.map_frame, self.threshold(reader))
        return self.vocabulary.label_of_track(reader.map, reader.encoder, self.threshold(reader))

    def _draw(self) -> None:
        if self.reader is not None and self.is_active and self._turns.is_idle:
            self._views.look(self.reader, self.options.preview_period)

    def _tell_planners(self) -> None:
        reader = self.reader
        if reader is not None and self.is_active and reader.version and reader.is_ready_to_ask() and not reader.lack:
            self._planners.look(reader, self.config, self.options)

    def _is_ready_for(self, request: SemanticQuery.Request) -> bool:
        """Whether a question can be answered with all that it asks for."""
        reader = self.reader
        if reader is None or not self.is_active or not self._is_ready_to_ask() or reader.lack:
            return self._is_ready_to_ask()
        return not request.max_approaches or self._planners.is_ready(reader, self.config)

    def _is_ready_to_ask(self, _: object = None) -> bool:
        return self.reader is None or not self.is_active or self.reader.is_ready_to_ask()

    def _is_ready_to_draw(self, _: object = None) -> bool:
        if self.reader is None or not self.is_active or not self.reader.version:
            return True
        return self.reader.is_ready_to_ask() and self.reader.is_ready_to_draw() and not self._turns.is_working

    def active_reader(self) -> MapReader:
        """What answers now, with the newest version of the map; raises MapError where nothing does."""
        if self.reader is None or not self.is_active:
            raise MapError(f"the node is not active; {self.error or 'activate it'}")
        self._refresh(self.reader)
        return self.reader

    def _refresh(self, reader: MapReader) -> None:
        """Take the newest version of the map, and ask it as its recipe says."""
        reader.refresh()
        if reader.version:
            self._map_recipe.follow(reader.map)

    def threshold(self, reader: MapReader) -> float:
        """The relevancy from which a thing answers."""
        return self.config.query.threshold or reader.encoder.threshold

    def _publish_status(self) -> None:
        reader = self.reader
        version, lack = (reader.version, reader.lack) if reader else (0, "")
        idle = MapStatus.STATE_WAITING_FOR_DATA if reader else MapStatus.STATE_UNCONFIGURED
        usual = MapStatus.STATE_READY if version else idle
        self._status.publish(
            self.config.frames.map_frame,
            state=MapStatus.STATE_ERROR if lack else usual,
            message=self.error or lack or (reader.error if reader else ""),
            map_id=reader.map.map_id if reader and version else "",
            map_version=version,
            map_path=str(self._path),
            num_gaussians=len(reader.map.gaussians) if reader and version else 0,
        )

    async def _on_text(self, message: String) -> None:
        response = await self._ask(SemanticQuery.Request(prompt=message.data), SemanticQuery.Response())
        self.get_logger().info(f"{message.data!r}: {response.message}")

    def _publish_map(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        semantic_map = self.active_reader().map
        count = self._map.publish_whole(semantic_map)
        response.success = True
        response.message = (
            f"version {semantic_map.version}: {len(semantic_map.gaussians)} Gaussians in {count} messages on "
            "semantic_gaussians"
        )
        return response

    def _load(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        path = permitted(request.path, save_root(self.options.save_root, self.options.map_path))
        reader = MapReader(path, self.config)
        reader.open()
        self.active_reader()
        self._path, self.reader = path, reader
        self._refresh(reader)
        reader.is_ready_to_ask()
        response.success, response.message = True, f"the map {path} is asked from now on"
        response.map_version, response.num_keyframes = reader.version, reader.num_keyframes()
        if reader.version:
            response.map_id, response.num_gaussians = reader.map.map_id, len(reader.map.gaussians)
        return response


def _raise(error: Exception) -> None:
    raise error


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns its exit code."""
    return run_node(QueryNode, "query_node", args)


if __name__ == "__main__":
    sys.exit(main())
