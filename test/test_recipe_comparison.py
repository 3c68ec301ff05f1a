# SPDX-License-Identifier: Apache-2.0
"""The comparison of recipes: its sums by hand, and a place from end to end."""

from dataclasses import replace
from pathlib import Path

import pytest


def trial(place: str, seed: int, *mious: float) -> dict:
    """What the default did in a place, its 2D mIoU at one threshold or several."""
    costs = {
        "seconds_per_keyframe": 0.1,
        "refine_seconds": 2.0,
        "query_ms": 3.0,
        "bytes_per_gaussian": 6.0,
        "psnr": 20.0,
    }
    others = ("miou_3d", "volume_miou_3d", "loc_acc", "view_consistency", "ap50")
    answers = [{"miou": miou, "false_alarm_rate": 0.0, **dict.fromkeys(others)} for miou in mious]
    return {"place": place, "seed": seed, "recipe": "", "figures": {**costs, "answers": answers}}


def test_the_threshold_of_a_room_is_chosen_in_the_other_rooms() -> None:
    from compared.summary import summary

    # Room 1 would choose the first, rooms 2 and 3 the second: room 1 has to take it.
    trials = [trial("room 1", 0, 0.9, 0.2), trial("room 2", 0, 0.1, 0.6), trial("room 3", 0, 0.1, 0.7)]
    assert summary(trials)["rooms"][""]["miou"][0] == pytest.approx((0.2 + 0.1 + 0.1) / 3)


def test_rooms_are_one_table_and_each_recording_another() -> None:
    from compared.summary import summary, tables

    trials = [trial("room 1", 0, 0.2), trial("room 1", 1, 0.4), trial("room 2", 0, 0.7), trial("shelf", 0, 0.9)]
    result = summary(trials)
    assert result["rooms"][""]["miou"][0] == pytest.approx(0.5)  # of rooms, not of trials
    assert "miou_3d" not in result["rooms"][""]
    text = tables(result)
    assert "| default | 50.0 (30 to 70) |" in text and "| default | 90.0 |" in text
    assert "| default | 0.10 | 2.0 | 3.0 | 6 | 20.00 |" in text


def test_a_recipe_that_fails_once_is_a_row_that_says_so() -> None:
    from compared.summary import summary, tables

    broken = {"place": "room 1", "seed": 1, "recipe": "", "error": "ValueError: no"}
    result = summary([trial("room 1", 0, 0.2), broken])
    assert result["rooms"][""] == {"error": "ValueError: no"}
    assert "| default | failed |" in tables(result)


def test_recipes_share_geometry_perception_and_sizes_and_keep_their_parts(tmp_path: Path) -> None:
    from compared.places import Place, Plan
    from compared.trial import SHARED, config_at

    from ccl_lgs_ros.config import MapConfig
    from ccl_lgs_ros.structures import Gaussians

    place = Place(
        name="room 1",
        settings={"gaussians.image_width": 160, "masks.min_area_px": 10},
        keyframes=(),
        gaussians=Gaussians.empty(),
        shown=(),
        views=(),
        absent=(),
        perceptions={},
    )
    plan = Plan(data=tmp_path, train_steps=7)
    default, paper = (config_at(place, name, plan, has_video=True) for name in ("", "ccl_lgs"))
    assert all(getattr(default, group) == getattr(paper, group) for group in SHARED)
    assert paper.gaussians.image_width == 160 and paper.masks.min_area_px == 10
    assert (paper.field.lifter, paper.field.iterations, paper.association.associator) == ("distillation", 7, "tracker")
    assert default.field.lifter == MapConfig().field.lifter
    assert config_at(place, "ccl_lgs", plan, has_video=False).association.associator == "geometric"


@pytest.mark.data
def test_a_room_is_tried_with_two_recipes_at_a_tiny_size(shared_data: Path) -> None:
    from compared.places import Plan, room_place
    from compared.summary import COSTS, SHARES
    from compared.trial import Trials

    plan = Plan(data=shared_data, seeds=(0,), keyframes=6, views=2, steps=5, train_steps=3)
    trials = Trials(replace(room_place(7, plan), thresholds=(0.5, 0.58)), 0, plan)
    default, paper = trials.of(""), trials.of("ccl_lgs")
    for found in (default, paper):
        assert all(found[name] is not None for name, *_ in COSTS)
        for answers in found["answers"]:
            missing = [name for name, _ in SHARES if answers[name] is None]
            assert missing in ([], ["view_consistency"])  # two views may have too little in common
            assert all(0.0 <= answers[name] <= 1.0 for name, _ in SHARES if name not in missing)
    assert paper["bytes_per_gaussian"] > default["bytes_per_gaussian"]
