# SPDX-License-Identifier: Apache-2.0
"""The rims of things: what lies on a thing and has its colour, and was given to something else, or to nothing.

Views disagree of where a thing ends, so its outermost Gaussians are often called the table or the wall. Where the thing
is taken away they would stay, as a streak in the air.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import expit

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.query.boxes import is_inside
from ccl_lgs_ros.rendering.harmonics import C0
from ccl_lgs_ros.structures import NONE, SemanticMap

Colours = NDArray[np.floating]  # [n, 3]

STRAYS_WITHIN = 0.03  # metres beside a thing's box, for what belongs to nothing
RIM_WITHIN = 0.1  # metres beside a thing's box, for what has its colour
SURROUNDINGS = 0.1  # metres beyond that, which tell the colour of what is there besides
NEIGHBOURS = 16  # whose share says how much of a place is the thing's; as many of the thing tell its colour,
OTHERS = 64  # and so many of what a Gaussian was given to tell that one's
ENOUGH = 0.6  # share of the neighbours plus likeness in colour, each in [0, 1], from which on it is the thing's
LEAST_LIKE = 0.2  # likeness under which a neighbourhood alone proves nothing: a floor stays a floor
CONTRAST = 0.1  # between two colours that can be told apart, of at most sqrt(3)
FAINT = 0.1  # opacity of what shows no colour of its surroundings
ROUNDS = 10  # at most, in which a rim grows from what was found


def with_rims(semantic_map: SemanticMap, things: Sequence[Instance]) -> tuple[Instance, ...]:
    """The things with their rims, found in rounds: what one finds is the thing's in the next.

    A Gaussian is part of a rim where some neighbours are the thing's and its colour lies between that of the thing and
    that of the track that it was given to; many such neighbours make up for little colour, and the reverse. So what
    lies against the thing stays what it is, though it has the thing's colour.
    """
    if not things:
        return ()
    owner = np.full(len(semantic_map.gaussians), NONE)
    for place, thing in enumerate(things):
        owner[with_strays(semantic_map, thing).gaussian_ids.numpy(force=True)] = place
    points = semantic_map.gaussians.means.numpy(force=True).astype(np.float64)
    called = semantic_map.levels[things[0].level].track_of_gaussian.numpy(force=True)
    near, around = (_is_near(things, points, far) for far in (RIM_WITHIN, RIM_WITHIN + SURROUNDINGS))
    places = np.flatnonzero(around)
    colour = np.clip(0.5 + C0 * semantic_map.gaussians.sh[:, 0].numpy(force=True)[places], 0.0, 1.0)
    opacity = expit(semantic_map.gaussians.logit_opacities.numpy(force=True)[places])
    for _ in range(ROUNDS):
        found = _rim(points[places], colour, opacity, called[places], owner[places], near[places])
        if (found == owner[places]).all():
            break
        owner[places] = found
    return tuple(
        replace(thing, gaussian_ids=torch.from_numpy(np.flatnonzero(owner == place)))
        for place, thing in enumerate(things)
    )


def with_strays(semantic_map: SemanticMap, thing: Instance) -> Instance:
    """The thing with what is in its box or next to it and belongs to nothing, or to its track, and was no part of it.

    Those are specks of it; they stay behind as a ghost otherwise. Gaussian Grouping takes what is in the convex hull,
    of other things too.
    """
    track = semantic_map.levels[thing.level].track_of_gaussian.cpu()
    may_be = (track == NONE) | torch.isin(track, track[thing.gaussian_ids.cpu()].unique())
    candidates = torch.nonzero(may_be)[:, 0]
    points = semantic_map.gaussians.means[candidates].numpy(force=True).astype(np.float64)
    strays = candidates[torch.from_numpy(is_inside(thing.box, points, STRAYS_WITHIN))]
    return replace(thing, gaussian_ids=torch.cat([thing.gaussian_ids.cpu(), strays]).unique())


def _is_near(things: Sequence[Instance], points: NDArray[np.float64], margin: float) -> NDArray[np.bool_]:
    """Which points [n, 3] lie in a box or beside it."""
    return np.any([is_inside(thing.box, points, margin) for thing in things], axis=0)


def _rim(
    points: NDArray[np.float64],
    colour: Colours,
    opacity: NDArray[np.floating],
    called: NDArray[np.integer],
    owner: NDArray[np.int64],
    may_be: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """The thing [n] that each Gaussian belongs to, -1 for none, after one round.

    Args:
        called: [n] the track that it was given to.
        owner: [n] the same before the round.
        may_be: [n] of which of the others it is asked.
    """
    own = np.flatnonzero(owner != NONE)
    beside = _nearest(points, points, NEIGHBOURS + 1)[:, 1:]  # the first is the Gaussian itself
    weight = opacity[beside]
    share = (weight * (owner[beside] != NONE)).sum(axis=1) / np.maximum(weight.sum(axis=1), np.finfo(np.float64).tiny)
    is_clear = (owner == NONE) & (share == 0.0) & (opacity > FAINT)
    is_asked = may_be & (owner == NONE) & (share > 0.0)
    after = owner.copy()
    for track in np.unique(called[is_asked]) if is_clear.any() else ():
        asked, others = np.flatnonzero(is_asked & (called == track)), np.flatnonzero(is_clear & (called == track))
        if track == NONE or len(others) < NEIGHBOURS:
            others = np.flatnonzero(is_clear)
        of_thing = own[_nearest(points[own], points[asked], NEIGHBOURS)]
        of_others = others[_nearest(points[others], points[asked], OTHERS)]
        likeness = np.maximum(*(_likeness(c[asked], c[of_thing], c[of_others]) for c in (colour, _hue(colour))))
        is_rim = (share[asked] + likeness > ENOUGH) & (likeness > LEAST_LIKE)
        after[asked[is_rim]] = owner[of_thing[is_rim, 0]]
    return after


def _hue(colour: Colours) -> Colours:
    """Colours without their light and shade."""
    return colour - colour.mean(axis=1, keepdims=True)


def _likeness(colour: Colours, of_thing: NDArray[np.floating], of_others: NDArray[np.floating]) -> Colours:
    """How far [n] each colour lies on the way from that of others [n, o, 3] to that of a thing [n, t, 3], in [0, 1].

    What lies off that way is less like the thing; where the two are alike, nothing is more like the one.
    """
    start = np.median(of_others, axis=1)
    way = np.median(of_thing, axis=1) - start
    length = np.maximum(np.linalg.norm(way, axis=1), np.finfo(np.float32).tiny)
    along = ((colour - start) * way).sum(axis=1) / length**2
    off = np.linalg.norm(colour - start - along[:, None] * way, axis=1) / length
    return np.where(length > CONTRAST, np.clip(np.clip(along, 0.0, 1.0) - off, 0.0, 1.0), 0.0)


def _nearest(points: NDArray[np.float64], of: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The `count` points nearest [m, count] to each of others [m, 3]; fewer where there are fewer."""
    count = min(count, len(points))
    return np.asarray(KDTree(points).query(of, count)[1], dtype=np.int64).reshape(len(of), count)
