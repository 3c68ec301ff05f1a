# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the method: its sums by hand, and a trial of a room from end to end."""

from pathlib import Path

import numpy as np
import pytest

LOW, HIGH = "ablation of the paper | codebook only", "ablation of the paper | pull and push (CCL)"


def trial(room: int, seed: int, condition: str, miou: float) -> dict:
    """A trial that scores the same at every threshold and raises no alarm."""
    from proof.scoring import THRESHOLDS

    flat = {name: [value] * len(THRESHOLDS) for name, value in (("miou", miou), ("consistency", 0.5), ("iou_3d", 0.4))}
    return {
        "room": room,
        "seed": seed,
        "condition": condition,
        "scores": {**flat, "false_alarms": [0.0] * len(THRESHOLDS)},
        "tracks": {"purity": 1.0, "completeness": 0.5, "untracked": 0.0},
        "seconds": {"associate": 1.0, "codebook": 2.0, "lift": 3.0},
        "bytes": 4000,
        "gaussians": 10,
    }


def test_a_gain_is_the_mean_difference_in_the_same_rooms() -> None:
    from proof.summary import summary, table

    trials = [trial(room, seed, LOW, 0.1 * room) for room in (1, 2, 3) for seed in (0, 1)]
    trials += [trial(room, seed, HIGH, 0.1 * room + 0.05) for room in (1, 2, 3) for seed in (0, 1)]
    result = summary(trials, [LOW, HIGH])
    assert result["gains"]["CCL over codebook only"]["miou"] == pytest.approx((0.05, 0.05, 0.05))
    assert result["conditions"][LOW]["miou"][0] == pytest.approx(0.2)
    text = table(result)
    assert "| codebook only | 20.0 (10.0 to 30.0)" in text
    assert "| CCL over codebook only | +5.0 (5.0 to 5.0)" in text


def test_an_interval_is_of_rooms_not_of_seeds() -> None:
    from proof.summary import bootstrapped

    values, rooms = np.array([0.0, 1.0, 0.0, 1.0]), np.array([1, 1, 2, 2])
    assert bootstrapped(values, rooms) == pytest.approx((0.5, 0.5, 0.5))
    mean, low, high = bootstrapped(values, np.array([1, 2, 1, 2]))
    assert (mean, low, high) == (0.5, 0.0, 1.0)


@pytest.mark.data
def test_a_room_is_tried_in_every_kind_of_way(shared_data: Path) -> None:
    from proof.conditions import Plan, conditions
    from proof.scoring import THRESHOLDS
    from proof.trial import try_room

    plan = Plan(
        models=shared_data / "models",
        seeds=(0,),
        keyframes=16,
        views=3,
        steps=10,
        codebook_steps=5,
        distill_steps=3,
    )
    keys = (LOW, "associators, drive | tracker, re-seeded", "lifters, on CCL + votes + robust mean | weighted mean")
    keys += ("noise 0 | ours", "colour, beside and with distillation | joint")
    wanted = [condition for condition in conditions() if condition.key in keys]
    assert len(wanted) == len(keys)
    found = {trial["condition"]: trial for trial in try_room(0, 200, wanted, plan, lambda text: None)}
    assert found.keys() == set(keys)
    for trial_ in found.values():
        for curve in trial_["scores"].values():
            assert len(curve) == len(THRESHOLDS)
            assert all(0.0 <= value <= 1.0 for value in curve)
    clean, noisy = (max(found[key]["scores"]["miou"]) for key in ("noise 0 | ours", LOW))
    assert clean > noisy
    assert found[keys[-1]]["psnr"] > 5.0
