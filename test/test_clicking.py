# SPDX-License-Identifier: Apache-2.0
"""A point that is put to a map is answered with the thing that it lies on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_scene import BLUE, GREEN, RED, box_surface, gaussians_at

from ccl_lgs_ros.cli import main
from ccl_lgs_ros.clicking import REACH, thing_at
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.showing import answer_json, answer_text
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, SemanticLevel, SemanticMap

SIDE = (0.3, 0.3, 0.3)
CENTRES = ((0.0, 0.0, 0.15), (1.0, 0.0, 0.15), (3.0, 0.0, 0.15))
CONFIG = MapConfig()


@pytest.fixture(scope="module")
def semantic_map() -> SemanticMap:
    """Three boxes: two things at the level of wholes, one of them in two places, and three at that of parts."""
    boxes = [box_surface(centre, SIDE, seed, spacing=0.02) for seed, centre in enumerate(CENTRES)]
    owner = torch.repeat_interleave(torch.arange(3), torch.tensor([len(box) for box in boxes])).int()
    codebook = Codebook(entries=torch.stack([RED, BLUE, GREEN]), weight=torch.ones(3))
    sure = torch.full((len(owner),), 200, dtype=torch.uint8)
    whole = SemanticLevel(
        track_of_gaussian=owner.clamp_max(1),
        confidence=sure,
        entry_of_track=torch.tensor([2, 0]),
        codebook=codebook,
        id_of_track=torch.tensor([41, 42]),
    )
    part = SemanticLevel(
        track_of_gaussian=owner, confidence=sure, entry_of_track=torch.tensor([0, 1, 2]), codebook=codebook
    )
    gaussians = gaussians_at(np.concatenate(boxes))
    return SemanticMap(gaussians=gaussians, levels={"wp": whole, "sp": part}, encoder="builtin/1", version=3)


def test_a_point_on_a_thing_is_answered_with_that_thing(semantic_map: SemanticMap) -> None:
    found = thing_at(semantic_map, np.array([0.0, 0.0, 0.31]), CONFIG)
    (thing,) = found.instances
    assert (thing.id, thing.level, found.map_version) == (41, "wp", 3)
    np.testing.assert_allclose(thing.centroid[:2], CENTRES[0][:2], atol=0.03)
    np.testing.assert_allclose(thing.box.size, SIDE, atol=0.04)
    torch.testing.assert_close(found.prompt.feature, GREEN)


def test_of_a_track_in_two_places_the_piece_at_the_point_answers(semantic_map: SemanticMap) -> None:
    for centre in CENTRES[1:]:
        (thing,) = thing_at(semantic_map, np.array(centre) + (0.0, 0.16, 0.0), CONFIG).instances
        np.testing.assert_allclose(thing.centroid[:2], centre[:2], atol=0.03)


def test_the_level_is_as_asked(semantic_map: SemanticMap) -> None:
    found = thing_at(semantic_map, np.array(CENTRES[2]), CONFIG, level="part")
    assert found.level == "sp"
    torch.testing.assert_close(found.prompt.feature, GREEN)


def test_a_point_in_the_air_is_told_how_far_things_are(semantic_map: SemanticMap) -> None:
    found = thing_at(semantic_map, np.array([0.0, 0.0, 0.3 + REACH + 0.25]), CONFIG)
    assert not found.instances
    assert "0.50 m away" in found.message


def test_what_has_no_track_or_cannot_be_seen_is_not_pointed_at(semantic_map: SemanticMap) -> None:
    faint = semantic_map.gaussians.logit_opacities.clone()
    faint[semantic_map.levels["sp"].track_of_gaussian == 0] = -5.0
    gaussians = Gaussians(**{**semantic_map.gaussians.tensors(), "logit_opacities": faint})
    assert not thing_at(replace(semantic_map, gaussians=gaussians), np.array(CENTRES[0]), CONFIG).instances
    level = semantic_map.levels["wp"]
    bare = replace(level, track_of_gaussian=torch.full_like(level.track_of_gaussian, NONE))
    nothing = thing_at(replace(semantic_map, levels={"wp": bare}), np.array(CENTRES[0]), CONFIG)
    assert not nothing.instances and nothing.message.startswith("nothing found")
    assert not thing_at(replace(semantic_map, levels={}), np.array(CENTRES[0]), CONFIG).instances


def test_a_point_is_answered_for_people_and_programs_as_a_name_is(semantic_map: SemanticMap) -> None:
    found = thing_at(semantic_map, np.array([0.0, 0.0, 0.3]), CONFIG)
    assert answer_text(found).startswith('"at 0 0 0.3": 1 instance')
    assert answer_json(found)["instances"][0]["id"] == 41


def test_the_command_takes_a_point_or_a_name(semantic_map: SemanticMap, tmp_path: Path, capsys) -> None:
    path = tmp_path / "flat"
    publish(MapDirectory.create(path), semantic_map)
    assert main(["query", str(path), "--at", "0", "0", "0.3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["instances"][0]["id"] == 41
    assert main(["query", str(path), "--at", "9", "9", "9"]) == 1
    assert "m away" in capsys.readouterr().out
    for wrong in ([], ["mug", "--at", "0", "0", "0"]):
        assert main(["query", str(path), *wrong]) == 2
        assert "--at X Y Z" in capsys.readouterr().err
