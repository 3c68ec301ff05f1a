# SPDX-License-Identifier: Apache-2.0
"""The thing of an id that an answer told, instead of a name."""

import numpy as np
import torch

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.level_names import AUTO, coarse_first
from ccl_lgs_ros.query.boxes import upright_box
from ccl_lgs_ros.query.instances import OF_ONE_TRACK
from ccl_lgs_ros.structures import SemanticMap


def thing_of_id(semantic_map: SemanticMap, number: int, level: str = AUTO) -> Instance | None:
    """The thing of an id, as answers tell it, at the coarsest level that has it; None where none has.

    Two things that share a track have ids OF_ONE_TRACK apart; either stands for both here.
    """
    for name in _levels(semantic_map, level):
        tracks = torch.nonzero(semantic_map.levels[name].ids == number % OF_ONE_TRACK)[:, 0]
        if len(tracks) and (found := thing_of_track(semantic_map, name, int(tracks[0]))) is not None:
            return found
    return None


def thing_of_track(semantic_map: SemanticMap, level: str, track: int) -> Instance | None:
    """All Gaussians of a track as a thing; None where there are none."""
    semantic = semantic_map.levels[level]
    members = torch.nonzero(semantic.track_of_gaussian == track)[:, 0]
    if len(members) == 0:
        return None
    points = semantic_map.gaussians.means[members].numpy(force=True).astype(np.float64)
    return Instance(
        id=int(semantic.ids[track]),
        level=level,
        score=1.0,
        centroid=points.mean(axis=0),
        box=upright_box(points, np.asarray(semantic_map.map_up, np.float64)),
        gaussian_ids=members,
        entry=int(semantic.entry_of_track[track]),
    )


def _levels(semantic_map: SemanticMap, level: str) -> list[str]:
    return [name for name in coarse_first(semantic_map.levels) if level in (AUTO, name)]
