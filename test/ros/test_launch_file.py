# SPDX-License-Identifier: Apache-2.0
"""The launch file as text: its arguments, executables and parameters.

What this cannot check, because launch and launch_ros have no wheels: that the file runs, that conditions and
substitutions give what they should, and that `ros2 launch --show-args` prints it. Those need a ROS 2 installation.
"""

import ast

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ros.harness import ROOT

from ccl_lgs_ros.config import MapConfig, options
from ccl_lgs_ros.ros.keyframe_options import KeyframeNodeOptions
from ccl_lgs_ros.ros.query_options import QueryNodeOptions
from ccl_lgs_ros.ros.training_options import TrainingNodeOptions

TEXT = (ROOT / "launch" / "mapping.launch.py").read_text()
TREE = ast.parse(TEXT)
OPTIONS = {name for name, _, _ in options(MapConfig())}
PROMISED = {
    *("bag", "bag_mode", "image_topic", "depth_topic", "camera_info_topic", "pose_source", "pose_topic", "map_frame"),
    *("map_path", "namespace", "params_file", "log_level", "train", "query", "rviz"),
}


def names_of(group: object) -> set[str]:
    return {name for name, _, _ in options(group)}


def calls(name: str) -> list[ast.Call]:
    return [n for n in ast.walk(TREE) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == name]


def arguments() -> dict[str, dict[str, ast.expr]]:
    """The declared arguments: name -> keyword -> expression."""
    found = {}
    for call in calls("DeclareLaunchArgument"):
        assert isinstance(call.args[0], ast.Constant)
        found[call.args[0].value] = {str(k.arg): k.value for k in call.keywords}
    return found


def test_every_argument_has_a_default_and_says_what_it_is() -> None:
    declared = arguments()
    assert set(declared) >= PROMISED
    for name, keywords in declared.items():
        assert "default_value" in keywords, name
        description = keywords["description"]
        assert isinstance(description, ast.Constant) and len(description.value) > 10, name
        assert description.value.endswith("."), name


def test_a_default_is_among_its_choices() -> None:
    for name, keywords in arguments().items():
        if "choices" in keywords and isinstance(keywords["default_value"], ast.Constant):
            choices = ast.unparse(keywords["choices"])
            choices = choices.replace("*TRUE_FALSE", "'true', 'false'").replace("TRUE_FALSE", "['true', 'false']")
            assert keywords["default_value"].value in ast.literal_eval(choices), name


def test_only_declared_arguments_are_asked_for() -> None:
    asked = {c.args[0].value for c in calls("value") if isinstance(c.args[0], ast.Constant)}
    looped = {"image_topic", "depth_topic", "camera_info_topic", "pose_topic", "label_topic"}
    assert asked | looped | set(option_arguments()) == set(arguments())
    for name in looped:
        assert TEXT.count(f'"{name}"') >= 2, name


def option_arguments() -> dict[str, str]:
    assigned = next(
        n for n in TREE.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "OPTION_ARGUMENTS"
    )
    return ast.literal_eval(assigned.value)


def test_parameters_that_are_set_exist() -> None:
    assert set(option_arguments().values()) <= OPTIONS
    keyframe = names_of(KeyframeNodeOptions())
    assert {"image_topic", "depth_topic", "camera_info_topic", "depth_info_topic", "pose_topic", "qos"} <= keyframe
    keys = {k.value for n in ast.walk(TREE) if isinstance(n, ast.Dict) for k in n.keys if isinstance(k, ast.Constant)}
    known = keyframe | {"use_sim_time"} | set(option_arguments())
    assert keys - known == set(), "a parameter that no node declares"
    for group in (KeyframeNodeOptions(), TrainingNodeOptions(), QueryNodeOptions()):
        assert "map_path" in names_of(group)


def test_executables_and_files_exist() -> None:
    executables = {c.args[0].value for c in calls("node") if isinstance(c.args[0], ast.Constant)}
    assert executables == {"keyframe_node", "training_node", "query_node"}
    for name in executables:
        assert (ROOT / "scripts" / name).is_file()
        assert (ROOT / "ccl_lgs_ros" / "ros" / f"{name}.py").is_file()
    assert (ROOT / "config" / "default.yaml").is_file()
    assert (ROOT / "rviz" / "ccl_lgs.rviz").is_file()


def test_no_path_of_one_machine_is_in_it() -> None:
    texts = [n.value for n in ast.walk(TREE) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert not [t for t in texts if t.startswith(("/home", "/root", "/work", "/opt", "/tmp"))]
