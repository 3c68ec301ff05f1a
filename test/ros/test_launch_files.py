# SPDX-License-Identifier: Apache-2.0
"""The launch files run against a stand-in for launch: what they declare, what they start, with which parameters.

What this cannot check: that the real `ros2 launch` takes them. docs/launch.md shows what it printed.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ros.harness import ROOT
from ros.launch_double import EmitEvent, ExecuteProcess, LaunchFile, LogInfo, after_exit, launch_double, launch_files
from ros.launch_double import parameters as given_to

from ccl_lgs_ros.cli import parser
from ccl_lgs_ros.commands.shared_arguments import config_of
from ccl_lgs_ros.config import MapConfig, options
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.recipes import recipe
from ccl_lgs_ros.ros.launch_arguments import GROUPS

NAMES = ("demo", "mapping", "offline", "query")
THREE = {"keyframe_node", "training_node", "query_node"}


@pytest.fixture(autouse=True)
def double(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with launch_double():
        yield


def test_these_are_the_launch_files() -> None:
    assert [path.name for path in launch_files()] == [f"{name}.launch.py" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_show_args_teaches(name: str) -> None:
    for argument, keywords in LaunchFile(name).declared.items():
        text = keywords["description"]
        assert len(text) > 15 and text.endswith("."), argument
        assert "default_value" in keywords, argument
        if "choices" in keywords and keywords["default_value"] is not None:
            assert keywords["default_value"] in keywords["choices"], argument


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_shows_a_command_of_this_file(name: str) -> None:
    assert f"ros2 launch ccl_lgs_ros {name}.launch.py" in (LaunchFile(name).module.__doc__ or "")


@pytest.mark.parametrize("name", ["demo", "mapping", "query"])
def test_every_node_is_given_parameters_that_it_has(name: str) -> None:
    given = {"bag": "drive", "bag_mode": "play"} if name == "mapping" else {}
    method = {option for option, _, _ in options(MapConfig())}
    for executable, node in LaunchFile(name).nodes(**given).items():
        known = {option for option, _, _ in options(GROUPS[executable])} | method | {"use_sim_time"}
        assert set(given_to(node)) <= known, executable
        assert (ROOT / "scripts" / executable).is_file()
        assert node.kwargs["name"] == executable and node.kwargs["package"] == "ccl_lgs_ros"


def test_mapping_starts_three_nodes_with_the_parameters_of_the_arguments() -> None:
    nodes = LaunchFile("mapping").nodes(
        image_topic="/camera/image", map_path="here", use_depth="false", namespace="robot1", params_file="options.yaml"
    )
    assert set(nodes) == THREE
    assert given_to(nodes["keyframe_node"]) == {
        **{"use_sim_time": False, "image_topic": "/camera/image", "map_path": "here", "ingest.use_depth": False}
    }
    assert given_to(nodes["query_node"]) == {"use_sim_time": False, "map_path": "here", "ingest.use_depth": False}
    for node in nodes.values():
        assert node.kwargs["namespace"] == "robot1" and node.kwargs["parameters"][0] == "options.yaml"
        assert node.kwargs["remappings"] == []


def test_nothing_but_the_clock_is_set_where_no_argument_is_given() -> None:
    for node in LaunchFile("mapping").nodes().values():
        assert given_to(node) == {"use_sim_time": False}
        assert node.kwargs["on_exit"] is None


def test_a_recording_is_read_by_the_keyframe_node_alone() -> None:
    nodes = LaunchFile("mapping").nodes(bag="drive")
    assert set(nodes) == THREE
    assert given_to(nodes["keyframe_node"]) == {"use_sim_time": False, "bag_path": "drive"}
    assert "bag_path" not in given_to(nodes["training_node"])


def test_row_05_a_played_recording_sets_the_clock_of_all_nodes_and_waits_for_them() -> None:
    nodes = LaunchFile("mapping").nodes(bag="drive", bag_mode="play", bag_rate="0.5", query="false")
    assert set(nodes) == {"keyframe_node", "training_node", "bag_player"}
    player = given_to(nodes.pop("bag_player"))
    assert player == {"bag_path": "drive", "bag_rate": 0.5, "wait_for": ["keyframe_node", "training_node"]}
    assert all(given_to(node)["use_sim_time"] for node in nodes.values())
    live = LaunchFile("mapping").nodes(bag="drive", bag_mode="play", use_sim_time="false")
    assert not any(given_to(live[name])["use_sim_time"] for name in THREE)


def test_two_hosts_share_the_nodes() -> None:
    robot = LaunchFile("mapping").nodes(keyframe_transport="topic", train="false", query="false", map_path="spool")
    assert set(robot) == {"keyframe_node"}
    assert given_to(robot["keyframe_node"]) == {
        **{"use_sim_time": False, "map_path": "spool", "keyframe_transport": "topic"}
    }
    base = LaunchFile("mapping").nodes(keyframe_transport="topic", capture="false")
    assert set(base) == THREE - {"keyframe_node"}
    assert given_to(base["training_node"]) == {"use_sim_time": False, "keyframe_transport": "topic"}
    assert given_to(base["query_node"]) == {"use_sim_time": False}


def test_cameras_are_named_with_commas() -> None:
    node = LaunchFile("mapping").nodes(camera_names="front, left")["keyframe_node"]
    assert given_to(node)["camera_names"] == ["front", "left"]


def test_each_robot_may_have_its_own_tf() -> None:
    for node in LaunchFile("mapping").nodes(namespace="robot2", namespaced_tf="true").values():
        assert node.kwargs["remappings"] == [("/tf", "tf"), ("/tf_static", "tf_static")]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"bag": "drive", "bag_mode": "play", "bag_rate": "fast"}, "'bag_rate' must be a number; got 'fast'"),
        ({"bag": "drive", "bag_mode": "play", "bag_rate": "0"}, "'bag_rate' must be from 0.01 to 100"),
        ({"use_depth": "perhaps"}, "'ingest.use_depth' must be true or false"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_before_anything_starts(given: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        LaunchFile("mapping").started(**given)


def test_rviz_that_is_not_installed_is_one_line() -> None:
    started = LaunchFile("mapping").started(rviz="true")
    (line,) = [e.kwargs["msg"] for e in started if isinstance(e, LogInfo) and "rviz2" in e.kwargs["msg"]]
    assert "is not installed" in line and "apt install" in line


def test_rviz_that_is_installed_shows_our_displays(tmp_path: Path) -> None:
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "rviz2").touch()
    node = LaunchFile("query").nodes()["rviz2"]
    assert node.kwargs["arguments"] == ["-d", str(ROOT / "rviz" / "ccl_lgs.rviz")]


@pytest.mark.parametrize(("name", "executable"), [("query", "query_node"), ("demo", "demo_camera")])
def test_the_launch_ends_with_its_key_process_and_tells_by_the_exit_code(name: str, executable: str) -> None:
    on_exit = LaunchFile(name).nodes()[executable].kwargs["on_exit"]
    (event,) = after_exit(on_exit, 0)
    assert isinstance(event, EmitEvent)
    with pytest.raises(RuntimeError, match="failed with exit code 2"):
        after_exit(on_exit, 2)


def test_offline_is_a_command_line_that_ccl_lgs_takes() -> None:
    started = LaunchFile("offline").started(
        bag="drive", map_path="flat", budget="60", image_topic="/image", use_depth="false", params_file="options.yaml"
    )
    (process,) = [e for e in started if isinstance(e, ExecuteProcess)]
    program, *arguments = process.kwargs["cmd"]
    assert program.args == ("ccl-lgs", "ccl_lgs_ros")
    parsed = parser().parse_args(arguments)
    assert (str(parsed.recording), str(parsed.output), parsed.image_topic) == ("drive", "flat", "/image")
    assert parsed.config == "options.yaml"
    assert sorted(parsed.assignments) == ["gaussians.budget=60", "ingest.use_depth=false"]
    with pytest.raises(RuntimeError, match="mapping failed with exit code 2"):
        after_exit(process.kwargs["on_exit"], 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_viewer_is_a_command_line_that_ccl_lgs_takes(name: str) -> None:
    given = {"bag": "drive"} if name == "offline" else {}
    asked = {**given, "map_path": "flat", "viewer": "true", "viewer_port": "8091", "params_file": "options.yaml"}
    commands = [e.kwargs["cmd"] for e in LaunchFile(name).started(**asked) if isinstance(e, ExecuteProcess)]
    program, *arguments = commands[-1]
    assert program.args == ("ccl-lgs", "ccl_lgs_ros")
    parsed = parser().parse_args(arguments)
    assert (parsed.command, str(parsed.map), parsed.port, parsed.host) == ("view", "flat", 8091, "127.0.0.1")
    assert parsed.wait and parsed.config == "options.yaml"
    without = [e for e in LaunchFile(name).started(**given) if isinstance(e, ExecuteProcess)]
    assert len(without) == len(commands) - 1


def test_the_demo_makes_a_map_of_its_own_each_time_and_may_stay() -> None:
    launch = LaunchFile("demo")
    first, second = (launch.nodes() for _ in range(2))
    assert set(first) == {*THREE, "demo_camera"}
    paths = {given_to(nodes[name])["map_path"] for nodes in (first, second) for name in THREE}
    assert len(paths) == 2
    assert launch.nodes(stay="true")["demo_camera"].kwargs["on_exit"] is None


@pytest.mark.parametrize("name", ["demo", "mapping", "query"])
def test_a_recipe_reaches_every_node_and_the_viewer(name: str) -> None:
    started = LaunchFile(name).started(recipe="ccl_lgs", viewer="true", map_path="flat")
    nodes = LaunchFile(name).nodes(recipe="ccl_lgs", map_path="flat")
    assert all(given_to(node)["recipe"] == "ccl_lgs" for key, node in nodes.items() if key in THREE)
    (command,) = [e.kwargs["cmd"] for e in started if isinstance(e, ExecuteProcess)]
    assert parser().parse_args(command[1:]).recipe == "ccl_lgs"


def test_a_recording_is_mapped_by_a_recipe() -> None:
    started = LaunchFile("offline").started(bag="drive", recipe="ccl_lgs")
    (process,) = [e for e in started if isinstance(e, ExecuteProcess)]
    assert config_of(parser().parse_args(process.kwargs["cmd"][1:])) == recipe("ccl_lgs")


def test_no_path_of_one_machine_is_in_a_launch_file() -> None:
    for path in launch_files():
        assert not [word for word in ("/home", "/root", "/work", "/opt") if f'"{word}' in path.read_text()]
