# SPDX-License-Identifier: Apache-2.0
"""A request of semantic_query checked and put to the map, and the part of the answer that the request asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer, Instance
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import ConfigError, EncoderMismatchError, PromptError, TransformError
from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.ros.conversions import transform_of, xyz
from ccl_lgs_ros.ros.map_reader import MapReader, NoMapError
from ccl_lgs_ros.srv import SemanticQuery
from ccl_lgs_ros.structures import SemanticMap

LEVELS = {"": "auto", "auto": "auto", "whole": "wp", "part": "sp", "wp": "wp", "sp": "sp"}
ALL_INSTANCES = 1000  # where a region or a distance decides which of them count


class BadRequestError(ConfigError):
    """A field of a request that cannot be what it is."""


class NoSemanticsError(NoMapError):
    """The map has Gaussians and no language yet."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reply:
    """An answer and the frame that it is given in."""

    semantic_map: SemanticMap
    answer: Answer  # the instances in the order that was asked for
    frame_id: str
    answer_from_world: NDArray[np.float64]  # [4, 4]
    message: str


def ask(
    reader: MapReader,
    config: MapConfig,
    request: SemanticQuery.Request,
    lookup: Callable[[str, str], NDArray[np.float64]],
) -> Reply:
    """Put a request to the map.

    Args:
        lookup: target_from_source [4, 4] of two frames, now.

    Raises:
        CclLgsError: saying what is wrong with the request or the map.
    """
    semantic_map = reader.map
    if request.prompt.split() and not any(level.num_tracks for level in semantic_map.levels.values()):
        raise NoSemanticsError("the map has no language yet; wait for the next keyframes")
    level, threshold = _checked(request)
    frame = request.frame_id.lstrip("/") or semantic_map.map_frame
    answer_from_world = np.eye(4) if frame == semantic_map.map_frame else lookup(frame, semantic_map.map_frame)
    has_region, count = xyz(request.roi_size).any(), request.max_instances or config.query.max_instances
    answer = query_map(
        semantic_map,
        request.prompt,
        config,
        reader.encoder,
        threshold=threshold,
        level=level if level != "auto" else None,
        max_instances=ALL_INSTANCES if has_region or request.near else count,
        index=reader.index,
    )
    instances, message = list(answer.instances), answer.message
    if has_region:
        instances = _inside(instances, request, answer_from_world)
        message = f"{message}; {len(instances)} of {len(answer.instances)} lie in the region"
    if request.near:
        instances = _by_distance(instances, xyz(request.near[0]), answer_from_world)
    return Reply(
        semantic_map=semantic_map,
        answer=replace(answer, instances=tuple(instances[:count])),
        frame_id=frame,
        answer_from_world=answer_from_world,
        message=message,
    )


def error_code(error: Exception) -> int:
    """The constant of SemanticQuery's response that an error stands for."""
    codes = SemanticQuery.Response
    if isinstance(error, PromptError):
        return codes.EMPTY_PROMPT if "empty" in str(error) else codes.BAD_REQUEST
    kinds = (
        (NoSemanticsError, codes.NO_SEMANTICS),
        (NoMapError, codes.NO_MAP),
        (EncoderMismatchError, codes.ENCODER_MISMATCH),
        (TransformError, codes.TF_ERROR),
        (ConfigError, codes.BAD_REQUEST),
        (MemoryError, codes.OUT_OF_MEMORY),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), codes.INTERNAL)


def _checked(request: SemanticQuery.Request) -> tuple[str, float | None]:
    """Level and threshold of a request."""
    if request.level not in LEVELS:
        raise BadRequestError(f"level must be 'auto', 'whole' or 'part'; got '{request.level}'")
    if not request.threshold <= 1.0:
        raise BadRequestError(f"threshold must be at most 1, or below 0 for the default; got {request.threshold}")
    if (xyz(request.roi_size) < 0).any():
        raise BadRequestError("roi_size must not be negative; all 0 means everywhere")
    return LEVELS[request.level], None if request.threshold < 0 else float(request.threshold)


def _inside(
    instances: Sequence[Instance], request: SemanticQuery.Request, answer_from_world: NDArray[np.float64]
) -> list[Instance]:
    """The instances whose centroid lies in the region of the request."""
    try:
        roi_from_world = invert_rigid(transform_of(request.roi_pose)) @ answer_from_world
    except ValueError as error:
        raise BadRequestError(f"roi_pose: {error}") from error
    half = xyz(request.roi_size) / 2
    return [i for i in instances if (np.abs(transform_points(roi_from_world, i.centroid)) <= half).all()]


def _by_distance(
    instances: Sequence[Instance], near: NDArray[np.float64], answer_from_world: NDArray[np.float64]
) -> list[Instance]:
    def distance(instance: Instance) -> float:
        return float(np.linalg.norm(transform_points(answer_from_world, instance.centroid) - near))

    return sorted(instances, key=distance)
