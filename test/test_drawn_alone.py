# SPDX-License-Identifier: Apache-2.0
"""Instances that share a drawing look as each does by itself."""

import torch
from labelled_wall import CAMERA, Views, wall

from ccl_lgs_ros.field.drawn_alone import packed, silhouettes
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import NONE

RASTERIZER = NumbaRasterizer()


def test_rectangles_that_meet_are_drawn_apart():
    boxes = torch.tensor([[0, 0, 4, 4], [4, 0, 6, 4], [3, 3, 5, 5], [9, 9, 9, 9]])
    # The first two only share a side; the third lies over both; the last is empty.
    assert packed(boxes) == [[0, 1], [2]]
    assert packed(boxes[:0]) == []


def test_an_instance_looks_as_if_it_were_drawn_by_itself():
    gaussians = wall()
    view = Views(count=1)[0]
    column, line = (gaussians.means[:, 0] * 2).round().long() + 3, (gaussians.means[:, 1] * 2).round().long() + 2
    owner = column * 5 + line
    owner[owner == int(owner[0])] = NONE
    found = {i: (place, alpha) for i, place, alpha in silhouettes(gaussians, owner, 40, view, RASTERIZER)}
    assert set(found) == set(owner.unique().tolist()) - {NONE}
    for i, (place, alpha) in found.items():
        alone = RASTERIZER.render(gaussians.select(owner == i), CAMERA, view.pose).alpha
        torch.testing.assert_close(alpha, alone[place], atol=1e-5, rtol=0)
        assert float(alone.sum() - alone[place].sum()) < 1e-3


def test_what_lies_behind_the_camera_is_not_drawn():
    view = Views(count=1)[0]
    gaussians = wall()
    behind = type(gaussians)(**{**gaussians.tensors(), "means": -gaussians.means})
    assert not list(silhouettes(behind, torch.zeros(len(behind), dtype=torch.int64), 1, view, RASTERIZER))
