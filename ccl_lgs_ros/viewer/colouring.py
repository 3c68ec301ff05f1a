# SPDX-License-Identifier: Apache-2.0
"""How the splats are coloured: as the camera saw them, by relevancy to the prompt, or by the track they belong to."""

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.code_map import gaussian_colors
from ccl_lgs_ros.colours import track_colors
from ccl_lgs_ros.level_names import coarsest, named_level
from ccl_lgs_ros.pictures import heat
from ccl_lgs_ros.structures import SemanticMap
from ccl_lgs_ros.viewer.splats import Splats

PHOTO, RELEVANCY, TRACKS = MODES = ("photo", "relevancy", "tracks")


def heat_colors(splats: Splats, relevancy: NDArray[np.floating]) -> NDArray[np.float32]:
    """The colours [n, 3] of splats by the relevancy [N] of all Gaussians, over their own."""
    own = (splats.colors * 255.0 + 0.5).astype(np.uint8)
    return heat(relevancy[splats.ids][None], own[None])[0].astype(np.float32) / 255.0


def code_colors(splats: Splats, semantic_map: SemanticMap, level: str) -> NDArray[np.float32]:
    """The colours [n, 3] of splats by their track at a level; grey where there is none."""
    if level not in semantic_map.levels:
        return track_colors(np.full(len(splats), -1))
    return gaussian_colors(semantic_map.levels[level])[splats.ids]


def shown_level(semantic_map: SemanticMap, *wanted: str) -> str:
    """The first wanted level that the map has, else its coarsest; '' where it has none."""
    named = [named_level(semantic_map.levels, name) for name in wanted]
    return next((name for name in named if name in semantic_map.levels), coarsest(semantic_map.levels))
