# SPDX-License-Identifier: Apache-2.0
"""A time is written as people write it, and a refine spends it; later refines go on from the earlier ones."""

import argparse
from pathlib import Path

import pytest
from small_room import keyframes, small_config

from ccl_lgs_ros.commands.shared_arguments import seconds_of
from ccl_lgs_ros.gaussians import optimize
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.storage.map_directory import MapDirectory


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("60s", 60), ("5m", 300), ("1.5h", 5400), ("1h30m", 5400), ("1m30", 90), (".5s", 0.5), (" 2m ", 120)],
)
def test_a_duration_is_understood(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "0s", "m", "five", "-3", "5x", "1..2s", "3s4m", "nan", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="such as 60s"):
        seconds_of(text)


class Steps:
    """Counts the steps of optimisation."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
        self.count += stage == "optimize"

    def taken(self) -> int:
        """Those since the last time."""
        count, self.count = self.count, 0
        return count


def test_a_second_refine_makes_steps_for_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimize, "STEPS_PER_KEYFRAME", 3)
    monkeypatch.setattr(optimize, "MIN_STEPS", 1)
    source, steps = keyframes(), Steps()
    config = small_config(gaussians__iterations=-1, gaussians__holdout_every=0)
    session = MapSession(config, MapDirectory.open_or_create(tmp_path), steps)
    first = source[:-2]
    session.catch_up(first)
    session.refine(first)
    assert steps.taken() == 3 * len(first)
    session.catch_up(source)
    session.refine(source)
    assert steps.taken() == 2 * 3
    session.refine(source)  # nothing is new, and more was asked for
    assert steps.taken() == 3 * len(source)


def test_a_budget_makes_its_own_steps(tmp_path: Path) -> None:
    steps = Steps()
    config = small_config(gaussians__iterations=-1, gaussians__budget=0.4)
    session = MapSession(config, MapDirectory.open_or_create(tmp_path), steps)
    session.catch_up(keyframes())
    session.refine(keyframes())
    assert steps.taken() > 0
    taken = session.info["optimize_seconds"]
    assert isinstance(taken, float)
