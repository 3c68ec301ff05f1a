# SPDX-License-Identifier: Apache-2.0
"""The nouns of the refine pass: the segments of all keyframes in one table, their labels, and what lifting them gives.

A label is a pair of a track and a code. Where every track has one code, labels are tracks.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.languages import Language
from ccl_lgs_ros.shapes import check_shapes
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, SemanticField


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SegmentTable:
    """The segments of all keyframes at one level: B rows, ordered by keyframe, then segment."""

    features: Tensor  # [B, D] unit rows
    track: Tensor  # [B] int64, -1 none
    weight: Tensor  # [B] float32 >= 0: rendering weight times quality
    start: Tensor  # [V + 1] int64: keyframe v has rows start[v] to start[v + 1] - 1, one per segment

    def __post_init__(self) -> None:
        b = self.features.shape[0]
        check_shapes(
            features=(self.features, (b, None)),
            track=(self.track, (b,)),
            weight=(self.weight, (b,)),
            start=(self.start, (None,)),
        )

    def __len__(self) -> int:
        return self.features.shape[0]

    @property
    def num_tracks(self) -> int:
        return int(self.track.max()) + 1 if len(self) else 0

    @property
    def keyframe(self) -> Tensor:  # [B] int64
        """The keyframe of each row."""
        return torch.repeat_interleave(torch.arange(len(self.start) - 1), self.start.diff())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LevelLabels:
    """The labels of one level."""

    table: SegmentTable
    label_of_row: Tensor  # [B] int64, of each segment in its table
    track_of_label: Tensor  # [L] int64, -1 none
    code_of_label: Tensor  # [L] int64
    codebook: Codebook

    def __post_init__(self) -> None:
        count = self.code_of_label.shape[0]
        check_shapes(
            label_of_row=(self.label_of_row, (len(self.table),)), track_of_label=(self.track_of_label, (count,))
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledView:
    """A keyframe at working size with the segment and the label of each pixel."""

    keyframe: Keyframe
    rows: Mapping[str, Tensor]  # level -> [H, W] int32, the row of the level's table, -1 none
    labels: Mapping[str, Tensor]  # level -> [H, W] int32, -1 none
    gives_colour: bool = True  # False: held out, for scores; no colour may be learnt from it

    @property
    def pose(self) -> NDArray[np.float64]:  # [4, 4] world_from_camera
        return self.keyframe.world_from_camera


class LabelledViews(Protocol):
    """Labelled views by position, made when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> LabelledView: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lifting:
    """Labels carried from views onto Gaussians."""

    gaussians: Gaussians  # those given, unless colour and geometry were trained as well
    label_of_gaussian: Mapping[str, Tensor]  # level -> [N] int32, -1 none
    confidence: Mapping[str, Tensor]  # level -> [N] uint8: the share of votes for the label's code, 255 is all
    labels: Mapping[str, LevelLabels] = dataclasses.field(
        default_factory=dict
    )  # of lifters that make things and codes themselves
    languages: Mapping[str, Language] = dataclasses.field(
        default_factory=dict
    )  # level -> what each Gaussian says for itself
    uncertainty: Mapping[str, Tensor] = dataclasses.field(
        default_factory=dict
    )  # level -> [N] uint8, as in SemanticLevel
    field: SemanticField | None = None
    figures: Mapping[str, float] | None = None  # what the training says of itself: steps, loss, accuracy


def painted(labels: Tensor, label_of_segment: Tensor) -> Tensor:
    """A label map [H, W] int32 of segments [H, W], as `label_of_segment` [M] says; -1 stays."""
    table = torch.cat([label_of_segment, label_of_segment.new_tensor([NONE])])
    return table[labels.long()].to(torch.int32)
