# SPDX-License-Identifier: Apache-2.0
"""Figures of evaluation: cases worked out by hand, and what must hold whatever is scored."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer, Box, Instance, Prompt
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.evaluation.boxes import box_iou, corners, intersection_volume
from ccl_lgs_ros.evaluation.metrics import (
    ViewPairs,
    accuracy_at,
    average_precision,
    false_alarm_rate,
    is_localised,
    mask_iou,
    matched,
    query_weighted,
    scene_macro,
)
from ccl_lgs_ros.evaluation.protocols import fixed_threshold
from ccl_lgs_ros.geometry import rigid, rotation_from_quat

CAMERA = Camera(width=4, height=4, fx=4.0, fy=4.0, cx=2.0, cy=2.0)
KEYS = {
    "miou",
    "acc25",
    "acc50",
    "loc_acc",
    "false_alarm_rate",
    "view_consistency",
    "centroid_error_m",
    "box_iou",
    "ap50",
    "miou_3d",
    "volume_miou_3d",
    "per_category",
}


def mask(*rows: str) -> NDArray[np.bool_]:
    return np.array([[cell == "#" for cell in row] for row in rows])


def box(center: tuple[float, float, float], size: tuple[float, float, float], yaw: float = 0.0) -> Box:
    rotation = rotation_from_quat(np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]))
    return Box(center=np.array(center), rotation=rotation, size=np.array(size))


def test_iou_of_masks_worked_out_by_hand() -> None:
    first, second = mask("##.", "##.", "..."), mask(".##", ".##", "...")
    assert mask_iou(first, second) == pytest.approx(2 / 6)
    assert mask_iou(first, first) == 1.0
    assert mask_iou(first, ~first) == 0.0
    assert mask_iou(first & ~first, first & ~first) == 0.0


def test_accuracy_counts_units_above_the_threshold() -> None:
    assert accuracy_at([0.1, 0.25, 0.3, 0.9], 0.25) == 0.5


def test_scenes_weigh_the_same_or_by_their_queries() -> None:
    scores = [[1.0], [0.0, 0.0, 0.0]]
    assert scene_macro(scores) == 0.5
    assert query_weighted(scores) == 0.25


def test_false_alarms_are_the_share_of_absent_prompts_that_were_answered() -> None:
    assert false_alarm_rate([True, False, False, False]) == 0.25


def test_a_peak_is_localised_only_inside_a_box() -> None:
    relevancy = np.zeros((40, 40))
    relevancy[10, 30] = 1.0
    assert is_localised(relevancy, np.array([[0.0, 0.0, 5.0, 5.0], [28.0, 8.0, 32.0, 12.0]]))
    assert not is_localised(relevancy, np.array([[8.0, 28.0, 12.0, 32.0]]))  # rows and columns are not swapped
    assert not is_localised(np.zeros((40, 40)), np.array([[0.0, 0.0, 39.0, 39.0]]))


def test_one_hot_pixel_does_not_outweigh_a_warm_region() -> None:
    relevancy = np.zeros((100, 100))
    relevancy[5, 5] = 1.0
    relevancy[60:80, 60:80] = 0.6
    assert is_localised(relevancy, np.array([[60.0, 60.0, 80.0, 80.0]]))


def test_boxes_overlap_as_worked_out_by_hand() -> None:
    cube = box((0, 0, 0), (1, 1, 1))
    assert box_iou(cube, cube) == pytest.approx(1.0)
    assert box_iou(cube, box((0.5, 0, 0), (1, 1, 1))) == pytest.approx(0.5 / 1.5)
    assert box_iou(cube, box((0, 0, 0), (0.5, 0.5, 0.5))) == pytest.approx(0.125)
    assert box_iou(cube, box((1.01, 0, 0), (1, 1, 1))) == 0.0
    assert box_iou(cube, box((9, 0, 0), (1, 1, 1))) == 0.0


def test_a_square_turned_by_an_eighth_leaves_an_octagon() -> None:
    octagon = 2 * (np.sqrt(2) - 1)
    turned = box((0, 0, 0), (1, 1, 1), yaw=np.pi / 4)
    assert intersection_volume(box((0, 0, 0), (1, 1, 1)), turned) == pytest.approx(octagon)


def test_box_overlap_is_symmetric_and_moves_with_the_world() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        pair = [
            Box(
                center=random.uniform(-0.3, 0.3, 3),
                rotation=rotation_from_quat(random.normal(size=4)),
                size=random.uniform(0.2, 1.0, 3),
            )
            for _ in range(2)
        ]
        turn, shift = rotation_from_quat(random.normal(size=4)), random.normal(size=3)
        moved = [Box(center=turn @ b.center + shift, rotation=turn @ b.rotation, size=b.size) for b in pair]
        assert box_iou(*pair) == pytest.approx(box_iou(*pair[::-1]), abs=1e-9)
        assert box_iou(*pair) == pytest.approx(box_iou(*moved), abs=1e-9)
        shared = intersection_volume(*pair)
        assert shared == pytest.approx(_sampled_volume(*pair), abs=0.02)


def _sampled_volume(first: Box, second: Box) -> float:
    points = first.center + (np.random.default_rng(1).uniform(-0.5, 0.5, (20000, 3)) * first.size) @ first.rotation.T
    inside = (np.abs((points - second.center) @ second.rotation) <= second.size / 2).all(1)
    return float(inside.mean() * np.prod(first.size))


def test_a_flat_box_is_scored_and_corners_span_the_size() -> None:
    flat = box((0, 0, 0), (1, 1, 0))
    assert box_iou(flat, flat) == pytest.approx(1.0)
    assert np.ptp(corners(box((1, 2, 3), (1, 2, 3))), axis=0) == pytest.approx([1, 2, 3])


def test_pairs_are_matched_one_to_one_at_least_total_cost() -> None:
    assert sorted(matched(np.array([[1.0, 2.0], [1.1, 9.0]]))) == [(0, 1), (1, 0)]
    assert matched(np.array([[3.0, 1.0, 2.0]])) == [(0, 1)]


def test_average_precision_worked_out_by_hand() -> None:
    ious = np.array([[0.8, 0.0], [0.7, 0.1], [0.0, 0.6]])  # the second finds what the first has taken
    assert average_precision([0.9, 0.8, 0.7], ious, 0.5) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([0.9, 0.8, 0.7], ious, 0.75) == pytest.approx(0.5)
    assert average_precision([], np.zeros((0, 2)), 0.5) == 0.0
    assert np.isnan(average_precision([0.5], np.zeros((1, 0)), 0.5))


def test_views_from_one_place_agree_pixel_by_pixel() -> None:
    depth = np.full((4, 4), 2.0, np.float32)
    pairs = ViewPairs([CAMERA, CAMERA], [np.eye(4), np.eye(4)], [depth, depth])
    first, second = mask("##..", "##..", "....", "...."), mask("#...", "#...", "....", "....")
    assert len(pairs) == 2
    assert pairs.consistencies([first, first]) == [1.0, 1.0]
    assert pairs.consistencies([first, second]) == [0.5, 0.5]
    assert pairs.consistencies([first & ~first, first & ~first]) == []


def test_a_step_aside_shifts_the_mask_and_what_leaves_the_view_does_not_count() -> None:
    depth = np.full((4, 4), 2.0, np.float32)
    aside = rigid(np.eye(3), np.array([0.5, 0.0, 0.0]))  # one pixel at 2 m
    pairs = ViewPairs([CAMERA, CAMERA], [np.eye(4), aside], [depth, depth])
    first, second = mask("##..", "##..", "....", "...."), mask("#...", "#...", "....", "....")
    assert pairs.consistencies([first, second]) == [1.0, 1.0]


def test_a_pixel_that_something_hides_is_not_compared() -> None:
    near, far = np.full((4, 4), 1.0, np.float32), np.full((4, 4), 2.0, np.float32)
    assert len(ViewPairs([CAMERA, CAMERA], [np.eye(4), np.eye(4)], [near, far])) == 0
    mixed = far.copy()
    mixed[:, 2:] = 1.0
    pairs = ViewPairs([CAMERA, CAMERA], [np.eye(4), np.eye(4)], [mixed, far])
    assert pairs.consistencies([mask("####", "....", "....", "...."), mask("##..", "....", "....", "....")]) == [
        1.0,
        1.0,
    ]


def test_a_pair_is_not_judged_by_the_fringe_of_a_thing_that_it_does_not_share() -> None:
    near, far = np.full((4, 4), 1.0, np.float32), np.full((4, 4), 2.0, np.float32)
    near[:, 3] = 2.0  # all that both views show
    pairs = ViewPairs([CAMERA, CAMERA], [np.eye(4), np.eye(4)], [near, far])
    with_fringe = mask("####", "###.", "###.", "###.")
    assert pairs.consistencies([with_fringe, with_fringe & ~with_fringe]) == []


def test_a_thing_that_one_view_lacks_counts_as_disagreement() -> None:
    depth = np.full((4, 4), 2.0, np.float32)
    pairs = ViewPairs([CAMERA, CAMERA], [np.eye(4), np.eye(4)], [depth, depth])
    thing = mask("##..", "##..", "....", "....")
    assert pairs.consistencies([thing, thing & ~thing]) == [0.0, 0.0]


def test_unknown_depth_takes_part_in_no_pair() -> None:
    unknown = np.full((4, 4), np.nan, np.float32)
    assert len(ViewPairs([CAMERA, CAMERA], [np.eye(4), np.eye(4)], [unknown, unknown])) == 0


@dataclass
class FakeView:
    masks: dict[str, NDArray[np.bool_]]
    camera: Camera = CAMERA
    world_from_camera: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    depth: NDArray[np.float32] | None = None

    @property
    def boxes(self) -> dict[str, NDArray[np.float64]]:
        found = {}
        for name, of_name in self.masks.items():
            rows, columns = np.nonzero(of_name)
            found[name] = np.array([[columns.min(), rows.min(), columns.max(), rows.max()]], dtype=np.float64)
        return found


@dataclass
class FakeTruth:
    category: str
    centroid: NDArray[np.float64]
    box: Box
    id: int = 1


class FakeSubject:
    """Answers each known prompt with instances at given places and one mask for every view."""

    def __init__(
        self, places: dict[str, list[tuple[float, float, float]]], masks: dict[str, NDArray[np.bool_]]
    ) -> None:
        self.places, self.masks = places, masks

    def ask(self, prompt: str) -> Answer:
        instances = tuple(
            Instance(
                id=i,
                level="wp",
                score=0.9,
                centroid=np.array(place),
                box=box(place, (1, 1, 1)),
                gaussian_ids=torch.zeros(0, dtype=torch.int64),
            )
            for i, place in enumerate(self.places.get(prompt, []))
        )
        feature = Prompt(text=prompt, feature=torch.ones(1))
        return Answer(
            prompt=feature, instances=instances, best_score=0.9, threshold=0.5, level="wp", map_version=1, message=""
        )

    def show(
        self, answers: Sequence[Answer], camera: Camera, world_from_camera: NDArray[np.float64]
    ) -> list[tuple[NDArray[np.bool_], NDArray[np.float64]]]:
        nothing = np.zeros((camera.height, camera.width), dtype=bool)
        shown = [self.masks.get(answer.prompt.text, nothing) for answer in answers]
        return [(of_prompt, of_prompt.astype(np.float64)) for of_prompt in shown]


LEFT, TOP = mask("##..", "##..", "##..", "##.."), mask("####", "####", "....", "....")
SUBJECT = FakeSubject({"mug": [(0, 0, 0), (5, 0, 0)], "ghost": [(0, 0, 9)]}, {"mug": LEFT})


def test_a_whole_set_is_scored_as_worked_out_by_hand() -> None:
    views = [FakeView({"mug": LEFT}), FakeView({"mug": TOP, "ball": TOP})]
    truths = [
        FakeTruth("mug", np.array([5.1, 0.0, 0.0]), box((5, 0, 0), (1, 1, 1))),
        FakeTruth("mug", np.array([0.0, 0.3, 0.0]), box((0.5, 0, 0), (1, 1, 1))),
        FakeTruth("ball", np.array([1.0, 0.0, 0.0]), box((1, 0, 0), (1, 1, 1))),
    ]
    scores = fixed_threshold(SUBJECT, views, truths, ["ghost", "unicorn"])
    figures = scores.to_json()
    assert set(figures) == KEYS
    assert figures["miou"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert figures["acc25"] == pytest.approx(2 / 3)
    assert figures["acc50"] == pytest.approx(1 / 3)
    assert figures["loc_acc"] == pytest.approx(2 / 3)
    assert figures["false_alarm_rate"] == 0.5
    assert figures["view_consistency"] is None
    assert figures["centroid_error_m"] == pytest.approx(0.2)
    assert figures["box_iou"] == pytest.approx((1 + 1 / 3) / 2)
    assert figures["per_category"]["ball"]["missed"] == 1
    assert figures["per_category"]["mug"]["missed"] == 0
    assert scores.num_missed == 1


def test_an_extra_instance_does_not_hide_a_missing_one() -> None:
    truths = [FakeTruth("mug", np.array([i * 5.0, 0, 0]), box((i * 5.0, 0, 0), (1, 1, 1))) for i in range(3)]
    scores = fixed_threshold(SUBJECT, [FakeView({"mug": LEFT})], truths)
    assert scores.categories["mug"].num_missed == 1
    assert scores.categories["mug"].centroid_errors == pytest.approx((0.0, 0.0))


def test_absent_figures_are_null_and_the_scores_are_json() -> None:
    figures = json.loads(json.dumps(fixed_threshold(SUBJECT, [FakeView({"mug": LEFT})]).to_json()))
    assert figures["miou"] == 1.0
    for name in ("false_alarm_rate", "view_consistency", "centroid_error_m", "box_iou"):
        assert figures[name] is None


def test_views_with_depth_give_a_consistency() -> None:
    depth = np.full((4, 4), 2.0, np.float32)
    views = [FakeView({"mug": LEFT}, depth=depth), FakeView({"mug": TOP}), FakeView({"mug": TOP}, depth=depth)]
    assert fixed_threshold(SUBJECT, views).to_json()["view_consistency"] == 1.0


def test_the_table_names_every_prompt_and_the_false_alarms() -> None:
    text = str(fixed_threshold(SUBJECT, [FakeView({"mug": LEFT, "ball": TOP})], absent=["ghost", "unicorn"]))
    lines = text.splitlines()
    assert lines[1].startswith("mug ") and "1.000" in lines[1]
    assert lines[2].startswith("ball")
    assert "false alarms 1 of 2" in text and "ghost" in text and "unicorn" not in text
    assert max(map(len, lines)) <= 120
