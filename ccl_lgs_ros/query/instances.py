# SPDX-License-Identifier: Apache-2.0
"""The things in 3D that matched a prompt: grouped, scored, ranked, boxed."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answers import Box, Instance
from ccl_lgs_ros.query.boxes import upright_box
from ccl_lgs_ros.query.groups import group_points
from ccl_lgs_ros.query.relevancy import TrackIndex
from ccl_lgs_ros.structures import Gaussians, SemanticLevel

# The connect distance that the map itself suggests: a few Gaussians, yet less than what tells two things apart.
CONNECT_SCALES = 4.0
CONNECT_RANGE = (0.02, 0.06)  # metres
STRAY_SHARE = 0.2  # of a track's surface; a piece apart with less is a stray and no thing
FULL_SUPPORT = 2.0  # times the least count of Gaussians: a group of that many still ranks a third below its score


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matched:
    """The Gaussians of one level whose tracks are relevant, as flat arrays in numpy."""

    gaussian: NDArray[np.int64]  # [n]
    track: NDArray[np.int64]  # [n] place in `tracks`
    tracks: NDArray[np.int64]  # [t] the relevant tracks
    look: NDArray[np.float32]  # [t, D] their codebook entries
    points: NDArray[np.float32]  # [n, 3]
    relevancy: NDArray[np.float32]  # [n]
    confidence: NDArray[np.float32]  # [n] in (0, 1]
    surface: NDArray[np.float32]  # [n] square metres that a Gaussian covers, times its opacity
    spacing: float  # metres: the usual size of these Gaussians


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Matched Gaussians that are one thing, before it is boxed."""

    member: NDArray[np.int64]  # [m] places in the arrays of Matched
    score: float  # mean relevancy, weighted by confidence and surface
    evidence: float  # the score, less what it lacks in support: by it groups are ranked and levels are chosen


def matched(
    gaussians: Gaussians, level: SemanticLevel, index: TrackIndex, relevancy_of_track: Tensor, threshold: float
) -> Matched:
    """The Gaussians whose track is at least as relevant as the threshold."""
    tracks = torch.nonzero((relevancy_of_track >= threshold) & (index.count > 0))[:, 0]
    ids, place = index.gaussians_of(tracks)
    scales = gaussians.log_scales[ids].detach().sort(dim=1).values
    surface = torch.pi * (scales[:, 1] + scales[:, 2]).exp() * gaussians.logit_opacities[ids].detach().sigmoid()
    return Matched(
        gaussian=ids.numpy(),
        track=place.numpy(),
        tracks=tracks.numpy(),
        look=level.codebook.entries[level.entry_of_track[tracks]].float().numpy(),
        points=gaussians.means[ids].detach().numpy(),
        relevancy=relevancy_of_track[tracks][place].numpy(),
        confidence=(level.confidence[ids].float() / 255.0).numpy(),
        surface=surface.numpy(),
        spacing=float(scales[:, 1].median().exp()) if len(ids) else 0.0,
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
    is_thing = (np.bincount(thing) >= min_gaussians) & (np.bincount(thing, weights=is_own) > 0)
    order = np.argsort(thing, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(thing))])
    members = [order[starts[t] : starts[t + 1]] for t in np.flatnonzero(is_thing)]
    groups = [_group(found, member, FULL_SUPPORT * min_gaussians) for member in members]
    return sorted(groups, key=lambda group: -group.evidence)


def instances_of(
    found: Matched, groups: list[Group], level_name: str, level: SemanticLevel, up: NDArray[np.float64]
) -> tuple[Instance, ...]:
    """The groups as instances, in their order.

    An instance has the number of the track that most of it belongs to; should two share one track, the later one's is
    raised by the number of tracks until it is unique.
    """
    instances: list[Instance] = []
    taken: set[int] = set()
    for group in groups:
        track = int(found.tracks[np.bincount(found.track[group.member], weights=found.surface[group.member]).argmax()])
        number = track
        while number in taken:
            number += level.num_tracks
        taken.add(number)
        points = found.points[group.member].astype(np.float64)
        box = upright_box(points, up)
        instances.append(
            Instance(
                id=number,
                level=level_name,
                score=group.score,
                centroid=_centroid(points, found.surface[group.member], box),
                box=box,
                gaussian_ids=torch.from_numpy(np.sort(found.gaussian[group.member])),
                entry=int(level.entry_of_track[track]),
            )
        )
    return tuple(instances)


def _group(found: Matched, member: NDArray[np.int64], full_support: float) -> Group:
    weight = found.confidence[member].astype(np.float64) * found.surface[member]
    if weight.sum() == 0:  # all but transparent
        weight = np.ones(len(member))
    score = float(np.average(found.relevancy[member], weights=weight))
    support = 1.0 - np.exp(-len(member) / full_support)
    return Group(member=member, score=score, evidence=float(score * support))


def _centroid(points: NDArray[np.float64], surface: NDArray[np.float32], box: Box) -> NDArray[np.float64]:
    """The middle [3] between the mean of a thing's surface in its box and the centre of that box.

    What was seen of a surface lies towards the viewers, which the centre of the box makes up for; the mean holds the
    centroid at the thing where the box is mostly empty.
    """
    local = (points - box.center) @ box.rotation
    weight = np.where((np.abs(local) <= box.size / 2.0).all(axis=1), surface, 0.0)
    if weight.sum() == 0.0:
        return box.center
    return (np.average(points, axis=0, weights=weight) + box.center) / 2.0
