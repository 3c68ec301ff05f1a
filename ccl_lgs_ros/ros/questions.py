# SPDX-License-Identifier: Apache-2.0
"""A question put to the map, and the part of the answer that it asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer, Box, Instance
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import (
    ConfigError,
    EncoderMismatchError,
    MapError,
    MissingDependencyError,
    PromptError,
    TransformError,
    WeightsError,
)
from ccl_lgs_ros.geometry import invert_rigid, rigid, transform_points
from ccl_lgs_ros.level_names import level_of_map
from ccl_lgs_ros.query.boxes import overlap
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.ros.map_reader import MapReader, NoMapError
from ccl_lgs_ros.ros.requests import MOST_INSTANCES, Question
from ccl_lgs_ros.ros.turns import BusyError
from ccl_lgs_ros.srv import SemanticQuery
from ccl_lgs_ros.structures import SemanticMap

CAMERA_IN_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # z forward to x forward

Lookup = Callable[[str, str], NDArray[np.float64]]  # target_from_source [4, 4] of two frames, now


class NoSemanticsError(NoMapError):
    """The map has Gaussians and no language yet."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reply:
    """An answer and the frame that it is given in."""

    semantic_map: SemanticMap
    answer: Answer  # the instances in the order that was asked for
    listed: tuple[Instance, ...]  # the same with no more Gaussians than an answer may list
    frame_id: str
    answer_from_world: NDArray[np.float64]  # [4, 4]
    world_from_asker: NDArray[np.float64] | None  # [4, 4] x forward, z up; None = nobody knows where
    message: str


def ask(reader: MapReader, config: MapConfig, question: Question, lookup: Lookup, max_points: int) -> Reply:
    """Put a question to the map.

    Args:
        max_points: Gaussians that are listed at most.

    Raises:
        CclLgsError: saying what is wrong with the question or the map.
    """
    semantic_map = reader.map
    if question.prompt.split() and not any(level.num_tracks for level in semantic_map.levels.values()):
        raise NoSemanticsError("the map has no language yet; wait for the next keyframes")
    level = level_of_map(semantic_map.levels, question.level or config.query.level)
    frame = question.frame or semantic_map.map_frame
    answer_from_world = np.eye(4) if frame == semantic_map.map_frame else lookup(frame, semantic_map.map_frame)
    asker = _asker(question, config, semantic_map.map_frame, answer_from_world, lookup)
    count = question.count or config.query.max_instances
    is_limited = question.region is not None or question.near is not None
    views, trouble = _views(reader)
    answer = query_map(
        semantic_map,
        question.prompt,
        updated(config, {"query.grammar": False}) if question.is_plain else config,
        reader.encoder,
        threshold=question.threshold,
        level=level,
        max_instances=MOST_INSTANCES if is_limited else count,
        index=reader.index,
        views=views,
        near=None if asker is None else asker[:3, 3],
        seen_from=None if asker is None else asker @ rigid(CAMERA_IN_BODY, np.zeros(3)),
    )
    instances, message = list(answer.instances), f"{answer.message}{trouble}"
    if question.region is not None:
        instances = _inside(instances, question.region, invert_rigid(answer_from_world))
        message = f"{message}; {len(instances)} of {len(answer.instances)} lie in the region"
    if question.near is not None:
        instances = _by_distance(instances, question.near, answer_from_world)
    instances = instances[:count]
    listed, found = thinned(instances, max_points), sum(len(i.gaussian_ids) for i in instances)
    num_listed = sum(len(i.gaussian_ids) for i in listed)
    if num_listed < found:
        message = f"{message}; {num_listed} of their {found} Gaussians are listed (max_points)"
    return Reply(
        semantic_map=semantic_map,
        answer=replace(answer, instances=tuple(instances)),
        listed=tuple(listed),
        frame_id=frame,
        answer_from_world=answer_from_world,
        world_from_asker=asker,
        message=message,
    )


def error_code(error: Exception) -> int:
    """The constant of SemanticQuery's response that an error stands for."""
    codes = SemanticQuery.Response
    if isinstance(error, PromptError):
        return codes.EMPTY_PROMPT if "empty" in str(error) else codes.BAD_REQUEST
    kinds = (
        (BusyError, codes.BUSY),
        (NoSemanticsError, codes.NO_SEMANTICS),
        (NoMapError, codes.NO_MAP),
        ((EncoderMismatchError, MissingDependencyError, WeightsError), codes.ENCODER_MISMATCH),
        (TransformError, codes.TF_ERROR),
        (ConfigError, codes.BAD_REQUEST),
        ((MemoryError, torch.cuda.OutOfMemoryError), codes.OUT_OF_MEMORY),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), codes.INTERNAL)


def thinned(instances: Sequence[Instance], most: int) -> list[Instance]:
    """The instances with an even share of their Gaussians, so that together they have no more than `most`."""
    total = sum(len(instance.gaussian_ids) for instance in instances)
    if total <= most:
        return list(instances)
    kept = []
    for instance in instances:
        ids = instance.gaussian_ids
        chosen = np.linspace(0, len(ids) - 1, len(ids) * most // total).astype(np.int64)
        kept.append(replace(instance, gaussian_ids=ids[torch.from_numpy(chosen)]))
    return kept


def _views(reader: MapReader) -> tuple[ViewedFrom | None, str]:
    """The cameras that saw the map, and what to say where they cannot be read."""
    try:
        return reader.views(), ""
    except MapError as error:
        return None, f"; nothing is known of the keyframes: {error}"


def _asker(
    question: Question, config: MapConfig, map_frame: str, answer_from_world: NDArray[np.float64], lookup: Lookup
) -> NDArray[np.float64] | None:
    """world_from_asker [4, 4]: as the request says, else the robot, where tf knows it."""
    if question.seen_from is not None:
        return invert_rigid(answer_from_world) @ question.seen_from
    try:
        return lookup(map_frame, config.frames.base_frame)
    except TransformError:
        return None


def _inside(instances: Sequence[Instance], region: Box, world_from_answer: NDArray[np.float64]) -> list[Instance]:
    """The instances whose box overlaps a region of the answer's frame."""
    turn = world_from_answer[:3, :3]
    there = Box(
        center=transform_points(world_from_answer, region.center), rotation=turn @ region.rotation, size=region.size
    )
    return [instance for instance in instances if overlap(instance.box, there)]


def _by_distance(
    instances: Sequence[Instance], near: NDArray[np.float64], answer_from_world: NDArray[np.float64]
) -> list[Instance]:
    def distance(instance: Instance) -> float:
        return float(np.linalg.norm(transform_points(answer_from_world, instance.centroid) - near))

    return sorted(instances, key=distance)
