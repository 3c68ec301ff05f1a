# SPDX-License-Identifier: Apache-2.0
"""A map is asked as the recipe says that it was made with, unless somebody says otherwise."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from splat_room import BLUE, RED, add_keyframes, room_map

from ccl_lgs_ros.cli import main, parser
from ccl_lgs_ros.commands.shared_arguments import config_of
from ccl_lgs_ros.config import MapConfig, options, updated
from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
from ccl_lgs_ros.recipes import ENTRIES, asked_as, configured, recipe
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish, recorded
from ccl_lgs_ros.structures import SemanticField

OF_PAPER = recipe("ccl_lgs").query.threshold
OWN = BuiltinEncoder().threshold


def made_with(path: Path, name: object, has_field: bool = False) -> Path:
    """A map that says of itself which recipe it was made with."""
    directory, made = MapDirectory.create(path), room_map(RED, BLUE)
    field = SemanticField(features={}, decoders={}) if has_field else None
    publish(directory, replace(made, info={"recipe": name}, field=field))
    add_keyframes(directory)
    return path


def config_for(path: Path, *arguments: str) -> MapConfig:
    return config_of(parser().parse_args(["query", str(path), "red", *arguments]))


def threshold_of(capsys: pytest.CaptureFixture[str], path: Path, *arguments: str) -> tuple[float, str]:
    """What the answer says that its threshold was, and what was said on stderr."""
    assert main(["query", str(path), "red", "--json", *arguments]) in (0, 1)
    out, err = capsys.readouterr()
    return json.loads(out)["threshold"], err


@pytest.mark.parametrize("name", ENTRIES)
def test_a_recipe_says_of_questions_what_its_options_are_and_nothing_else(name: str) -> None:
    said = asked_as({"recipe": name}, True)
    in_recipe = {key: value for key, _, value in options(recipe(name)) if key.startswith("query.")}
    assert {key: in_recipe[key] for key in said} == said
    assert updated(MapConfig(), said).query == recipe(name).query


@pytest.mark.parametrize("info", [{}, {"recipe": ""}, {"recipe": None}, {"recipe": ["langsplat"]}])
def test_a_map_that_names_no_recipe_is_asked_by_default(info: dict) -> None:
    assert asked_as(info, True) == {}


def test_a_recipe_of_another_version_is_a_warning_and_the_default(caplog: pytest.LogCaptureFixture) -> None:
    assert asked_as({"recipe": "from_tomorrow"}, True) == {}
    assert "'from_tomorrow', which is not known here" in caplog.text


def test_a_map_without_a_field_is_not_seen_by_it(tmp_path: Path) -> None:
    assert config_for(made_with(tmp_path / "refined", "langsplat", has_field=True)).query.view == "field"
    assert config_for(made_with(tmp_path / "live", "langsplat")).query.view == "votes"


def test_the_record_is_read_without_the_map(tmp_path: Path) -> None:
    path = made_with(tmp_path / "map", "langsplat", has_field=True)
    assert recorded(MapDirectory.open(path)) == ({"recipe": "langsplat"}, True)
    for file in path.glob("snapshots/*/splat.ply"):
        file.unlink()
    assert recorded(MapDirectory.open(path)) == ({"recipe": "langsplat"}, True)


def test_the_recipe_of_the_map_lies_over_the_default_under_all_that_is_said(tmp_path: Path) -> None:
    path = made_with(tmp_path / "map", "ccl_lgs")
    assert config_for(path) == updated(MapConfig(), {"query.threshold": OF_PAPER}), "nothing but questions"
    file = tmp_path / "mine.yaml"
    file.write_text("query.max_instances: 3\n")
    assert config_for(path, "--config", str(file)).query == replace(
        MapConfig().query, threshold=OF_PAPER, max_instances=3
    )
    file.write_text("query.threshold: 0\n")
    assert config_for(path, "--config", str(file)).query.threshold == 0.0, "the default is a choice, too"
    assert config_for(path, "--set", "query.threshold=0").query.threshold == 0.0
    assert config_for(path, "--recipe", "dr_splat") == configured("dr_splat")


def test_an_answer_is_that_of_the_map_s_recipe_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, note = made_with(tmp_path / "map", "ccl_lgs"), f"asked as recipe ccl_lgs: query.threshold {OF_PAPER}\n"
    assert threshold_of(capsys, path) == (OF_PAPER, note)
    assert threshold_of(capsys, path, "--threshold", "0.75") == (0.75, "")
    assert threshold_of(capsys, path, "--set", "query.threshold=0") == (pytest.approx(OWN), "")
    assert threshold_of(capsys, path, "--set", "seed=3") == (OF_PAPER, note)
    assert threshold_of(capsys, made_with(tmp_path / "plain", ""))[1] == ""


def test_each_map_of_a_folder_is_asked_as_its_own_recipe(tmp_path: Path) -> None:
    arguments = parser().parse_args(["evaluate", str(tmp_path), "--protocol", "lerf-ovs", "--data", "lerf"])
    paper, field = made_with(tmp_path / "ramen", "ccl_lgs"), made_with(tmp_path / "teatime", "langsplat", True)
    assert config_of(arguments) == MapConfig()
    assert config_of(arguments, paper).query.threshold == OF_PAPER
    assert config_of(arguments, field).query.view == "field"
