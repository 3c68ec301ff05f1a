# SPDX-License-Identifier: Apache-2.0
"""A wall of Gaussians whose left and right halves are two things, seen by a few cameras."""

import numpy as np
import torch
from torch import Tensor

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.labelling import LabelledView, LevelLabels, SegmentTable
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians

CAMERA = Camera(width=40, height=32, fx=40.0, fy=40.0, cx=20.0, cy=16.0)
SIDES = (18, 18)  # Gaussians in rows and columns
DISTANCE = 2.0  # metres


def wall() -> Gaussians:
    """Gaussians that cover the image, darker on the left."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIDES[0]), torch.linspace(-1.2, 1.2, SIDES[1]), indexing="ij")
    count = x.numel()
    return Gaussians(
        means=torch.stack([x.flatten(), y.flatten(), torch.full((count,), DISTANCE)], dim=1),
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        log_scales=torch.tensor([0.09, 0.09, 0.01]).log().repeat(count, 1),
        logit_opacities=torch.full((count,), 2.0),
        sh=torch.where(x.flatten() < 0, -0.8, 0.4)[:, None, None].repeat(1, 1, 3),
    )


def is_right(gaussians: Gaussians) -> Tensor:
    return gaussians.means[:, 0] > 0


def is_clear(gaussians: Gaussians) -> Tensor:
    """The Gaussians that no pixel of the other half shows much of."""
    return gaussians.means[:, 0].abs() > 0.2


class Views:
    """Cameras side by side; label 0 left, 1 right of the middle of the wall, nothing in the top rows."""

    def __init__(self, count: int = 4, brightness: int = 100) -> None:
        self._count, self._brightness = count, brightness

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> LabelledView:
        shift = 0.2 * (index - (self._count - 1) / 2)
        middle = round(CAMERA.cx - CAMERA.fx * shift / DISTANCE)
        labels = torch.zeros(CAMERA.height, CAMERA.width, dtype=torch.int32)
        labels[:, middle:] = 1
        labels[:3] = NONE
        image = np.full((CAMERA.height, CAMERA.width, 3), self._brightness, np.uint8)
        pose = rigid(np.eye(3), np.array([shift, 0.0, 0.0]))
        keyframe = Keyframe(id=index, stamp_ns=index, camera=CAMERA, world_from_camera=pose, image=image)
        rows = dict.fromkeys(LEVELS, rows_of(labels, index))
        return LabelledView(keyframe=keyframe, rows=rows, labels=dict.fromkeys(LEVELS, labels))


def rows_of(labels: Tensor, view: int) -> Tensor:
    """Two segments a view: row 2 v is the left of view v, row 2 v + 1 the right."""
    return torch.where(labels == NONE, NONE, labels + 2 * view).int()


def labels_by_side(count: int = 4) -> LevelLabels:
    """Label 0 has code 2 and label 1 has code 0, of three codes; their segments look like the codes."""
    entries = torch.eye(4)[:3]
    side = torch.tensor([0, 1]).repeat(count)
    table = SegmentTable(
        features=entries[torch.tensor([2, 0])][side],
        track=side,
        weight=torch.ones(2 * count),
        start=2 * torch.arange(count + 1),
    )
    return LevelLabels(
        table=table,
        label_of_row=side,
        track_of_label=torch.tensor([0, 1]),
        code_of_label=torch.tensor([2, 0]),
        codebook=Codebook(entries=entries, weight=torch.ones(3)),
    )
