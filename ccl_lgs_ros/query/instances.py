# SPDX-License-Identifier: Apache-2.0
"""The things in 3D that matched a prompt: grouped, scored, ranked, boxed."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from ccl_lgs_ros.answers import Box, Instance
from ccl_lgs_ros.languages import NOT_TRUSTED
from ccl_lgs_ros.query.boxes import is_inside, upright_box
from ccl_lgs_ros.query.groups import group_points
from ccl_lgs_ros.query.relevancy import LevelRelevancy, TrackIndex
from ccl_lgs_ros.query.strays import core_of
from ccl_lgs_ros.query.twins import twin_of
from ccl_lgs_ros.structures import Gaussians, SemanticLevel

# The connect distance that the map itself suggests: a few Gaussians, yet less than what tells two things apart.
CONNECT_SCALES = 4.0
CONNECT_RANGE = (0.02, 0.06)  # metres
STRAY_SHARE = 0.2  # of a track's surface; a piece apart with less is a stray and no thing
OF_ONE_TRACK = 1_000_000  # between the ids of things that share a track: more than there are tracks
FULL_SUPPORT = 2.0  # times the least count of Gaussians: a group of that many still ranks a third below its score


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matched:
    """The Gaussians of one level whose tracks are relevant, as flat arrays in numpy."""

    gaussian: NDArray[np.int32]  # [n]
    track: NDArray[np.int64]  # [n] place in `tracks`
    tracks: NDArray[np.int64]  # [t] the relevant tracks
    look: NDArray[np.float32]  # [t, D] their codebook entries
    points: NDArray[np.float32]  # [n, 3]
    relevancy: NDArray[np.float32]  # [n]
    confidence: NDArray[np.float32]  # [n] in (0, 1]
    opacity: NDArray[np.float32]  # [n] in (0, 1)
    surface: NDArray[np.float32]  # [n] square metres that a Gaussian covers, times its opacity
    spacing: float  # metres: the usual size of these Gaussians


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Matched Gaussians that are one thing, before it is boxed."""

    member: NDArray[np.int64]  # [m] places in the arrays of Matched
    score: float  # mean relevancy, weighted by confidence and surface
    evidence: float  # the score, less what it lacks in support: by it groups are ranked and levels are chosen
    whole: int  # Gaussians of the group as it was found, which may have been two things that touch
    is_second: bool = False  # of those two
    core: NDArray[np.float32] | None = None  # [k, 3] its points, or a sample, without strays; None = not looked for


def matched(
    gaussians: Gaussians,
    level: SemanticLevel,
    index: TrackIndex,
    relevancy: LevelRelevancy,
    threshold: float,
) -> Matched:
    """The Gaussians whose track is as relevant as the threshold or more, and they themselves where they speak."""
    tracks = np.flatnonzero((relevancy.of_track >= threshold) & (index.count > 0))
    ids, place = index.gaussians_of(tracks)
    own = relevancy.at(ids, tracks[place])
    if relevancy.of_gaussian is not None:
        ids, place, own = ids[own >= threshold], place[own >= threshold], own[own >= threshold]
    middle, largest = _larger_two(_rows(gaussians.log_scales, ids))
    opacity = expit(_rows(gaussians.logit_opacities, ids))
    return Matched(
        gaussian=ids,
        track=place,
        tracks=tracks,
        look=_rows(level.codebook.entries, _rows(level.entry_of_track, tracks)).astype(np.float32, copy=False),
        points=_rows(gaussians.means, ids),
        relevancy=own,
        confidence=np.divide(_rows(level.confidence, ids), 255.0, dtype=np.float32),
        opacity=opacity,
        surface=np.float32(np.pi) * np.exp(middle + largest) * opacity,
        spacing=float(np.exp(_lower_median(middle))) if len(ids) else 0.0,
    )


def grouped(found: Matched, up: NDArray[np.float64], *, min_gaussians: int, connect_distance: float) -> list[Group]:
    """The things among the matched Gaussians, without specks and strays, best first.

    They are ranked by score, where few Gaussians count against a thing, so that specks do not lead; beyond a few
    times the least count, size counts no more.

    Args:
        up: [3] direction that is up in the map.
        min_gaussians: Gaussians under which a group is no thing.
        connect_distance: metres that join Gaussians to one thing; 0 = from their sizes.
    """
    distance = connect_distance or float(np.clip(CONNECT_SCALES * found.spacing, *CONNECT_RANGE))
    thing, piece = group_points(found.points, found.track, found.look, distance, up)
    if len(thing) == 0:
        return []
    of_track = np.bincount(found.track, weights=found.surface)
    of_piece = np.bincount(piece, weights=found.surface)
    is_own = of_piece[piece] >= STRAY_SHARE * of_track[found.track]  # [n] in a piece that is no stray of its track
    count = np.bincount(thing)
    is_thing = (count >= min_gaussians) & (np.bincount(thing, weights=is_own) > 0)
    score = _scores(found, thing)
    evidence = score * (1.0 - np.exp(-count / (FULL_SUPPORT * min_gaussians)))
    order, end = np.argsort(thing, kind="stable"), np.cumsum(count)
    chosen = np.flatnonzero(is_thing)
    chosen = chosen[np.argsort(-evidence[chosen], kind="stable")]
    return [
        Group(
            member=order[end[t] - count[t] : end[t]],
            score=float(score[t]),
            evidence=float(evidence[t]),
            whole=int(count[t]),
        )
        for t in chosen
    ]


def parted(found: Matched, groups: list[Group], up: NDArray[np.float64]) -> list[Group]:
    """The groups in their order, those that are two equal things against each other as two."""
    things: list[Group] = []
    for group in groups:
        member = group.member[np.argsort(found.gaussian[group.member])]  # as samples must not hang on how it was found
        core = _core(found, member)
        is_second = twin_of(found.points[member], core, up)
        if is_second is None:
            things.append(replace(group, member=member, core=core))
        else:
            for half, is_half in ((member[~is_second], False), (member[is_second], True)):
                things.append(replace(group, member=half, core=_core(found, half), is_second=is_half))
    return things


def instances_of(
    found: Matched, groups: list[Group], level_name: str, level: SemanticLevel, up: NDArray[np.float64]
) -> tuple[Instance, ...]:
    """The groups, `parted`, as instances, in their order.

    An instance has the id of the track that most of it belongs to; should several share one track, the largest has its
    id, and the others' are raised by OF_ONE_TRACK until they are unique.
    """
    instances: list[Instance] = []
    main = [_main_track(found, group) for group in groups]
    for group, track, number in zip(groups, main, _ids(level, main, groups), strict=True):
        points = found.points[group.member].astype(np.float64)
        box = upright_box(points if group.core is None else group.core, up)
        instances.append(
            Instance(
                id=number,
                level=level_name,
                score=group.score,
                centroid=_centroid(points, found.surface[group.member], box),
                box=box,
                gaussian_ids=torch.from_numpy(found.gaussian[group.member].astype(np.int64)),
                entry=int(level.entry_of_track[track]),
                uncertainty=_uncertainty(level, found.gaussian[group.member]),
            )
        )
    return tuple(instances)


def _core(found: Matched, member: NDArray[np.int64]) -> NDArray[np.float32]:
    """The points [k, 3] of a group's members that are no strays."""
    return core_of(found.points[member], found.opacity[member], found.confidence[member]).astype(np.float32)


def _uncertainty(level: SemanticLevel, gaussian: NDArray[np.integer]) -> float | None:
    """The mean over Gaussians [n], in [0, 1]; None where the map has none."""
    if level.uncertainty is None:
        return None
    return float(level.uncertainty[torch.from_numpy(gaussian.astype(np.int64))].float().mean() / NOT_TRUSTED)


def _main_track(found: Matched, group: Group) -> int:
    """The track that most of a group's surface belongs to."""
    return int(found.tracks[np.bincount(found.track[group.member], weights=found.surface[group.member]).argmax()])


def _ids(level: SemanticLevel, main: list[int], groups: list[Group]) -> list[int]:
    """The id of each group by its main track; of groups with the same one, the largest, or its first half, has it."""
    ids, larger, numbers = level.ids.numpy(force=True), Counter[int](), [0] * len(groups)
    for place in sorted(range(len(groups)), key=lambda i: (-groups[i].whole, groups[i].is_second)):
        track = main[place]
        numbers[place] = int(ids[track]) + OF_ONE_TRACK * larger[track]
        larger[track] += 1
    return numbers


def _rows(tensor: Tensor, which: NDArray[np.integer]) -> NDArray[Any]:
    """Some rows of a tensor; of a mapped one no more is read."""
    return tensor.numpy(force=True)[which]


def _larger_two(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The middle and the largest [n] of three values [n, 3]."""
    a, b, c = values.T
    low, high = np.minimum(a, b), np.maximum(a, b)
    return np.maximum(low, np.minimum(high, c)), np.maximum(high, c)


def _lower_median(values: NDArray[np.float32]) -> np.float32:
    place = (len(values) - 1) // 2
    return np.partition(values, place)[place]


def _scores(found: Matched, thing: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean relevancy of each thing, weighted by confidence and surface; plain where all of it is transparent."""
    weight = found.confidence.astype(np.float64) * found.surface
    total = np.bincount(thing, weights=weight)
    weight = np.where(total[thing] > 0.0, weight, 1.0)
    return np.bincount(thing, weights=weight * found.relevancy) / np.bincount(thing, weights=weight)


def _centroid(points: NDArray[np.float64], surface: NDArray[np.float32], box: Box) -> NDArray[np.float64]:
    """The middle [3] between the mean of a thing's surface in its box and the centre of that box.

    What was seen of a surface lies towards the viewers, which the centre of the box makes up for; the mean holds the
    centroid at the thing where the box is mostly empty.
    """
    weight = np.where(is_inside(box, points), surface, 0.0).astype(np.float64)
    if weight.sum() == 0.0:
        return box.center
    return (weight @ points / weight.sum() + box.center) / 2.0
