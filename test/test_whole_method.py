# SPDX-License-Identifier: Apache-2.0
"""The whole method on synthetic rooms: from a recording to answers in 3D, with exact truth."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mapped_rooms import OF_ONE_COLOUR, MappedRoom

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.evaluation.scores import Scores
from ccl_lgs_ros.offline import map_recording
from ccl_lgs_ros.scenes import make_scene
from ccl_lgs_ros.scoring import evaluate_map
from ccl_lgs_ros.structures import SemanticMap


@pytest.fixture(scope="module", params=OF_ONE_COLOUR)
def mapped(request: pytest.FixtureRequest, mapped_room: Callable[[str], MappedRoom]) -> tuple[SemanticMap, Scores]:
    room = mapped_room(request.param)
    scores = evaluate_map(room.semantic_map, room.eval, MapConfig())
    print(f"room {room.name}: {json.dumps(scores.to_json())} {json.dumps(dict(room.semantic_map.info))}")
    return room.semantic_map, scores


def test_what_is_there_is_found_where_it_is(mapped: tuple[SemanticMap, Scores]) -> None:
    figures = mapped[1].to_json()
    assert figures["miou"] >= 0.6
    assert figures["centroid_error_m"] <= 0.05
    assert figures["acc50"] >= 0.6
    assert figures["view_consistency"] >= 0.5


def test_what_is_not_there_is_not_found(mapped: tuple[SemanticMap, Scores]) -> None:
    assert mapped[1].to_json()["false_alarm_rate"] <= 0.1


def test_the_map_looks_like_the_room(mapped: tuple[SemanticMap, Scores]) -> None:
    held_out = mapped[0].info["held_out"]
    assert held_out["psnr"] >= 20.0
    assert held_out["covered"] >= 0.8


@pytest.mark.timeout(600)
def test_the_same_recording_gives_the_same_map(tmp_path: Path) -> None:
    make_scene(2, tmp_path / "room", num_frames=16, width=160, height=120)
    config = MapConfig()
    maps = [map_recording(tmp_path / "room", tmp_path / name, config)[1] for name in ("a", "b")]
    assert (maps[0].gaussians.means == maps[1].gaussians.means).all()
    for level in maps[0].levels:
        mine, other = (m.levels[level] for m in maps)
        assert (mine.track_of_gaussian == other.track_of_gaussian).all()
        assert (mine.codebook.entries == other.codebook.entries).all()
