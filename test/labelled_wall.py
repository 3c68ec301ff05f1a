# SPDX-License-Identifier: Apache-2.0
"""A wall of Gaussians whose left and right halves are two things, seen by a few cameras."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.field.pixels import HELD_OUT_STRIDE
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.labelling import LabelledView, LabelledViews, LevelLabels, Lifting, SegmentTable
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.protocols import Checkpoint, NoCheckpoint, Progress, no_progress
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
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
    """Cameras side by side; label 0 left, 1 right of the middle of the wall, nothing in the top rows.

    Args:
        blank: those of the levels at which nothing has a label.
    """

    def __init__(
        self, count: int = 4, brightness: int = 100, levels: Sequence[str] = LEVELS, blank: Sequence[str] = ()
    ) -> None:
        self._count, self._brightness, self._levels, self._blank = count, brightness, levels, blank

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
        nothing = dict.fromkeys(self._blank, torch.full_like(labels, NONE))
        rows, shown = dict.fromkeys(self._levels, rows_of(labels, index)), dict.fromkeys(self._levels, labels)
        return LabelledView(keyframe=keyframe, rows=rows | nothing, labels=shown | nothing)


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


def no_labels(count: int = 4) -> LevelLabels:
    """Of a level at which no view has a segment."""
    none = torch.zeros(0, dtype=torch.int64)
    starts = torch.zeros(count + 1, dtype=torch.int64)
    return LevelLabels(
        table=SegmentTable(features=torch.zeros(0, 4), track=none, weight=torch.zeros(0), start=starts),
        label_of_row=none,
        track_of_label=none,
        code_of_label=none,
        codebook=Codebook.empty(4),
    )


def without_codebook() -> LevelLabels:
    """The segments of both sides, of which none became a label."""
    none = torch.zeros(0, dtype=torch.int64)
    return replace(labels_by_side(), track_of_label=none, code_of_label=none, codebook=Codebook.empty(4))


def lifts(
    lifter: type, labels: Mapping[str, LevelLabels], views: LabelledViews | None = None, **defaults: Any
) -> Callable[..., Lifting]:
    """What lifts labels onto the wall with a lifter of these options, or of others that it is given."""
    usual = Views() if views is None else views

    def lift(
        checkpoint: Checkpoint | None = None,
        progress: Progress = no_progress,
        labels: Mapping[str, LevelLabels] = labels,
        views: LabelledViews | None = None,
        gaussians: Gaussians | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Lifting:
        return lifter(**{**defaults, **options}).lift(
            wall() if gaussians is None else gaussians,
            usual if views is None else views,
            labels,
            NumbaRasterizer(),
            generator=torch.Generator().manual_seed(seed),
            checkpoint=checkpoint or NoCheckpoint(),
            progress=progress,
        )

    return lift


def tensors_of(lifting: Lifting) -> dict[str, Tensor]:
    """What was lifted and learnt, by name."""
    found = dict(lifting.gaussians.tensors())
    kinds = {"label": lifting.label_of_gaussian, "confidence": lifting.confidence, "uncertainty": lifting.uncertainty}
    kinds["entries"] = {name: level.codebook.entries for name, level in lifting.labels.items()}
    if lifting.field is not None:
        kinds["features"] = lifting.field.features
        kinds |= {f"decoder.{name}": decoder for name, decoder in lifting.field.decoders.items()}
    for kind, tensors in kinds.items():
        found |= {f"{kind}.{name}": tensor for name, tensor in tensors.items()}
    return found


def knows_sides(lifting: Lifting, level: str, least: float = 0.5, where: Tensor | None = None) -> bool:
    """Whether more than a share of the clear Gaussians, or of those `where`, have a label, and all the right one."""
    label, asked = lifting.label_of_gaussian[level], is_clear(wall()) if where is None else where
    has_label = (label != NONE) & asked
    is_true = torch.equal(label[has_label], is_right(wall())[has_label].int())
    is_sure = lifting.confidence[level] > 0
    return is_true and torch.equal(is_sure, label != NONE) and bool(has_label.sum() > least * asked.sum())


def held_out() -> Tensor:
    """The pixels [H, W] of a view that are never learnt from."""
    is_held_out = torch.zeros(CAMERA.height, CAMERA.width, dtype=torch.bool)
    is_held_out[::HELD_OUT_STRIDE, ::HELD_OUT_STRIDE] = True
    return is_held_out
