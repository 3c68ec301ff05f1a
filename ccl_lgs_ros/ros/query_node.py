# SPDX-License-Identifier: Apache-2.0
"""Answers questions about the newest published version of a map.

Serves `semantic_query`, `render_view`, `get_map_info`, `encode_text`, `~/load_map` and `~/publish_map`; listens to
`query_text`; publishes `query/points`, `query/markers`, `gaussian_cloud`, `semantic_cloud`, `semantic_gaussians` and
`status`.
"""

import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.ingest.messages import transform_records
from ccl_lgs_ros.ingest.transforms import TransformBuffer
from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.ros.answers import answer_cloud, answer_markers, gaussian_indices, instance_messages
from ccl_lgs_ros.ros.conversions import header_message, pose_message, vector_message
from ccl_lgs_ros.ros.guards import guarded, guarded_service
from ccl_lgs_ros.ros.lifecycle import AutostartNode
from ccl_lgs_ros.ros.map_publisher import MapPublisher
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.ros.parameters import declare_options, on_change, warn_of_unknown
from ccl_lgs_ros.ros.pictures import draw
from ccl_lgs_ros.ros.query_options import QueryNodeOptions
from ccl_lgs_ros.ros.questions import Reply, ask, error_code
from ccl_lgs_ros.ros.spinning import every, run_node
from ccl_lgs_ros.ros.status import LATCHED, StatusPublisher
from ccl_lgs_ros.srv import EncodeText, GetMapInfo, LoadMap, RenderView, SemanticQuery
from ccl_lgs_ros.structures import SemanticMap

GROUPS = ("device", "download", "frames.", "ingest.tf_cache", "rendering.", "perception.", "query.")
CHANGEABLE = ("query.",)
TF_DEPTH = 100


class QueryNode(AutostartNode):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("query_node")
        self.options = declare_options(self, QueryNodeOptions())
        self.config = declare_options(self, MapConfig(), changeable=CHANGEABLE, groups=GROUPS)
        on_change(self, lambda: self.config, self._reconfigure)
        warn_of_unknown(self, self._parameters)
        self.reader: MapReader | None = None
        self.is_active = False
        self._transforms = TransformBuffer(cache=self.config.ingest.tf_cache)
        self._path = Path(self.options.map_path).expanduser()
        self._create_interfaces()
        self.start(self.options.autostart)

    def configure(self) -> None:
        """Begin to follow the map."""
        self.reader = MapReader(self._path, self.config)

    def activate(self) -> None:
        """Answer from now on."""
        self.is_active = True

    def deactivate(self) -> None:
        """Answer no more."""
        self.is_active = False

    def cleanup(self) -> None:
        """Let the map go."""
        self.reader = None

    def _reconfigure(self, config: MapConfig) -> None:
        self.config = config

    def _create_interfaces(self) -> None:
        log = self.get_logger()
        self._points = self.create_publisher(PointCloud2, "query/points", LATCHED)
        self._markers = self.create_publisher(MarkerArray, "query/markers", LATCHED)
        self._map = MapPublisher(self, self.options.viz_max_points)
        self._status = StatusPublisher(self)
        serve = self.create_service
        serve(SemanticQuery, "semantic_query", guarded_service(log, "semantic_query", self._query, error_code))
        serve(RenderView, "render_view", guarded_service(log, "render_view", self._render))
        serve(GetMapInfo, "get_map_info", guarded_service(log, "get_map_info", self._info))
        serve(EncodeText, "encode_text", guarded_service(log, "encode_text", self._encode))
        serve(LoadMap, "~/load_map", guarded_service(log, "load_map", self._load))
        serve(Trigger, "~/publish_map", guarded_service(log, "publish_map", self._publish_map))
        self.create_subscription(String, "query_text", guarded(log, "query_text", self._on_text), 5)
        for topic, is_static in (("/tf", False), ("/tf_static", True)):
            durability = DurabilityPolicy.TRANSIENT_LOCAL if is_static else DurabilityPolicy.VOLATILE

            def take(message: TFMessage, is_static: bool = is_static) -> None:
                for record in transform_records(message, is_static=is_static):
                    self._transforms.add(record)

            self.create_subscription(
                TFMessage, topic, guarded(log, topic, take), QoSProfile(depth=TF_DEPTH, durability=durability)
            )
        every(self, self.options.watch_period, guarded(log, "watch", self._watch))

    def _watch(self) -> None:
        if self.reader is not None and self.is_active:
            self.reader.refresh()
            if self.reader.version:
                self._map.look(self.reader.map)
        self._publish_status()

    def _active_reader(self) -> MapReader:
        if self.reader is None or not self.is_active:
            raise MapError(f"the node is not active; {self.error or 'activate it'}")
        return self.reader

    def _publish_status(self) -> None:
        reader = self.reader
        version = reader.version if reader else 0
        idle = MapStatus.STATE_WAITING_FOR_DATA if reader else MapStatus.STATE_UNCONFIGURED
        self._status.publish(
            self.config.frames.map_frame,
            state=MapStatus.STATE_READY if version else idle,
            message=self.error or (reader.error if reader else ""),
            map_id=reader.map.map_id if reader and version else "",
            map_version=version,
            map_path=str(self._path),
            num_gaussians=len(reader.map.gaussians) if reader and version else 0,
        )

    def _query(self, request: SemanticQuery.Request, response: SemanticQuery.Response) -> SemanticQuery.Response:
        began = time.monotonic()
        reader = self._active_reader()
        reader.refresh()
        reply = ask(reader, self.config, request, self._transforms.lookup_newest)
        answer, instances = reply.answer, reply.answer.instances
        response.success, response.error_code, response.message = True, response.OK, reply.message
        response.unknown_words = list(answer.prompt.unknown_words)
        response.best_score, response.threshold = float(answer.best_score), float(answer.threshold)
        response.map_id, response.map_version = reply.semantic_map.map_id, reply.semantic_map.version
        response.header = header_message(self.get_clock().now().nanoseconds, reply.frame_id)
        response.instances = instance_messages(instances, reply.answer_from_world)
        if request.include_indices:
            response.gaussian_indices = array("I", gaussian_indices(instances).tobytes())
        if request.include_points or self.options.publish_results:
            self._fill_clouds(request, response, reply)
        response.query_time = time.monotonic() - began
        return response

    def _fill_clouds(self, request: SemanticQuery.Request, response: SemanticQuery.Response, reply: Reply) -> None:
        header, gaussians = response.header, reply.semantic_map.gaussians
        cloud = answer_cloud(reply.answer.instances, gaussians, reply.answer_from_world, header)
        if request.include_points:
            response.points = [cloud]
        if self.options.publish_results:
            self._points.publish(cloud)
            self._markers.publish(answer_markers(response.instances, request.prompt, header))

    def _on_text(self, message: String) -> None:
        response = self._query(SemanticQuery.Request(prompt=message.data), SemanticQuery.Response())
        self.get_logger().info(f"'{message.data}': {response.message}")

    def _render(self, request: RenderView.Request, _: RenderView.Response) -> RenderView.Response:
        now_ns = self.get_clock().now().nanoseconds
        return draw(self._active_reader(), self.config, request, self._transforms.lookup_newest, now_ns)

    def _info(self, _: GetMapInfo.Request, response: GetMapInfo.Response) -> GetMapInfo.Response:
        reader = self._active_reader()
        reader.refresh()
        semantic_map = reader.map
        held_out = semantic_map.info.get("held_out")
        psnr = held_out.get("psnr") if isinstance(held_out, dict) else None
        response.success = True
        response.map_id, response.map_version = semantic_map.map_id, semantic_map.version
        response.map_path, response.map_frame = str(reader.path.resolve()), semantic_map.map_frame
        response.encoder = semantic_map.encoder
        response.num_keyframes = int(semantic_map.info.get("keyframes", 0))  # type: ignore[call-overload]
        response.num_gaussians = len(semantic_map.gaussians)
        response.levels = list(semantic_map.levels)
        response.num_tracks = [level.num_tracks for level in semantic_map.levels.values()]
        response.codebook_sizes = [len(level.codebook) for level in semantic_map.levels.values()]
        response.psnr = float("nan") if psnr is None else float(psnr)
        center, size = bounds(semantic_map)
        response.bounds_pose = pose_message(rigid(np.eye(3), center))
        response.bounds_size = vector_message(size)
        response.message = (
            f"version {semantic_map.version}: {response.num_keyframes} keyframes, {response.num_gaussians} Gaussians"
        )
        return response

    def _encode(self, request: EncodeText.Request, response: EncodeText.Response) -> EncodeText.Response:
        encoder = self._active_reader().encoder
        prompts = [encoder.understand(text) for text in request.prompts]
        response.encoder, response.dim = encoder.identity, encoder.dim
        for prompt in prompts:
            response.features.frombytes(prompt.feature.float().cpu().numpy().tobytes())
        response.unknown_words = [" ".join(prompt.unknown_words) for prompt in prompts]
        response.success, response.message = True, f"{len(prompts)} texts encoded by {encoder.identity}"
        return response

    def _publish_map(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        semantic_map = self._active_reader().map
        count = self._map.publish_whole(semantic_map)
        response.success = True
        response.message = (
            f"version {semantic_map.version}: {len(semantic_map.gaussians)} Gaussians in {count} messages on "
            "semantic_gaussians"
        )
        return response

    def _load(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        path = Path(request.path).expanduser()
        reader = MapReader(path, self.config)
        reader.open()
        self._active_reader()
        self._path, self.reader = path, reader
        response.success, response.message = True, f"the map {path} is asked from now on"
        response.map_version, response.num_keyframes = reader.version, reader.num_keyframes()
        if reader.version:
            response.map_id, response.num_gaussians = reader.map.map_id, len(reader.map.gaussians)
        return response


def bounds(semantic_map: SemanticMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre [3] and size [3] of the box around the map's Gaussians, in metres; zeros for an empty map."""
    if not len(semantic_map.gaussians):
        return np.zeros(3), np.zeros(3)
    means = semantic_map.gaussians.means.numpy().astype(np.float64)
    low, high = means.min(axis=0), means.max(axis=0)
    return (low + high) / 2, high - low


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns its exit code."""
    return run_node(QueryNode, "query_node", args)


if __name__ == "__main__":
    sys.exit(main())
