# SPDX-License-Identifier: Apache-2.0
"""Parts of things: what matches a prompt at the level of parts, inside the things that it may be a part of."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.query.answer import LEAST_EVIDENCE
from ccl_lgs_ros.query.boxes import is_inside
from ccl_lgs_ros.query.instances import Group, Matched, grouped, instances_of, matched
from ccl_lgs_ros.query.relevancy import TrackIndex, relevancy_of_tracks
from ccl_lgs_ros.structures import NONE, SemanticMap

GROWN = 0.03  # metres around the box of a whole where a part that the whole was cut without may lie
LEAST_SHARE = 3  # a part may have that many times fewer Gaussians than a thing must have


def parts_of(
    semantic_map: SemanticMap,
    level: str,
    relevancy_of_entry: Tensor,  # [K] in [0, 1], to the part's name
    rival_of_entry: Tensor,  # [K] in [0, 1], to the name of the whole
    wholes: Sequence[Instance],
    index: TrackIndex,
    *,
    threshold: float,
    sure: float,
    min_gaussians: int,
    connect_distance: float,
) -> tuple[tuple[Instance, ...], float]:
    """The parts of some things, best first, and the score of what came nearest.

    A Gaussian belongs to the whole that has it, else to the nearest whole in whose grown box it lies; so several wholes
    have several parts, each inside its own. What looks more like the whole than like the part is none where something
    in the same whole looks more like the part.

    Args:
        threshold: relevancy that a part must reach if it looks more like the part than like the whole.
        sure: relevancy that suffices, whatever it looks like.
    """
    of_track = relevancy_of_tracks(semantic_map.levels[level], relevancy_of_entry).numpy()
    found = matched(semantic_map.gaussians, semantic_map.levels[level], index, of_track, threshold)
    up = np.asarray(semantic_map.map_up, dtype=np.float64)
    least = max(min_gaussians // LEAST_SHARE, 1)
    rival = relevancy_of_tracks(semantic_map.levels[level], rival_of_entry).numpy()
    is_like_part = (of_track >= rival)[found.tracks[found.track]]
    owner = _owners(found, wholes)
    owner[~is_like_part & (found.relevancy < sure)] = NONE
    groups: list[Group] = []
    for whole in range(len(wholes)):
        own = np.flatnonzero(owner == whole)
        if is_like_part[own].any():
            own = own[is_like_part[own]]
        if len(own):
            pieces = grouped(_only(found, own), up, min_gaussians=least, connect_distance=connect_distance)
            groups += [replace(piece, member=own[piece.member]) for piece in pieces]
    groups = [group for group in groups if group.evidence >= LEAST_EVIDENCE * threshold]
    groups.sort(key=lambda group: -group.evidence)
    nearest = _best_inside(semantic_map, level, of_track, wholes)
    score = max((group.score for group in groups), default=min(nearest, float(np.nextafter(threshold, -1.0))))
    return instances_of(found, groups, level, semantic_map.levels[level], up), score


def _owners(found: Matched, wholes: Sequence[Instance]) -> NDArray[np.int64]:
    """The whole [n] that each matched Gaussian belongs to, -1 for none."""
    owner, nearest = np.full(len(found.gaussian), NONE), np.full(len(found.gaussian), np.inf)
    for place, whole in enumerate(wholes):
        has_it = np.isin(found.gaussian, whole.gaussian_ids.numpy())
        distance = np.linalg.norm(found.points - whole.box.center, axis=1)
        distance = np.where(has_it, -1.0, np.where(is_inside(whole.box, found.points, GROWN), distance, np.inf))
        is_nearer = distance < nearest
        owner[is_nearer], nearest[is_nearer] = place, distance[is_nearer]
    return owner


def _only(found: Matched, which: NDArray[np.integer]) -> Matched:
    """Some of the matched Gaussians [m]."""
    of_gaussians = [field.name for field in fields(found) if field.name not in ("tracks", "look", "spacing")]
    return replace(found, **{name: getattr(found, name)[which] for name in of_gaussians})


def _best_inside(
    semantic_map: SemanticMap, level: str, of_track: NDArray[np.float32], wholes: Sequence[Instance]
) -> float:
    """The highest relevancy of a track [T] that the wholes have Gaussians of."""
    track = semantic_map.levels[level].track_of_gaussian
    there = np.unique(np.concatenate([track[whole.gaussian_ids].numpy(force=True) for whole in wholes]))
    return float(of_track[there[there >= 0]].max(initial=0.0))
