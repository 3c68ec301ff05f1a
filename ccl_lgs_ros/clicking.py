# SPDX-License-Identifier: Apache-2.0
"""A point put to a map in place of a text: the thing that it lies on, answered as any other."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ccl_lgs_ros.answers import Answer, Instance, Prompt
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.level_names import AUTO, coarsest, level_of_map
from ccl_lgs_ros.query.answer import MapIndex, answer, answered
from ccl_lgs_ros.query.relevancy import LevelRelevancy
from ccl_lgs_ros.query.surface import answer_seen
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.structures import NONE, SemanticMap

REACH = 0.25  # metres; a point that is farther from all Gaussians of things lies on nothing
LEAST_OPACITY = 0.3  # of a Gaussian that can be pointed at
IS_MEANT = 1.0  # relevancy of what is pointed at; all else has none
PIECES = 32  # of one track, among which the one that was pointed at is looked for


def thing_at(
    semantic_map: SemanticMap,
    point: NDArray[np.floating],
    config: MapConfig,
    *,
    level: str | None = None,
    index: MapIndex | None = None,
    views: ViewedFrom | None = None,
) -> Answer:
    """The thing that a point lies on: of the track of the nearest Gaussian, what is together with that Gaussian.

    Answer.prompt is what the map says of the thing, its codebook entry, so that it can be compared with all others.

    Args:
        point: [3] metres, world.
        level: as in the options; "auto" is the level of whole things.
        index, views: as in `query_map`.

    Raises:
        ConfigError: if the map has not the level that is asked for.
    """
    wanted = level or config.query.level
    name = coarsest(semantic_map.levels) if wanted == AUTO else level_of_map(semantic_map.levels, wanted)
    point = np.asarray(point, np.float64)
    text = "at " + " ".join(f"{x:g}" for x in point)
    gaussian, distance = _nearest(semantic_map, name, point)
    if gaussian == NONE or distance > REACH:
        prompt = Prompt(text=text, feature=torch.zeros(1), encoder=semantic_map.encoder)
        nearest = "" if gaussian == NONE else f"; the nearest thing is {distance:.2f} m away"
        nothing = answered(semantic_map, prompt, (), 0.0, IS_MEANT, name)
        return replace(nothing, message=f"nothing found: no thing lies within {REACH:g} m of the point{nearest}")
    found = _thing_of(semantic_map, name, gaussian, text, config, index)
    return found if views is None else answer_seen(found, semantic_map.gaussians, views, point)


def _nearest(semantic_map: SemanticMap, name: str, point: NDArray[np.float64]) -> tuple[int, float]:
    """The nearest Gaussian that shows something and has a track at a level, and its distance; -1 if there is none."""
    if name not in semantic_map.levels:
        return NONE, np.inf
    has_track = semantic_map.levels[name].track_of_gaussian.cpu() != NONE
    is_solid = semantic_map.gaussians.opacities.cpu() >= LEAST_OPACITY
    candidates = torch.nonzero(has_track & is_solid)[:, 0]
    if len(candidates) == 0:
        return NONE, np.inf
    offsets = semantic_map.gaussians.means.cpu()[candidates].double() - torch.from_numpy(point)
    nearest = offsets.square().sum(dim=1).argmin()
    return int(candidates[nearest]), float(offsets[nearest].norm())


def _thing_of(
    semantic_map: SemanticMap, name: str, gaussian: int, text: str, config: MapConfig, index: MapIndex | None
) -> Answer:
    """The piece of a Gaussian's track that has the Gaussian, or lies nearest to it."""
    level = semantic_map.levels[name]
    track = int(level.track_of_gaussian[gaussian])
    entry = level.codebook.entries[level.entry_of_track[track]].cpu()
    of_track = np.zeros(level.num_tracks, np.float32)
    of_track[track] = IS_MEANT
    found = answer(
        semantic_map,
        Prompt(text=text, feature=entry, encoder=semantic_map.encoder),
        {name: LevelRelevancy(of_track=of_track)},
        threshold=IS_MEANT,
        max_instances=PIECES,
        min_gaussians=1,
        connect_distance=config.query.connect_distance,
        level=name,
        index=index,
    )
    place = semantic_map.gaussians.means[gaussian].numpy(force=True)
    pieces = sorted(found.instances, key=lambda piece: _distance(semantic_map, piece, place))
    return answered(semantic_map, found.prompt, tuple(pieces[:1]), found.best_score, IS_MEANT, name)


def _distance(semantic_map: SemanticMap, piece: Instance, place: NDArray[np.floating]) -> float:
    """Metres from a place to the nearest Gaussian of a piece."""
    return float(KDTree(semantic_map.gaussians.means[piece.gaussian_ids].numpy(force=True)).query(place)[0])
