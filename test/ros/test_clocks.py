# SPDX-License-Identifier: Apache-2.0
"""The clock of the nodes and the stamps of the messages: where they disagree, the fix is named."""

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import Keyframe, MapStatus
from ros.fake_camera import FakeCamera
from ros.harness import LATCHED, RELIABLE, ROOT

from ccl_lgs_ros.ros.clock_check import clock_advice

S = 1_000_000_000
NOW = 1_800_000_000 * S


@pytest.mark.parametrize("gap", [-9, 0, 9])
def test_row_05_stamps_near_the_clock_need_no_word(gap: int) -> None:
    assert clock_advice(NOW - gap * S, NOW, use_sim_time=False) == ""
    assert clock_advice(NOW - gap * S, NOW, use_sim_time=True) == ""


@pytest.mark.parametrize(
    ("stamp", "now", "use_sim_time", "words"),
    [
        (NOW - 11 * S, NOW, False, ("11 seconds before now", "use_sim_time:=true", "--clock")),
        (NOW + 7200 * S, NOW, False, ("2 hours after now", "synchronise the clocks")),
        (NOW - 94_672_800 * S, NOW, False, ("3 years before now", "use_sim_time:=true")),
        (NOW, 0, True, ("nothing comes on /clock", "--clock", "use_sim_time:=false")),
        (NOW, NOW - 100_000 * S, True, ("after now as /clock has it", "use_sim_time:=false")),
    ],
)
def test_row_05_the_fix_of_two_clocks_is_named(stamp: int, now: int, use_sim_time: bool, words: tuple) -> None:
    advice = clock_advice(stamp, now, use_sim_time=use_sim_time)
    for word in words:
        assert word in advice


def test_row_05_old_stamps_are_told_once_and_mapped_all_the_same(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", ingest__tf_timeout=6.0)
    keyframes = client.collect(Keyframe, "keyframe")
    camera = FakeCamera(client, RELIABLE)
    for _ in range(3):
        camera.send()
    client.until(lambda: len(keyframes) == 3, 60, "three keyframes")
    assert node.output.count("before now: for a recording that is played, add --clock") == 1


def test_row_05_without_a_clock_the_nodes_of_a_recording_still_listen_and_report(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", use_sim_time=True, ingest__tf_timeout=6.0)
    keyframes, statuses = client.collect(Keyframe, "keyframe"), client.collect(MapStatus, "status", LATCHED)
    camera = FakeCamera(client, RELIABLE)
    camera.send()
    node.wait_for("nothing comes on /clock", 60)
    client.until(lambda: len(keyframes) == 1, 60, "a keyframe")
    seen = len(statuses)
    client.until(lambda: len(statuses) >= seen + 2, 60, "a status each second though /clock stands still")


def test_row_05_without_a_clock_the_nodes_of_the_map_report_all_the_same(client, start, tmp_path: Path) -> None:
    statuses = client.collect(MapStatus, "status", LATCHED)
    for name in ("training_node", "query_node"):
        start(name, map_path=tmp_path / "map", use_sim_time=True, autostart=False)
    said = "a status each second of both nodes though nothing comes on /clock"
    client.until(lambda: all(n >= 2 for n in counts(statuses, "training_node", "query_node")), 60, said)


def counts(statuses: list[MapStatus], *nodes: str) -> list[int]:
    return [sum(status.node == node for status in statuses) for node in nodes]


def test_no_timer_of_a_node_stands_still_with_the_clock() -> None:
    """rclpy's create_timer follows /clock unless it is given another; `every` gives it one."""
    users = [path.name for path in (ROOT / "ccl_lgs_ros" / "ros").glob("*.py") if "create_timer(" in path.read_text()]
    assert users == ["spinning.py"]
