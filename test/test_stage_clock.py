# SPDX-License-Identifier: Apache-2.0
"""What a map's record says of its stages: the time that passed in each, and the memory that was held."""

import numpy as np
import pytest

from ccl_lgs_ros import stage_clock
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.map_record import changed_options
from ccl_lgs_ros.stage_clock import StageClock

MEBIBYTE = 1 << 20


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in the list's only place."""
    time = [100.0]
    monkeypatch.setattr(stage_clock.time, "monotonic", lambda: time[0])
    return time


def test_time_belongs_to_the_stage_that_is_named_at_its_end(now: list[float]) -> None:
    clock = StageClock()
    for stage, done, seconds in (("capture", 1, 2.0), ("capture", 2, 3.0), ("score", 1, 0.5), ("capture", 3, 1.0)):
        now[0] += seconds
        clock(stage, done, 10)
    seconds = {name: stage["seconds"] for name, stage in clock.record.items()}
    assert seconds == {"capture": 6.0, "score": 0.5}
    assert {name: stage["count"] for name, stage in clock.record.items()} == {"capture": 3, "score": 1}


def test_waiting_for_keyframes_and_pauses_of_the_listener_are_no_work(now: list[float]) -> None:
    def wait(*_: object, **__: object) -> None:
        now[0] += 60.0

    clock = StageClock(wait)
    now[0] += 1.0
    clock("keyframes", 1, 2)
    now[0] += 30.0
    clock.begin()
    now[0] += 2.0
    clock.lap("keyframes")
    assert clock.record["keyframes"]["seconds"] == 3.0
    assert clock.record["keyframes"]["count"] == 2


def test_a_listener_hears_all_and_may_stop_the_work() -> None:
    heard = []

    def listen(stage: str, done: int, total: int, **figures: float) -> None:
        heard.append((stage, done, total, figures))
        if done == 2:
            raise KeyboardInterrupt

    clock = StageClock(listen)
    clock("optimize", 1, 2, loss=0.5)
    with pytest.raises(KeyboardInterrupt):
        clock("optimize", 2, 2)
    assert heard == [("optimize", 1, 2, {"loss": 0.5}), ("optimize", 2, 2, {})]


def test_what_a_stage_holds_in_memory_is_told() -> None:
    clock = StageClock()
    clock("small", 1, 1)
    large = np.ones(192 * MEBIBYTE, np.uint8)
    clock("large", 1, 1)
    before = clock.record["small"]["peak_bytes"]
    assert clock.record["large"]["peak_bytes"] - before > 0.9 * large.nbytes


def test_only_options_that_differ_are_recorded() -> None:
    config = updated(MapConfig(), {"gaussians.iterations": 7, "query.threshold": MapConfig().query.threshold})
    assert changed_options(config) == {"gaussians.iterations": 7}
    assert changed_options(MapConfig()) == {}
