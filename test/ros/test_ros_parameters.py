# SPDX-License-Identifier: Apache-2.0
"""The options as ROS parameters: one name, one meaning, one default everywhere."""

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from rclpy.parameter import Parameter
from ros.harness import ROOT

from ccl_lgs_ros.config import MapConfig, load_config, options
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.recipes import ENTRIES, recipe, recipe_path
from ccl_lgs_ros.ros.keyframe_options import KeyframeNodeOptions
from ccl_lgs_ros.ros.options_file import options_file
from ccl_lgs_ros.ros.parameters import declare_options, on_change, warn_of_unknown
from ccl_lgs_ros.ros.query_options import QueryNodeOptions
from ccl_lgs_ros.ros.training_options import TrainingNodeOptions

DEFAULT = ROOT / "config" / "default.yaml"
OWN = (KeyframeNodeOptions(), TrainingNodeOptions(), QueryNodeOptions())


def test_the_default_file_is_what_the_options_say() -> None:
    hint = (
        "config/default.yaml is stale; write it anew: python -c 'from ccl_lgs_ros.config import MapConfig; "
        'from ccl_lgs_ros.ros.options_file import options_file; open("config/default.yaml", "w")'
        ".write(options_file(MapConfig()))'"
    )
    assert DEFAULT.read_text() == options_file(MapConfig()), hint
    assert load_config(DEFAULT) == MapConfig()


def test_the_default_file_is_a_ros_parameter_file_of_the_declared_types(make_node) -> None:
    plain, given = make_node(), make_node("--params-file", str(DEFAULT))
    assert declare_options(given, MapConfig()) == declare_options(plain, MapConfig()) == MapConfig()
    for name, _, _ in options(MapConfig()):
        assert given.get_parameter(name).type_ == plain.get_parameter(name).type_, name


def test_every_parameter_has_a_description_and_its_range(make_node) -> None:
    for group in (MapConfig(), *OWN):
        node = make_node()
        declare_options(node, group)
        for name, f, value in options(group):
            shown = node.describe_parameter(name)
            assert len(shown.description) > 5, name
            has_range = f.metadata["low"] is not None or f.metadata["high"] is not None
            if has_range and not isinstance(value, tuple):
                assert shown.floating_point_range or shown.integer_range, name
            for choice in f.metadata["choices"]:
                assert choice in shown.additional_constraints, name


def test_own_parameters_never_hide_an_option() -> None:
    known = {name for name, _, _ in options(MapConfig())}
    for group in OWN:
        assert not known & {name for name, _, _ in options(group)}


def test_values_arrive_whole_numbers_among_them(make_node) -> None:
    node = make_node("-p", "keyframes.min_translation:=1", "-p", "frames.map_up:=[0, -1, 0]", "-p", "device:=cpu")
    config = declare_options(node, MapConfig())
    assert config.keyframes.min_translation == 1.0 and isinstance(config.keyframes.min_translation, float)
    assert config.frames.map_up == (0.0, -1.0, 0.0)
    assert config.device == "cpu"


def test_a_text_may_look_like_a_number(make_node) -> None:
    node = make_node("-p", "navigation.floor_z:=0.5", "-p", "perception.encoder_checkpoint:=2024")
    config = declare_options(node, MapConfig())
    assert (config.navigation.floor_z, config.perception.encoder_checkpoint) == ("0.5", "2024")


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("query.threshold:=1.5", "query.threshold"),
        ("keyframes.max_count:=many", "keyframes.max_count"),
        ("ingest.pose_source:=gps", "ingest.pose_source"),
        ("frames.map_up:=[0.0, 1.0]", "frames.map_up"),
        ("ingest.use_depth:=3", "ingest.use_depth"),
        ("perception.encoder_checkpoint:=[a, b]", "perception.encoder_checkpoint"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(make_node, argument: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        declare_options(make_node("-p", argument), MapConfig())


def test_only_what_may_change_changes_and_a_refusal_says_why(make_node) -> None:
    node, held = make_node(), []
    held.append(declare_options(node, MapConfig(), changeable=("query.",)))
    on_change(node, lambda: held[-1], held.append)
    assert node.set_parameters([Parameter("query.threshold", value=0.7)])[0].successful
    assert held[-1].query.threshold == 0.7
    assert node.set_parameters([Parameter("query.connect_distance", value=1)])[0].successful
    refused = node.set_parameters([Parameter("query.level", value="roof")])[0]
    assert not refused.successful and "auto, whole, part" in refused.reason
    assert not node.set_parameters([Parameter("query.threshold", value=1.5)])[0].successful
    assert not node.set_parameters([Parameter("device", value="cpu")])[0].successful
    assert held[-1].query.level == "auto" and held[-1].query.threshold == 0.7


def test_an_unknown_parameter_is_named_with_its_nearest(make_node, capfd: pytest.CaptureFixture) -> None:
    node = make_node("-p", "keyframes.min_translatoin:=0.2", "-p", "use_sim_time:=false")
    declare_options(node, MapConfig())
    warn_of_unknown(node, [])
    said = "".join(capfd.readouterr())
    assert "did you mean 'keyframes.min_translation'" in said
    assert "use_sim_time" not in said


def test_a_group_of_options_can_be_declared_alone(make_node) -> None:
    node = make_node("-p", "keyframes.max_count:=7")
    config = declare_options(node, MapConfig(), groups=("keyframes.",))
    assert config.keyframes.max_count == 7
    assert not node.has_parameter("device")


def test_a_copy_with_few_lines_is_a_file_too(make_node, tmp_path: Path) -> None:
    path = tmp_path / "few.yaml"
    path.write_text("/**:\n  ros__parameters:\n    query:\n      threshold: 0.6\n")
    assert declare_options(make_node("--params-file", str(path)), MapConfig()) == load_config(path)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_recipe_is_taken_by_its_name_and_as_a_file(make_node, name: str) -> None:
    assert declare_options(make_node("-p", f"recipe:={name}"), MapConfig()) == recipe(name)
    as_file = declare_options(make_node("--params-file", str(recipe_path(name))), MapConfig())
    assert as_file == load_config(recipe_path(name))


def test_what_a_node_is_given_lies_over_its_recipe(make_node) -> None:
    given = make_node("-p", "recipe:=ccl_lgs", "-p", "codebook.size:=64")
    config = declare_options(given, MapConfig(), groups=("codebook.", "association."))
    assert (config.recipe, config.codebook.size, config.association.associator) == ("ccl_lgs", 64, "tracker")
    assert given.get_parameter("association.associator").value == "tracker"


def test_a_recipe_that_is_not_there_is_refused_with_those_that_are(make_node) -> None:
    with pytest.raises(ConfigError, match="there is no recipe 'ccl_lsg'; did you mean 'ccl_lgs'"):
        declare_options(make_node("-p", "recipe:=ccl_lsg"), MapConfig())
