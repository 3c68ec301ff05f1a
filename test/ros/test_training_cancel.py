# SPDX-License-Identifier: Apache-2.0
"""A goal of build_map that is cancelled ends within five seconds, whatever it is doing, and leaves a map to use."""

import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from action_msgs.msg import GoalStatus
from ccl_lgs_ros.action import BuildMap
from ros.harness import DISCOVERY
from ros.injected import inject
from ros.wall_map import BUILD, ON_DEMAND, wall_map

from ccl_lgs_ros.ros.build_messages import STAGE_SPANS
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load

MAX_SECONDS = 5.0  # from the request to cancel to the result
REGISTERED = ("keyframes", "carve", "fill", "optimize", "score", "associate", "codebook", "register")
DISTILLED = ("distill", "decode")
# Holds the worker up in the stage that a file names: for half a second at every step, or, with "stuck", for good.
SLOW = """
import time
from pathlib import Path
from ccl_lgs_ros.ros.map_worker import MapWorker
told = MapWorker.progress
def progress(self, stage, done, total, **figures):
    told(self, stage, done, total, **figures)
    wanted = Path({path!r}).read_text().split()
    if stage in wanted:
        time.sleep(1000.0 if "stuck" in wanted else 0.5)
MapWorker.progress = progress
"""


class Slow:
    """Says in which stage the worker is to be slow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._file = folder / "stage"
        self.be("nowhere")
        inject(monkeypatch, folder / "site", SLOW.format(path=str(self._file)))

    def be(self, where: str) -> None:
        self._file.write_text(where)


def cancelled_in(client: Any, stage: str, **goal: Any) -> tuple[Any, float]:
    """What becomes of a goal that is cancelled when it says that it is in a stage, and after how many seconds."""
    feedback: list = []
    handle = client.send_goal(BuildMap, "build_map", feedback, **goal)
    assert handle.accepted
    ended = handle.get_result_async()
    client.until(lambda: ended.done() or any(f.stage == stage for f in feedback), BUILD, f"the stage {stage}")
    seen = [f.stage for f in feedback]
    assert stage in seen, f"the goal ended in {ended.result().result}, having seen {seen}"
    began = time.monotonic()
    handle.cancel_goal_async()
    client.until(ended.done, 4 * MAX_SECONDS, "the goal does not end")
    assert {f.stage for f in feedback} <= set(STAGE_SPANS)
    return ended.result(), time.monotonic() - began


def assert_is_usable(done: Any, map_path: Path) -> None:
    assert done.status == GoalStatus.STATUS_CANCELED, done.result.message
    assert done.result.error_code == BuildMap.Result.CANCELED and done.result.partial, done.result.message
    published = load(MapDirectory.open(map_path))
    assert published.version == done.result.map_version and len(published.gaussians) > 0
    assert done.result.num_keyframes == published.info["keyframes"] > 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("stages", "options"),
    [
        (REGISTERED, {}),
        (DISTILLED, {"field__lifter": "distillation", "field__iterations": 4}),
    ],
    ids=["registration", "distillation"],
)
def test_row_39_cancel_ends_every_stage_within_five_seconds(
    client, start, tmp_path: Path, monkeypatch, record_property, stages, options
) -> None:
    slow = Slow(monkeypatch, tmp_path)
    keyframes = wall_map(tmp_path / "map")
    start(
        "training_node",
        map_path=keyframes,
        **{**ON_DEMAND, "gaussians__iterations": 4, **options},
    )
    seconds = {}
    for stage in stages:
        slow.be(stage)
        done, seconds[stage] = cancelled_in(client, stage, from_scratch=True)
        assert_is_usable(done, keyframes)
        assert seconds[stage] < MAX_SECONDS, seconds
    slow.be("nowhere")
    built = client.result(client.send_goal(BuildMap, "build_map"), BUILD).result
    assert built.success and not built.partial, built.message
    figures = ", ".join(f"{stage} {took:.1f}" for stage, took in seconds.items())
    record_property("figure", f"seconds from cancel to result: {figures}")


def test_row_39_a_stage_that_never_looks_up_is_ended_and_the_next_goal_succeeds(
    client, start, tmp_path: Path, monkeypatch, record_property
) -> None:
    slow = Slow(monkeypatch, tmp_path)
    keyframes = wall_map(tmp_path / "map")
    node = start("training_node", map_path=keyframes, **ON_DEMAND)
    slow.be("optimize stuck")
    done, seconds = cancelled_in(client, "optimize")
    assert_is_usable(done, keyframes)
    assert seconds < MAX_SECONDS
    slow.be("nowhere")
    built = client.result(client.send_goal(BuildMap, "build_map", iterations=2), BUILD).result
    assert built.success, built.message
    client.until(lambda: len(node.children()) == 1, DISCOVERY, "one worker, the new one")
    record_property("figure", f"{seconds:.1f} s from cancel to result in the middle of somebody else's code")
