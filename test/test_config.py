# SPDX-License-Identifier: Apache-2.0
import pytest

from ccl_lgs_ros.config import MapConfig, load_config, options, parse_assignment, updated
from ccl_lgs_ros.errors import ConfigError


def test_every_option_is_described_and_its_default_is_valid() -> None:
    for name, field, value in options(MapConfig()):
        assert field.metadata["doc"].endswith("."), name
        assert updated(MapConfig(), {name: value}) == MapConfig()


def test_text_takes_the_option_s_type() -> None:
    config = updated(
        MapConfig(),
        {"query.threshold": "0.7", "codebook.size": "64", "ingest.use_depth": "false", "frames.map_up": "[0, -1, 0]"},
    )
    assert config.query.threshold == 0.7
    assert config.codebook.size == 64
    assert config.ingest.use_depth is False
    assert config.frames.map_up == (0.0, -1.0, 0.0)


@pytest.mark.parametrize(
    ("name", "value", "part_of_message"),
    [
        ("query.treshold", "0.5", "did you mean 'query.threshold'"),
        ("query.threshold", "2", "from 0.0 to 1.0"),
        ("query.threshold", "nan", "number"),
        ("query.threshold", "high", "a number"),
        ("codebook.size", "1.5", "a whole number"),
        ("ingest.use_depth", "maybe", "true or false"),
        ("query.level", "middle", "auto, whole, part"),
        ("frames.map_up", "[1, 2]", "3 numbers"),
        ("nonsense", "1", "no option"),
    ],
)
def test_a_wrong_option_is_named_with_what_would_be_right(name: str, value: str, part_of_message: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        updated(MapConfig(), {name: value})
    assert part_of_message.replace("0.0 to 1.0", "0 to 1") in str(caught.value).replace("0.0 to 1.0", "0 to 1")


def test_a_plain_file_and_a_ros_file_say_the_same(tmp_path) -> None:
    plain, ros = tmp_path / "plain.yaml", tmp_path / "ros.yaml"
    plain.write_text("query:\n  threshold: 0.6\nkeyframes.max_count: 7\n")
    ros.write_text("/**:\n  ros__parameters:\n    query:\n      threshold: 0.6\n    keyframes.max_count: 7\n")
    assert load_config(plain) == load_config(ros) != MapConfig()


@pytest.mark.parametrize("content", ["- a list", "a: [", "querry: {threshold: 1}"])
def test_a_broken_file_is_a_config_error(tmp_path, content: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError):
        load_config(path)


def test_a_missing_file_is_a_config_error(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.yaml")


def test_an_assignment_needs_both_sides() -> None:
    assert parse_assignment("a.b = 3=4") == ("a.b", "3=4")
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        parse_assignment("a.b")
