# SPDX-License-Identifier: Apache-2.0
"""Parts that their whole was cut without: what lies around a whole is one, what stands there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mini_scene import codebook_of, gaussians_at
from numpy.typing import NDArray
from placed_things import shell
from test_requests_in_words import NAMES, NameEncoder

from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.languages import SparseCodes
from ccl_lgs_ros.structures import SemanticLevel, SemanticMap

BOX = ("mug", shell((0.0, 0.0, 0.0), (0.24, 0.16, 0.14)))
LID = ("handle", shell((0.0, 0.0, 0.145), (0.25, 0.17, 0.08)))
BESIDE = ("handle", shell((0.205, 0.0, 0.0), (0.16, 0.16, 0.16)))  # touches the box and is as large
BELOW = ("handle", shell((0.0, 0.0, -0.07), (0.5, 0.4, 0.06)))  # the box stands on it
LEGS = [("mug", shell((x, y, 0.0), (0.05, 0.05, 0.4))) for x in (-0.18, 0.18) for y in (-0.18, 0.18)]
SEAT = ("handle", shell((0.0, 0.0, 0.405), (0.4, 0.4, 0.06)))


def map_of(*things: tuple[str, NDArray[np.float64]]) -> SemanticMap:
    """Things of a name as tracks of one level."""
    points = [points for _, points in things]
    level = SemanticLevel(
        track_of_gaussian=torch.from_numpy(
            np.repeat(np.arange(len(things)), [len(p) for p in points]).astype(np.int32)
        ),
        confidence=torch.full((sum(map(len, points)),), 255, dtype=torch.uint8),
        entry_of_track=torch.arange(len(things)),
        codebook=codebook_of(torch.stack([torch.eye(len(NAMES))[NAMES.index(name)] for name, _ in things])),
    )
    gaussians = gaussians_at(np.concatenate(points), scale=0.015)
    return SemanticMap(gaussians=gaussians, levels={"wp": level}, encoder="test/1", version=1)


def speaking(semantic_map: SemanticMap) -> SemanticMap:
    """The map in which each Gaussian says for itself what its track said, and the tracks say nothing right."""
    level = semantic_map.levels["wp"]
    entry = level.entry_of_track[level.track_of_gaussian.long()][:, None]
    said = SparseCodes.of(entry, torch.ones(entry.shape))
    level = replace(level, language=said, entry_of_track=torch.zeros_like(level.entry_of_track))
    return replace(semantic_map, levels={"wp": level})


def sizes(*things: tuple[str, NDArray[np.float64]]) -> list[int]:
    """How many Gaussians each "handle of the mug" has, where the whole is called mug and the part handle."""
    return sizes_in(map_of(*things))


def sizes_in(semantic_map: SemanticMap) -> list[int]:
    found = query_map(semantic_map, "handle of the mug", MapConfig(), NameEncoder())
    return sorted(len(instance.gaussian_ids) for instance in found.instances)


def test_a_lid_that_sticks_out_is_a_part_and_is_whole() -> None:
    assert sizes(BOX, LID) == [len(LID[1])]


@pytest.mark.parametrize("other", [BESIDE, BELOW])
def test_what_stands_beside_or_below_is_no_part(other: tuple[str, NDArray[np.float64]]) -> None:
    assert sizes(BOX, other) == []
    assert sizes(BOX, LID, other) == [len(LID[1])]


def test_a_whole_in_pieces_has_what_lies_across_them_as_one_part() -> None:
    assert sizes(*LEGS, SEAT) == [len(SEAT[1])]


def test_each_of_two_things_has_its_own() -> None:
    name, points = LID
    assert sizes(BOX, LID, ("mug", BOX[1] + [0.6, 0.0, 0.0]), (name, points + [0.6, 0.0, 0.0])) == [len(points)] * 2


def test_where_gaussians_speak_for_themselves_parts_are_what_they_say() -> None:
    assert sizes_in(speaking(map_of(BOX, LID))) == [len(LID[1])]
    assert sizes_in(speaking(map_of(BOX, BESIDE))) == []


def test_a_part_of_one_track_with_its_whole_is_found_where_gaussians_speak_for_themselves() -> None:
    semantic_map = speaking(map_of(BOX, LID))
    level = semantic_map.levels["wp"]
    one = replace(level, track_of_gaussian=torch.zeros_like(level.track_of_gaussian))
    assert sizes_in(replace(semantic_map, levels={"wp": one})) == [len(LID[1])]
