# SPDX-License-Identifier: Apache-2.0
"""Recipes: every file has an entry, every entry a file; what a user sets lies over what a recipe says."""

import argparse
from pathlib import Path

import pytest
import yaml

from ccl_lgs_ros.cli import COMMANDS, main, parser
from ccl_lgs_ros.commands.shared_arguments import config_of
from ccl_lgs_ros.config import MapConfig, flattened, load_config, options
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.map_record import made_with
from ccl_lgs_ros.recipes import ENTRIES, RECIPES, configured, recipe, recipe_path

FILES = sorted((Path(__file__).parents[1] / "config" / "recipes").glob("*.yaml"))
WIDTH = 100


def test_every_file_has_an_entry_and_every_entry_a_file() -> None:
    assert sorted(entry.name for entry in RECIPES) == [path.stem for path in FILES]
    assert all(recipe_path(name).is_file() for name in ENTRIES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_is_a_ros_parameter_file_of_options_that_exist(path: Path) -> None:
    tree = yaml.safe_load(path.read_text())
    assert list(tree) == ["/**"] and list(tree["/**"]) == ["ros__parameters"]
    named = dict(flattened(tree["/**"]["ros__parameters"]))
    assert named.keys() <= {name for name, _, _ in options(MapConfig())} - {"recipe"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_differs_from_the_default_and_says_why(path: Path) -> None:
    assert load_config(path) != MapConfig()
    text = path.read_text()
    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert "paper:" in text


@pytest.mark.parametrize("entry", RECIPES, ids=lambda entry: entry.name)
def test_an_entry_tells_people_enough(entry) -> None:
    for text in (entry.gives, entry.differs):
        assert text.endswith(".") and 40 < len(text) < 400
    assert "20" in entry.source and "(" in entry.source


def test_a_recipe_lies_over_the_default_under_a_file_under_assignments(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("codebook: {size: 64, margin: 0.6}\n")
    config = configured("ccl_lgs", file, ["codebook.margin=0.5"])
    assert config.recipe == "ccl_lgs"
    assert (config.association.associator, config.codebook.size, config.codebook.margin) == ("tracker", 64, 0.5)
    assert configured() == MapConfig()
    assert configured("", file) == load_config(file)


def test_a_file_or_an_assignment_may_name_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: ccl_lgs\ncodebook.size: 64\n")
    named = configured("", file)
    assert (
        named
        == configured("ccl_lgs", "", ["codebook.size=64"])
        == configured("", "", ["recipe=ccl_lgs", "codebook.size=64"])
    )
    copy = tmp_path / "copy.yaml"
    copy.write_text("recipe: ''\ncodebook.size: 64\n")
    assert configured("ccl_lgs", copy) == named


@pytest.mark.parametrize(("name", "said"), [("ccl_lsg", "did you mean 'ccl_lgs'"), ("xxxx", "there are: ccl_lgs")])
def test_an_unknown_recipe_is_an_error_that_lists_what_there_is(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}'.*there are: ") as caught:
        configured(name)
    assert said in str(caught.value)


def test_no_name_is_the_base_itself() -> None:
    base = configured("", "", ["codebook.size=12"])
    assert recipe("", base) is base
    assert recipe("ccl_lgs", configured("", "", ["codebook.batch=99", "field.channels=3"])).codebook.batch == 256


def test_every_command_that_takes_options_takes_a_recipe() -> None:
    (commands,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    assert set(commands.choices) == set(COMMANDS)
    taking = {name for name, sub in commands.choices.items() if "--set" in sub._option_string_actions}
    assert {name for name, sub in commands.choices.items() if "--recipe" in sub._option_string_actions} == taking
    assert {"map", "query", "evaluate", "options"} <= taking


def test_the_command_line_s_recipe_is_that_of_the_map() -> None:
    arguments = parser().parse_args(["map", "drive", "-o", "flat", "--recipe", "ccl_lgs", "--set", "codebook.size=7"])
    record = made_with(config_of(arguments), {})
    assert record["recipe"] == "ccl_lgs"
    assert record["options"]["codebook.size"] == 7 and record["options"]["field.lifter"] == "distillation"  # type: ignore[index]
    assert made_with(MapConfig(), {})["recipe"] == ""


def test_the_list_is_read_at_100_columns_and_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= WIDTH
    assert [line.partition(":")[0] for line in text.splitlines() if line[:1].strip()] == list(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_one_is_shown_with_its_options_against_the_default(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", name]) == 0
    shown = {line.split(" = ")[0].strip() for line in capsys.readouterr().out.splitlines() if " = " in line}
    default = {name: value for name, _, value in options(MapConfig())}
    assert shown == {key for key, _, value in options(recipe(name)) if value != default[key]} - {"recipe"}


def test_a_recipe_that_is_not_there_ends_the_command_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "ccl_lsg"]) == 2
    assert "did you mean 'ccl_lgs'?" in capsys.readouterr().err
