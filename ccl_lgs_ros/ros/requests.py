# SPDX-License-Identifier: Apache-2.0
"""A request of semantic_query or render_view, checked: whatever it holds, it is understood or refused by a sentence."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.level_names import AUTO, WANTED
from ccl_lgs_ros.ros.conversions import camera_of, transform_of, xyz
from ccl_lgs_ros.ros.query_options import QueryNodeOptions
from ccl_lgs_ros.srv import SemanticQuery

LEVELS = {"": "", AUTO: "", **{name: name for name in WANTED if name != AUTO}}  # "" = as the node is set
MOST_INSTANCES = 1000
MOST_APPROACHES = 100
FARTHEST_STANDOFF = 10.0  # metres
FARTHEST = 1e6  # metres from the origin of a frame; beyond, a float32 no longer tells millimetres from decimetres
LONGEST_NAME = 256  # characters of a frame
LONGEST_SIDE = 16_384  # pixels
FOCAL_SHARE = (0.05, 100.0)  # focal length over the picture's longer side: nearly a half turn to half a degree


class BadRequestError(ConfigError):
    """A field of a request that cannot be what it is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What a request of semantic_query asks for."""

    prompt: str
    threshold: float | None  # None = the node's
    level: str  # "" = the node's
    count: int  # instances at most; 0 = the node's
    frame: str  # of the answer; "" = the map's
    region: Box | None  # in that frame; None = everywhere
    near: NDArray[np.float64] | None  # [3] in that frame
    seen_from: NDArray[np.float64] | None = None  # [4, 4] frame_from_asker, x forward and z up
    is_plain: bool = False  # the prompt is a name, whatever words are in it
    num_approaches: int = 0  # poses to drive to, for each instance
    standoff: float | None = None  # metres; None = the node's


def checked_question(request: SemanticQuery.Request, options: QueryNodeOptions) -> Question:
    """What a request asks for; raises BadRequestError naming the field that cannot be."""
    if request.level not in LEVELS:
        raise BadRequestError(f"level must be 'auto', 'whole' or 'part'; got '{_short(request.level)}'")
    if not request.threshold <= 1.0:
        raise BadRequestError(f"threshold must be at most 1, or below 0 for the default; got {request.threshold}")
    if request.max_instances > MOST_INSTANCES:
        raise BadRequestError(f"max_instances must be at most {MOST_INSTANCES}; got {request.max_instances}")
    if request.max_approaches > MOST_APPROACHES:
        raise BadRequestError(f"max_approaches must be at most {MOST_APPROACHES}; got {request.max_approaches}")
    if not request.standoff <= FARTHEST_STANDOFF:
        raise BadRequestError(
            f"standoff must be at most {FARTHEST_STANDOFF:g} metres, or below 0 for the default; got {request.standoff}"
        )
    return Question(
        prompt=checked_prompt(request.prompt, options),
        threshold=None if request.threshold < 0 else float(request.threshold),
        level=LEVELS[request.level],
        count=int(request.max_instances),
        frame=checked_frame(request.frame_id, "frame_id"),
        region=_region(request),
        near=checked_point(request.near[0], "near") if request.near else None,
        seen_from=checked_pose(request.seen_from[0], "seen_from") if request.seen_from else None,
        is_plain=request.plain,
        num_approaches=int(request.max_approaches),
        standoff=None if request.standoff < 0 else float(request.standoff),
    )


def checked_prompt(text: str, options: QueryNodeOptions) -> str:
    """The text of a prompt that is not too long."""
    if len(text) > options.max_prompt_length:
        raise BadRequestError(
            f"the prompt has {len(text)} characters; name one thing in at most {options.max_prompt_length}"
        )
    return text


def checked_frame(name: str, field: str) -> str:
    """The name of a frame without the slash of old."""
    if len(name) > LONGEST_NAME:
        raise BadRequestError(f"{field} has {len(name)} characters; a frame has at most {LONGEST_NAME}")
    return name.lstrip("/")


def checked_point(message: Any, field: str) -> NDArray[np.float64]:
    """A Point or Vector3 [3] that is somewhere."""
    point = xyz(message)
    if not (np.abs(point) <= FARTHEST).all():
        raise BadRequestError(f"{field} must hold metres of at most {FARTHEST:.0e}; got {point.tolist()}")
    return point


def checked_pose(message: Any, field: str) -> NDArray[np.float64]:
    """A Pose as a rigid transform [4, 4]."""
    checked_point(message.position, f"{field}.position")
    q = message.orientation
    length = math.hypot(q.x, q.y, q.z, q.w)
    if not 1e-3 <= length <= 1e3:
        raise BadRequestError(f"{field}.orientation must be a quaternion of length 1; its length is {length:.3g}")
    return transform_of(message)


def checked_camera(info: Any, options: QueryNodeOptions) -> Camera:
    """The camera of a picture that can be drawn."""
    size, most = f"{info.width}x{info.height}", options.max_pixels
    if info.width * info.height > most or max(info.width, info.height) > LONGEST_SIDE:
        raise BadRequestError(f"camera_info asks for {size} pixels; at most {most}, and {LONGEST_SIDE} a side")
    try:
        camera = camera_of(info)
    except ValueError as error:
        raise BadRequestError(f"camera_info: {error}") from error
    longer, (least, greatest) = max(info.width, info.height), FOCAL_SHARE
    if not all(least * longer <= f <= greatest * longer for f in (camera.fx, camera.fy)):
        raise BadRequestError(
            f"camera_info: a picture of {size} pixels has focal lengths of {least * longer:g} to "
            f"{greatest * longer:g} pixels; got {camera.fx:g} and {camera.fy:g}"
        )
    if not max(abs(camera.cx), abs(camera.cy)) <= greatest * longer:
        raise BadRequestError(f"camera_info: its centre {camera.cx:g}, {camera.cy:g} is nowhere near the picture")
    return camera


def _region(request: SemanticQuery.Request) -> Box | None:
    size = checked_point(request.roi_size, "roi_size")
    if (size < 0).any():
        raise BadRequestError("roi_size must not be negative; all 0 means everywhere")
    if not size.any():
        return None
    pose = checked_pose(request.roi_pose, "roi_pose")
    return Box(center=pose[:3, 3], rotation=pose[:3, :3], size=size)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."
