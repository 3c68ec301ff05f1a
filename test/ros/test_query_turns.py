# SPDX-License-Identifier: Apache-2.0
"""Who is next when many ask at once; and a node that rclpy itself makes stumble."""

from collections.abc import Coroutine
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.srv import GetMapInfo
from rclpy.executors import ExternalShutdownException
from ros.small_map import small_map

from ccl_lgs_ros.ros import spinning, turns
from ccl_lgs_ros.ros.map_info import fill_map_info
from ccl_lgs_ros.ros.query_options import QueryNodeOptions
from ccl_lgs_ros.ros.turns import Turns


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Requests:
    """Coroutines that wait for their turn, driven as an executor drives them: each is asked once in a pass."""

    def __init__(self, options: QueryNodeOptions) -> None:
        self.turns = Turns(SimpleNamespace(executor=None), lambda: options)  # type: ignore[arg-type]
        self.ended: list[tuple[str, str]] = []  # name, and why it was refused
        self._running: dict[str, Coroutine[Any, Any, Any]] = {}

    def ask(self, name: str, is_ready: Any = lambda: True, patience: float = 0.0) -> None:
        self._running[name] = self.turns.refusal(is_ready, patience)
        self._drive(name)

    def step(self, passes: int = 1) -> None:
        for _ in range(passes):
            for name in reversed(list(self._running)):
                self._drive(name)

    def _drive(self, name: str) -> None:
        try:
            self._running[name].send(None)
        except StopIteration as end:
            del self._running[name]
            self.ended.append((name, str(end.value or "")))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(turns, "time", clock)
    return clock


def test_whoever_comes_first_is_answered_first_and_everyone_is_taken_before_anyone_is_answered(clock: Clock) -> None:
    requests = Requests(QueryNodeOptions())
    requests.ask("a")
    for name in "bc":
        requests.ask(name)
        requests.step()
        assert not requests.ended, "another has come since the last look"
    requests.step(6)
    assert requests.ended == [("a", ""), ("b", ""), ("c", "")]
    assert requests.turns.is_idle


def test_a_request_that_waits_for_a_model_lets_the_others_pass(clock: Clock) -> None:
    requests, loaded = Requests(QueryNodeOptions()), []
    requests.ask("picture", lambda: bool(loaded), patience=60.0)
    requests.ask("question")
    requests.step(3)
    assert requests.ended == [("question", "")]
    clock.now += 30.0
    requests.step(3)
    assert len(requests.ended) == 1, "it has patience"
    loaded.append(1)
    requests.step(3)
    assert requests.ended[1:] == [("picture", "")]


def test_nobody_waits_longer_than_the_limit(clock: Clock) -> None:
    requests = Requests(QueryNodeOptions(max_wait=3.0))
    requests.ask("a", lambda: False)
    requests.step(3)
    clock.now += 3.1
    requests.step()
    ((name, why),) = requests.ended
    assert name == "a" and "being loaded" in why and requests.turns.is_idle


def test_the_last_of_many_is_told_that_there_are_too_many(clock: Clock) -> None:
    options = QueryNodeOptions(max_queue=2, max_wait=3.0)
    requests = Requests(options)
    for name in "abc":
        requests.ask(name)
    assert requests.ended == [("c", "busy: 2 requests wait already; ask again in a second")]
    clock.now += 3.1
    requests.step()
    assert [why for _, why in requests.ended[1:]] == [
        "busy: 2 requests wait; ask again in a few seconds",
        "busy: 1 requests wait; ask again in a few seconds",
    ]


def test_an_error_of_the_middleware_costs_one_message_and_not_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    class Executor:
        calls = 0

        def spin_once(self, timeout_sec: float) -> None:
            self.calls += 1
            if self.calls < 3:
                raise RuntimeError("could not send response")
            raise ExternalShutdownException

        def add_node(self, node: object) -> None: ...

        def remove_node(self, node: object) -> None: ...

    executor = Executor()
    monkeypatch.setattr(spinning, "HEARTBEAT", 0.0)
    monkeypatch.setattr(spinning, "SingleThreadedExecutor", lambda: executor)
    monkeypatch.setattr(spinning.rclpy, "ok", lambda: True)
    spinning._spin(object(), [])
    assert executor.calls == 3


@pytest.mark.parametrize("odd", [-1, 1e30, float("nan"), "many", None, [1]])
def test_figures_that_no_message_can_carry_are_left_out(odd: object, tmp_path) -> None:
    semantic_map = replace(small_map(0.05), info={"keyframes": odd, "vote_bytes": odd, "held_out": {"psnr": odd}})
    response = GetMapInfo.Response()
    fill_map_info(response, semantic_map, tmp_path)
    assert (response.num_keyframes, response.vote_bytes) == (0, 0)
    assert response.psnr != response.psnr or odd == -1
