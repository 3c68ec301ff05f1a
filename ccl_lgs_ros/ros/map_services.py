# SPDX-License-Identifier: Apache-2.0
"""What the query node answers: each method fills a response, or raises what is wrong with the request or the map.

One that returns a function leaves the rest, which takes long, to a thread.
"""

import time
from array import array
from collections.abc import Callable
from typing import Any, Protocol

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.ingest.transforms import TransformBuffer
from ccl_lgs_ros.ros.answer_topics import AnswerTopics
from ccl_lgs_ros.ros.answers import answer_cloud, fill_response, gaussian_indices, instance_messages
from ccl_lgs_ros.ros.destinations import poses_of, with_destinations
from ccl_lgs_ros.ros.map_info import fill_map_info
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.ros.pictures import asked_picture, draw
from ccl_lgs_ros.ros.planners import Planners
from ccl_lgs_ros.ros.query_options import QueryNodeOptions
from ccl_lgs_ros.ros.questions import ask
from ccl_lgs_ros.ros.requests import BadRequestError, checked_prompt, checked_question
from ccl_lgs_ros.ros.view_topics import ViewTopics
from ccl_lgs_ros.ros.vocabulary import Vocabulary
from ccl_lgs_ros.srv import EncodeText, GetMapInfo, RenderView, SemanticQuery


class AskedNode(Protocol):
    """What the answers need to know of the node, as it is when they are given."""

    options: QueryNodeOptions
    config: MapConfig
    vocabulary: Vocabulary

    def active_reader(self) -> MapReader: ...

    def threshold(self, reader: MapReader) -> float: ...

    def get_clock(self) -> Any: ...


class MapServices:
    """The answers, and who else is told of them."""

    def __init__(
        self,
        node: AskedNode,
        transforms: TransformBuffer,
        answers: AnswerTopics,
        views: ViewTopics,
        planners: Planners,
    ) -> None:
        self._node, self._transforms = node, transforms
        self._answers, self._views, self._planners = answers, views, planners

    def query(self, request: SemanticQuery.Request, response: SemanticQuery.Response) -> SemanticQuery.Response:
        began = time.monotonic()
        options = self._node.options
        question, reader = checked_question(request, options), self._node.active_reader()
        config = self._node.config  # after the reader, whose map has a say in it
        reply = ask(reader, config, question, self._transforms.lookup_newest, options.max_points)
        found, note = self._planners.destinations(reply, question, config, options.costmap_max_age)
        reply = with_destinations(reply, found, note)
        answer, world = reply.answer, reply.answer_from_world
        poses = poses_of(answer.instances, found, question.num_approaches)
        fill_response(response, reply, self._node.get_clock().now().nanoseconds)
        response.instances = instance_messages(answer.instances, world, reply.listed, poses)
        if request.include_indices:
            response.gaussian_indices = array("I", gaussian_indices(reply.listed).tobytes())
        if request.include_points or options.publish_results:
            cloud = answer_cloud(reply.listed, reply.semantic_map.gaussians, world, response.header)
            response.points = [cloud] if request.include_points else []
            if options.publish_results:
                self._answers.publish(response, request.prompt, cloud)
                self._views.answered(reply.semantic_map, answer, config.query.view)
        self._planners.answered(reply, found, question.num_approaches > 0 and options.publish_results)
        response.query_time = time.monotonic() - began
        return response

    def render(self, request: RenderView.Request, _: RenderView.Response) -> Callable[[], RenderView.Response]:
        """What draws the response; it touches nothing of the node, so that a thread can run it."""
        reader, now_ns = self._node.active_reader(), self._node.get_clock().now().nanoseconds
        lookup = self._transforms.lookup_newest
        asked = asked_picture(reader, self._node.config, self._node.options, request, lookup)
        if asked.sight is not None and self._node.options.publish_results:
            self._views.seen(asked.sight)
        return lambda: draw(asked, now_ns)

    def info(self, _: GetMapInfo.Request, response: GetMapInfo.Response) -> GetMapInfo.Response:
        reader = self._node.active_reader()
        fill_map_info(response, reader.map, reader.path)
        if self._node.vocabulary.names:
            counts = self._node.vocabulary.counts(reader.map, reader.encoder, self._node.threshold(reader))
            response.labels, response.label_counts = [name for name, _ in counts], [count for _, count in counts]
        return response

    def encode(self, request: EncodeText.Request, response: EncodeText.Response) -> EncodeText.Response:
        if len(request.prompts) > self._node.options.max_prompts:
            raise BadRequestError(
                f"{len(request.prompts)} texts are too many; send at most {self._node.options.max_prompts}"
            )
        texts = [checked_prompt(text, self._node.options) for text in request.prompts]
        reader = self._node.active_reader()
        encoder = reader.encoder
        prompts = [encoder.understand(text) for text in texts]
        response.encoder, response.dim = encoder.identity, encoder.dim
        for prompt in prompts:
            response.features.frombytes(prompt.feature.float().cpu().numpy().tobytes())
        response.unknown_words = [" ".join(prompt.unknown_words) for prompt in prompts]
        response.success, response.message = True, f"{len(prompts)} texts encoded by {encoder.identity}"
        return response
