# SPDX-License-Identifier: Apache-2.0
"""Parts of things: what matches a prompt at the level of parts, inside the things that it may be a part of."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.query.answer import LEAST_EVIDENCE
from ccl_lgs_ros.query.boxes import is_inside, upright_box
from ccl_lgs_ros.query.instances import Group, Matched, grouped, instances_of, matched, parted
from ccl_lgs_ros.query.relevancy import LevelRelevancy, TrackIndex
from ccl_lgs_ros.structures import NONE, SemanticLevel, SemanticMap

# A part that the whole was cut without, as another colour may be, is a thing that lies around it,
GROWN = 0.05  # within so many metres of its box
MOST = 0.5  # with this share of itself,
LARGER = 1.2  # and is at most so many times as long as the whole.
LEAST_SHARE = 3  # a part may have that many times fewer Gaussians than a thing must have


def parts_of(
    semantic_map: SemanticMap,
    level: str,
    relevancy: LevelRelevancy,  # to the part's name
    rival: LevelRelevancy,  # to the name of the whole
    wholes: Sequence[Instance],
    index: TrackIndex,
    *,
    threshold: float,
    sure: float,
    min_gaussians: int,
    connect_distance: float,
) -> tuple[tuple[Instance, ...], float]:
    """The parts of some things, best first, and the score of what came nearest.

    A Gaussian belongs to the whole that has it; so several wholes have several parts, each inside its own. A thing that
    no whole has belongs to the one around whose box most of it lies, or, where a whole was found in pieces, around the
    box of all pieces that it meets. What looks more like the whole than like the part is none where something in the
    same whole looks more like the part.

    Args:
        threshold: relevancy that a part must reach if it looks more like the part than like the whole.
        sure: relevancy that suffices, whatever it looks like.
    """
    found = matched(semantic_map.gaussians, semantic_map.levels[level], index, relevancy, threshold)
    up = np.asarray(semantic_map.map_up, dtype=np.float64)
    least = max(min_gaussians // LEAST_SHARE, 1)
    is_like_part = found.relevancy >= rival.at(found.gaussian, found.tracks[found.track])
    owner = _owners(found, wholes)
    may_be = is_like_part | (found.relevancy >= sure)
    around = _pieces(found, may_be & (owner == NONE), up, 1, connect_distance)
    means = semantic_map.gaussians.means.numpy(force=True)
    for piece in parted(found, around, up):
        owner[piece.member] = _whole_around(found.points[piece.member], wholes, means, up)
    groups: list[Group] = []
    for whole in range(len(wholes)):
        is_own = (owner == whole) & may_be
        if is_like_part[is_own].any():
            is_own &= is_like_part
        groups += _pieces(found, is_own, up, least, connect_distance)
    groups = [group for group in groups if group.evidence >= LEAST_EVIDENCE * threshold]
    groups.sort(key=lambda group: -group.evidence)
    nearest = _best_inside(semantic_map.levels[level], relevancy, wholes)
    score = max((group.score for group in groups), default=min(nearest, float(np.nextafter(threshold, -1.0))))
    return instances_of(found, groups, level, semantic_map.levels[level], up), score


def _owners(found: Matched, wholes: Sequence[Instance]) -> NDArray[np.int64]:
    """The whole [n] that has each matched Gaussian, -1 for none."""
    owner = np.full(len(found.gaussian), NONE)
    for place, whole in enumerate(wholes):
        owner[np.isin(found.gaussian, whole.gaussian_ids.numpy())] = place
    return owner


def _whole_around(
    points: NDArray[np.floating], wholes: Sequence[Instance], means: NDArray[np.floating], up: NDArray[np.float64]
) -> int:
    """The whole that points [n, 3] lie around most, -1 if they are too far from all wholes or too large."""
    shares = [is_inside(whole.box, points, GROWN).mean() for whole in wholes]
    met = [whole for whole, share in zip(wholes, shares, strict=True) if share]
    if not met:
        return NONE
    pieces = np.concatenate([means[whole.gaussian_ids.numpy(force=True)] for whole in met])
    box = met[0].box if len(met) == 1 else upright_box(pieces, up)
    is_around = is_inside(box, points, GROWN).mean() >= MOST
    is_small = np.linalg.norm(upright_box(points, up).size) <= LARGER * np.linalg.norm(box.size)
    return int(np.argmax(shares)) if is_around and is_small else NONE


def _pieces(
    found: Matched, which: NDArray[np.bool_], up: NDArray[np.float64], least: int, connect_distance: float
) -> list[Group]:
    """The things among some of the matched Gaussians [n]."""
    places = np.flatnonzero(which)
    if not len(places):
        return []
    pieces = grouped(_only(found, places), up, min_gaussians=least, connect_distance=connect_distance)
    return [replace(piece, member=places[piece.member]) for piece in pieces]


def _only(found: Matched, which: NDArray[np.integer]) -> Matched:
    """Some of the matched Gaussians [m]."""
    of_gaussians = [field.name for field in fields(found) if field.name not in ("tracks", "look", "spacing")]
    return replace(found, **{name: getattr(found, name)[which] for name in of_gaussians})


def _best_inside(level: SemanticLevel, relevancy: LevelRelevancy, wholes: Sequence[Instance]) -> float:
    """The highest relevancy among what the wholes have at a level."""
    gaussian = np.concatenate([whole.gaussian_ids.numpy(force=True) for whole in wholes])
    track = level.track_of_gaussian.numpy(force=True)[gaussian]
    return float(relevancy.at(gaussian[track >= 0], track[track >= 0]).max(initial=0.0))
