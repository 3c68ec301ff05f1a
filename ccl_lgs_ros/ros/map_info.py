# SPDX-License-Identifier: Apache-2.0
"""What is in a map, as the response of get_map_info."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.level_names import coarse_first
from ccl_lgs_ros.ros.conversions import pose_message, vector_message
from ccl_lgs_ros.srv import GetMapInfo
from ccl_lgs_ros.structures import SemanticMap

UNKNOWN = float("nan")
MOST = 2**32 - 1  # of a count


def fill_map_info(response: GetMapInfo.Response, semantic_map: SemanticMap, path: Path) -> None:
    """Everything but the labels, which need the encoder."""
    info = semantic_map.info
    held_out = info.get("held_out")
    response.success = True
    response.map_id, response.map_version = semantic_map.map_id, semantic_map.version
    response.map_path, response.map_frame = str(path.resolve()), semantic_map.map_frame
    response.encoder = semantic_map.encoder
    response.num_keyframes = _count(info.get("keyframes"))
    response.num_gaussians = len(semantic_map.gaussians)
    response.levels = list(coarse_first(semantic_map.levels))
    levels = [semantic_map.levels[name] for name in response.levels]
    response.num_tracks = [level.num_tracks for level in levels]
    response.codebook_sizes = [len(level.codebook) for level in levels]
    response.vote_bytes = _count(info.get("vote_bytes"), most=2**63)
    response.psnr = _figure(held_out.get("psnr") if isinstance(held_out, dict) else None, UNKNOWN)
    center, size = bounds(semantic_map)
    response.bounds_pose = pose_message(rigid(np.eye(3), center))
    response.bounds_size = vector_message(size)
    response.message = (
        f"version {semantic_map.version}: {response.num_keyframes} keyframes, {response.num_gaussians} Gaussians"
    )


def bounds(semantic_map: SemanticMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre [3] and size [3] of the box around the map's Gaussians, in metres; zeros for an empty map."""
    if not len(semantic_map.gaussians):
        return np.zeros(3), np.zeros(3)
    means = semantic_map.gaussians.means.numpy().astype(np.float64)
    low, high = means.min(axis=0), means.max(axis=0)
    return (low + high) / 2, high - low


def _count(value: Any, most: int = MOST) -> int:
    """A count of the map's record; 0 where it lacks it, or holds what no message can carry."""
    return int(value) if isinstance(value, (int, float)) and 0 <= value <= most else 0


def _figure(value: Any, unknown: float) -> float:
    """A figure of the map's record, which may lack it."""
    return float(value) if isinstance(value, (int, float)) and abs(value) < MOST else unknown
