# SPDX-License-Identifier: Apache-2.0
"""AP50 of instances over Gaussians, worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ccl_lgs_ros.answers import Box, Instance
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.evaluation.instances import ap50, bulk, gaussian_ious, owners, union_iou
from ccl_lgs_ros.storage.labelled_points import LabelledPoints, read_labelled_points, write_labelled_points
from ccl_lgs_ros.synthetic.scene import make_room_scene
from ccl_lgs_ros.synthetic.surfaces import TrueSurface

LEFT, RIGHT, TABLE = 1, 2, 0
# Two mugs of four Gaussians each on a table.
OWNER = np.array([LEFT, LEFT, LEFT, LEFT, RIGHT, RIGHT, RIGHT, RIGHT, TABLE, TABLE, -1])


def instance(score: float, *gaussians: int) -> Instance:
    box = Box(center=np.zeros(3), rotation=np.eye(3), size=np.ones(3))
    ids = torch.tensor(gaussians, dtype=torch.int64)
    return Instance(id=0, level="wp", score=score, centroid=np.zeros(3), box=box, gaussian_ids=ids)


def test_iou_counts_gaussians() -> None:
    found = [instance(0.9, 0, 1, 2), instance(0.8, 0, 1, 2, 3, 4, 5, 6, 7), instance(0.7, 8, 10)]
    assert gaussian_ious(found, [LEFT, RIGHT], OWNER).tolist() == [[3 / 4, 0.0], [0.5, 0.5], [0.0, 0.0]]


def test_a_gaussian_weighs_its_volume_times_its_opacity() -> None:
    scales, opacities = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [2.0, 1.0, 1.0]]), np.array([0.5, 1.0, 0.25])
    weight = bulk(scales, opacities)
    assert weight.tolist() == [3.0, 1.0, 0.5]
    is_true = np.array([True, True, False])
    found = [instance(0.9, 0, 2)]
    assert union_iou(found, is_true) == pytest.approx(1 / 3)
    assert union_iou(found, is_true, weight) == pytest.approx(3.0 / 4.5)
    assert union_iou([], is_true, weight) == 0.0 and union_iou([], ~is_true & is_true, weight) == 0.0


def test_each_mug_by_itself_is_right() -> None:
    assert ap50([instance(0.9, 0, 1, 2, 3), instance(0.8, 4, 5, 6)], [LEFT, RIGHT], OWNER) == 1.0


def test_two_mugs_as_one_are_wrong_though_nothing_else_is_in_it() -> None:
    assert ap50([instance(0.9, 0, 1, 2, 3, 4, 5, 6, 7)], [LEFT, RIGHT], OWNER) == 0.0  # 0.5 is not above 0.5


def test_a_mug_in_two_halves_is_wrong_and_the_other_counts_by_its_rank() -> None:
    halves = [instance(0.9, 0, 1), instance(0.8, 2, 3), instance(0.7, 4, 5, 6, 7)]
    assert ap50(halves, [LEFT, RIGHT], OWNER) == pytest.approx(1 / 3 / 2)


def test_a_false_instance_costs_only_what_is_ranked_after_it() -> None:
    last = [instance(0.9, 0, 1, 2, 3), instance(0.8, 4, 5, 6, 7), instance(0.7, 8, 9)]
    first = [instance(0.95, 8, 9), *last[:2]]
    assert ap50(last, [LEFT, RIGHT], OWNER) == 1.0
    assert ap50(first, [LEFT, RIGHT], OWNER) == pytest.approx(2 / 3)


def test_what_is_missing_is_missed_and_what_is_not_asked_for_has_no_figure() -> None:
    assert ap50([instance(0.9, 0, 1, 2, 3)], [LEFT, RIGHT], OWNER) == 0.5
    assert ap50([], [LEFT], OWNER) == 0.0
    assert ap50([instance(0.9, 0)], [], OWNER) is None


def test_a_gaussian_belongs_to_the_nearest_surface_unless_none_is_near() -> None:
    points, objects = np.array([[0.0, 0, 0], [0.1, 0, 0]]), np.array([LEFT, TABLE])
    means = np.array([[0.02, 0, 0], [0.06, 0, 0], [0.0, 0.2, 0]])
    assert owners(means, points, objects).tolist() == [LEFT, TABLE, -1]


def test_labelled_points_come_back_as_they_were_written(tmp_path: Path) -> None:
    surface = LabelledPoints(points=np.array([[0.25, 1.5, -2.0], [4.0, 0.5, 1.0]]), objects=np.array([3, 0]))
    write_labelled_points(tmp_path / "surface.ply", surface)
    found = read_labelled_points(tmp_path / "surface.ply")
    assert np.array_equal(found.points, surface.points)
    assert np.array_equal(found.objects, surface.objects)


def test_a_damaged_file_of_points_is_named_with_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "surface.ply"
    path.write_text("no ply")
    with pytest.raises(EvaluationError, match=r"surface\.ply must be a \.ply .* write it again"):
        read_labelled_points(path)


def test_true_surfaces_tell_objects_from_what_they_stand_on() -> None:
    scene = make_room_scene(0, width=80, height=60)
    surface = TrueSurface(scene.room)
    for frame in scene.frames(6):
        surface.add(frame)
    standing = next(item for item in scene.room.objects if item.kind == "mug")
    foot = np.array([[standing.x, standing.y, standing.z]])
    aside = 0.6 * standing.box[2].max()
    around = foot + aside * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    of_mug = owners(standing.surface[:200], surface.points, surface.objects)
    assert (of_mug == standing.id).mean() > 0.95
    assert (owners(around, surface.points, surface.objects) != standing.id).sum() >= 3
