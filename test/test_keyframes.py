# SPDX-License-Identifier: Apache-2.0
"""Keyframe selection keeps its stated rules."""

import math

import numpy as np
import pytest

from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.keyframes import KeyframeSelector
from ccl_lgs_ros.options import KeyframeOptions

S = 1_000_000_000
Image = tuple[int, np.ndarray, float]  # stamp, world_from_camera, sharpness


def pose(x: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    c, s = math.cos(yaw), math.sin(yaw)
    return rigid(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), np.array([x, 0.0, 0.0]))


def selector(**changes: object) -> KeyframeSelector:
    options = KeyframeOptions(**changes)  # type: ignore[arg-type]
    names = (
        "min_translation",
        "min_rotation",
        "min_interval",
        "max_interval",
        "min_sharpness",
        "max_count",
        "overflow",
        "max_speed",
    )
    return KeyframeSelector(**{name: getattr(options, name) for name in names})


def run(chosen: KeyframeSelector, images: list[Image], camera: str = "") -> tuple[list[int], list[str]]:
    """The stamps that were kept and the reasons of the others."""
    kept, reasons = [], []
    for stamp, where, sharp in images:
        refusal = chosen.refusal(stamp, where, camera) or chosen.refusal_of_image(stamp, where, sharp, camera)
        if refusal:
            reasons.append(refusal[0])
        else:
            chosen.keep(stamp, where, sharp, camera)
            kept.append(stamp)
    return kept, reasons


def walk(seed: int, count: int = 120) -> list[Image]:
    """A robot that wanders, turns, comes back, and blurs some images."""
    generator = np.random.default_rng(seed)
    x = np.cumsum(generator.normal(0, 0.05, count))
    yaw = np.cumsum(generator.normal(0, 0.05, count))
    sharp = np.where(generator.random(count) < 0.2, 30.0, generator.uniform(80, 120, count))
    return [((i + 1) * S // 10, pose(x[i], yaw[i]), float(sharp[i])) for i in range(count)]


def test_the_first_image_is_kept() -> None:
    assert run(selector(), [(S, pose(), 5.0)]) == ([S], [])


@pytest.mark.parametrize(
    ("x", "yaw", "is_new"),
    [(0.09, 0.0, False), (0.11, 0.0, True), (0.0, 0.13, False), (0.0, 0.15, True), (0.09, 0.13, False)],
)
def test_motion_beyond_either_gate_makes_a_keyframe(x: float, yaw: float, is_new: bool) -> None:
    kept, _ = run(selector(), [(S, pose(), 5.0), (2 * S, pose(x, yaw), 5.0)])
    assert kept == ([S, 2 * S] if is_new else [S])


def test_slow_motion_adds_up() -> None:
    kept, _ = run(selector(), [((i + 1) * S, pose(0.04 * i), 5.0) for i in range(10)])
    assert kept == [S, 4 * S, 7 * S, 10 * S]


def test_a_robot_that_stands_or_swings_stops_growing_the_map() -> None:
    swing = [((i + 1) * S, pose(0.0, 0.3 * math.sin(i)), 5.0) for i in range(1000)]
    kept, reasons = run(selector(), swing)
    assert len(kept) <= 7 and set(reasons) == {"motion"}


def test_a_place_seen_again_from_another_side_is_new() -> None:
    kept, _ = run(
        selector(),
        [(S, pose(0.0), 5.0), (2 * S, pose(1.0), 5.0), (3 * S, pose(0.0, math.pi), 5.0), (4 * S, pose(0.0), 5.0)],
    )
    assert kept == [S, 2 * S, 3 * S]


def test_intervals_bound_the_rate_on_both_sides() -> None:
    moving = [(S + i * S // 10, pose(0.2 * i), 5.0) for i in range(11)]
    assert run(selector(min_interval=0.5), moving)[0] == [S, S + S // 2, 2 * S]
    standing = [(S + i * S, pose(), 5.0) for i in range(11)]
    assert run(selector(max_interval=5.0), standing)[0] == [S, 6 * S, 11 * S]


def test_zero_gates_keep_every_image() -> None:
    images = [((i + 1) * S, pose(), 5.0) for i in range(10)]
    assert len(run(selector(min_translation=0.0), images)[0]) == 10
    assert len(run(selector(min_rotation=0.0), images)[0]) == 10


def test_a_blurred_image_is_passed_over_and_the_next_takes_its_place() -> None:
    sharp = [100.0, 100.0, 100.0, 40.0, 90.0, 100.0]
    moving = [((i + 1) * S, pose(0.2 * i), sharp[i]) for i in range(6)]
    kept, reasons = run(selector(), moving)
    assert kept == [S, 2 * S, 3 * S, 5 * S, 6 * S] and reasons == ["blur"]
    assert len(run(selector(min_sharpness=0.0), moving)[0]) == 6


def test_a_scene_that_becomes_plain_is_not_refused_for_ever() -> None:
    moving = [((i + 1) * S, pose(0.2 * i), 100.0 if i < 20 else 10.0) for i in range(60)]
    kept, _ = run(selector(), moving)
    assert len(kept) > 40


def test_the_result_depends_on_the_sequence_alone() -> None:
    assert run(selector(), walk(1)) == run(selector(), walk(1))
    assert run(selector(), walk(1))[0] != run(selector(), walk(2))[0]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("changes", [{}, {"max_count": 6}, {"max_interval": 1.0}, {"min_interval": 0.3}])
def test_the_same_images_again_add_nothing(seed: int, changes: dict) -> None:
    chosen, images = selector(**changes), walk(seed)
    kept, _ = run(chosen, images)
    again, reasons = run(chosen, images)
    assert again == [] and reasons.count("duplicate") == len(kept)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("changes", [{}, {"max_count": 6}])
@pytest.mark.parametrize("stop_at", [1, 17, 60, 110])
def test_an_interrupted_run_that_starts_anew_ends_with_the_same_keyframes(
    seed: int, changes: dict, stop_at: int
) -> None:
    images = walk(seed)
    whole, _ = run(selector(**changes), images)
    first, _ = run(selector(**changes), images[:stop_at])
    resumed = selector(**changes)
    for stamp, where, sharp in images:
        if stamp in first:
            resumed.restore(stamp, where, sharp, "")
    assert first + run(resumed, images)[0] == whole


def test_cameras_are_judged_apart() -> None:
    chosen = selector()
    assert run(chosen, [(S, pose(), 5.0)], "left")[0] == [S]
    assert run(chosen, [(S, pose(), 5.0), (2 * S, pose(), 5.0)], "right")[0] == [S]


def test_stop_keeps_no_more_than_the_cap() -> None:
    moving = [((i + 1) * S, pose(0.2 * i), 5.0) for i in range(30)]
    kept, reasons = run(selector(max_count=10, overflow="stop"), moving)
    assert kept == [(i + 1) * S for i in range(10)] and reasons == ["limit"] * 20


def test_thin_keeps_every_second_then_every_fourth_and_never_twice_the_cap() -> None:
    moving = [((i + 1) * S, pose(0.2 * i), 5.0) for i in range(400)]
    kept, reasons = run(selector(max_count=8), moving)
    steps = np.diff(np.array(kept) // S)
    assert list(steps) == [1] * 7 + [2] * 4 + [4] * 2 + [8]
    assert len(kept) < 16 and set(reasons) == {"limit"}


def test_restarted_time_cannot_break_the_cap() -> None:
    chosen = selector(max_count=8)
    for start in (1000, 500, 100):
        run(chosen, [((start + i) * S, pose(0.2 * i + start), 5.0) for i in range(100)])
    assert chosen._num_kept <= 16


def steps(*xs: float, hz: int = 10) -> list[Image]:
    """Images at places along a line, so many a second."""
    return [(S + i * S // hz, pose(x), 5.0) for i, x in enumerate(xs)]


def test_a_jump_of_localisation_costs_the_images_within_it_and_no_more() -> None:
    moving = steps(0.0, 0.2, 0.4, 1.4, 2.4, 2.6, 2.8)
    kept, reasons = run(selector(max_speed=5.0), moving)
    assert kept == [moving[i][0] for i in (0, 1, 2, 5, 6)] and reasons == ["jump", "jump"]
    assert len(run(selector(max_speed=0.0), moving)[0]) == 7


def test_a_small_step_is_no_jump_however_short_the_time() -> None:
    stamps = [S, S + 1_000_000, 2 * S]
    images = [(stamp, pose(x), 5.0) for stamp, x in zip(stamps, (0.0, 0.09, 0.5), strict=True)]
    assert "jump" not in run(selector(max_speed=1.0), images)[1]


def test_what_stays_fast_for_a_second_is_motion() -> None:
    racing = steps(*(2.0 * i for i in range(30)))
    kept, reasons = run(selector(max_speed=5.0), racing)
    assert reasons == ["jump"] * 10 and len(kept) == 20
    chosen = selector(max_speed=5.0)
    run(chosen, racing)
    halt_and_jump = [(10 * S + i * S // 10, pose(x), 5.0) for i, x in enumerate((58.0, 58.2, 70.0, 70.2))]
    assert run(chosen, halt_and_jump)[1] == ["motion", "jump"]


def test_cameras_do_not_jump_from_one_to_the_other() -> None:
    chosen = selector(max_speed=5.0)
    for stamp, x in ((S, 0.0), (S + S // 10, 0.2)):
        assert run(chosen, [(stamp, pose(x), 5.0)], "front")[1] == []
        assert run(chosen, [(stamp, pose(x + 3.0), 5.0)], "left")[1] == []


def test_corrected_keyframes_count_where_they_are_now() -> None:
    chosen = selector(max_speed=0.0)
    run(chosen, [(S, pose(0.0), 5.0), (2 * S, pose(1.0), 5.0)])
    chosen.correct({("", S): pose(5.0), ("", 2 * S): pose(6.0), ("other", S): pose(9.0)})
    kept, reasons = run(chosen, [(3 * S, pose(5.02), 5.0), (4 * S, pose(0.0), 5.0), (5 * S, pose(9.0), 5.0)])
    assert kept == [4 * S, 5 * S] and reasons == ["motion"]


def test_other_rules_take_over_what_was_kept() -> None:
    before = selector()
    run(before, [(S, pose(0.0), 5.0), (2 * S, pose(1.0), 5.0)])
    coarse = selector(min_translation=2.0)
    coarse.take_over(before)
    kept, reasons = run(coarse, [(2 * S, pose(1.0), 5.0), (3 * S, pose(2.5), 5.0), (4 * S, pose(3.1), 5.0)])
    assert kept == [4 * S] and reasons == ["duplicate", "motion"]
