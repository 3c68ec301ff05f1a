# SPDX-License-Identifier: Apache-2.0
"""What planners get of the map and its answers: grids, poses to drive to, what to keep out of, what not to hit."""

from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from std_msgs.msg import Header

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import CclLgsError
from ccl_lgs_ros.ingest.transforms import TransformBuffer
from ccl_lgs_ros.navigating import keep_out_grid
from ccl_lgs_ros.ros.collision_topics import CollisionTopics
from ccl_lgs_ros.ros.conversions import header_message
from ccl_lgs_ros.ros.costmap import Costmap
from ccl_lgs_ros.ros.destinations import Destinations, DestinationTopics, destinations
from ccl_lgs_ros.ros.grids import grid_message
from ccl_lgs_ros.ros.keepout import KeepoutTopics
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.ros.qos import LATCHED, with_overrides
from ccl_lgs_ros.ros.query_options import QueryNodeOptions
from ccl_lgs_ros.ros.questions import Reply
from ccl_lgs_ros.ros.requests import Question
from ccl_lgs_ros.ros.standing import StandingAnswer, StandingQuestion, prompts_of
from ccl_lgs_ros.ros.survey import Survey
from ccl_lgs_ros.structures import SemanticMap


class Planners:
    """Everything for planners; the heavy work is done by threads.

    Args:
        node: whose topics they are.
        options: of the node as it starts.
        transforms: lead to the frame of the map.
    """

    def __init__(self, node: Node, options: QueryNodeOptions, transforms: TransformBuffer) -> None:
        self._node = node
        self._survey = Survey()
        self._costmap = Costmap(node, options.costmap_topic, transforms)
        self._occupancy = node.create_publisher(OccupancyGrid, "occupancy", **with_overrides(LATCHED))
        self._occupancy_sent: object = None  # what it was made from
        self._destinations = DestinationTopics(node)
        self._keepout, self._keepout_question = KeepoutTopics(node), StandingQuestion()
        self._unmasked: StandingAnswer | None = None  # an answer that waits for its grid
        self._collision, self._collision_question = CollisionTopics(node), StandingQuestion()

    def is_ready(self, reader: MapReader, config: MapConfig) -> bool:
        """Whether poses to drive to can be told now; begins what it takes."""
        return not reader.version or self._survey.is_ready(reader.map, config)

    def destinations(
        self, reply: Reply, question: Question, config: MapConfig, max_age: float
    ) -> tuple[Destinations, str]:
        """Where to drive to for the instances of an answer, and what is amiss with the means to tell.

        Args:
            max_age: seconds of a costmap that counts.
        """
        if not question.num_approaches or not reply.answer.instances:
            return Destinations(), ""
        try:
            around = self._survey.newest(reply.semantic_map, config)
        except CclLgsError as error:
            return Destinations(), f"no pose: {error}"
        costmap, note = self._costmap.newest(reply.semantic_map.map_frame, max_age)
        if costmap is not None:
            around = around.with_costmap(costmap)
        return destinations(reply, question, around, config), note

    def answered(self, reply: Reply, found: Destinations, is_published: bool) -> None:
        """Take notice of what was asked for last, and publish where to drive to for it."""
        instances, semantic_map = reply.answer.instances, reply.semantic_map
        if is_published:
            self._destinations.publish(found.best, self._header(semantic_map))
        self._collision.answered(semantic_map, instances[0] if instances else None)

    def look(self, reader: MapReader, config: MapConfig, options: QueryNodeOptions) -> None:
        """Publish what a new version of the map, or a new parameter, changes. For a map that can be asked."""
        keepout = self._keepout_question.look(reader, config, prompts_of(options.keepout_prompts))
        self._unmasked = keepout or self._unmasked
        if self._collision.is_possible:
            collision = self._collision_question.look(reader, config, prompts_of(options.collision_prompts))
            if collision is not None:
                self._collision.follow(collision)
            self._collision.look(options.collision_target == "kept")
        if options.publish_occupancy or self._unmasked is not None or self._survey.is_wanted:
            self._survey.is_ready(reader.map, config)
            if self._survey.surveyed == (reader.map.map_id, reader.map.version, config.navigation):
                self._publish_grids(reader.map, config, options.publish_occupancy)

    def _publish_grids(self, semantic_map: SemanticMap, config: MapConfig, is_occupancy_wanted: bool) -> None:
        """Publish what was not yet of the version that has just been surveyed."""
        standing, self._unmasked = self._unmasked, None
        is_new = is_occupancy_wanted and self._occupancy_sent != self._survey.surveyed
        self._occupancy_sent = self._survey.surveyed if is_occupancy_wanted else None
        if standing is None and not is_new:
            return
        grid = self._survey.newest(semantic_map, config).grid
        if is_new:
            self._occupancy.publish(grid_message(grid, self._header(semantic_map)))
        if standing is not None:
            things = [thing for found in standing.things.values() for thing in found]
            mask = keep_out_grid(standing.semantic_map, things, grid, config)
            self._keepout.publish(mask, standing.semantic_map.map_frame)

    def _header(self, semantic_map: SemanticMap) -> Header:
        return header_message(self._node.get_clock().now().nanoseconds, semantic_map.map_frame)
