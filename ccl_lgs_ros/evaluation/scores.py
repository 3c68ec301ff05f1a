# SPDX-License-Identifier: Apache-2.0
"""What scoring a map gives: every figure per prompt, and the figures of a whole set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ccl_lgs_ros.evaluation.metrics import accuracy_at, false_alarm_rate, mean_iou
from ccl_lgs_ros.evaluation.report import table


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One prompt in one view."""

    prompt: str
    view: int
    iou: float
    is_localised: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryScores:
    """The figures of one prompt; NaN where there is nothing to score."""

    units: tuple[Unit, ...] = ()
    consistencies: tuple[float, ...] = ()
    num_instances: int = 0  # that the map returned
    num_objects: int = 0  # that there are
    centroid_errors: tuple[float, ...] = ()  # metres, of the matched objects
    box_ious: tuple[float, ...] = ()  # of the matched objects
    best_score: float = 0.0
    ap50: float | None = None  # of the instances on the objects; None where there is no 3D truth
    iou_3d: float | None = None  # of all instances together with all objects, over Gaussians
    volume_iou_3d: float | None = None  # the same, each Gaussian weighing its volume times its opacity

    @property
    def num_missed(self) -> int:
        """Objects to which no instance was left."""
        return self.num_objects - len(self.centroid_errors)

    def to_json(self) -> dict[str, Any]:
        """The figures by name, null where there are none."""
        return {
            "miou": _mean([unit.iou for unit in self.units]),
            "loc_acc": _mean([unit.is_localised for unit in self.units]),
            "view_consistency": _mean(self.consistencies),
            "centroid_error_m": _median(self.centroid_errors),
            "centroid_error_mean_m": _mean(self.centroid_errors),
            "box_iou": _mean(self.box_ious),
            "ap50": self.ap50,
            "iou_3d": self.iou_3d,
            "volume_iou_3d": self.volume_iou_3d,
            "views": len(self.units),
            "instances": self.num_instances,
            "objects": self.num_objects or None,
            "missed": self.num_missed if self.num_objects else None,
            "best_score": round(self.best_score, 4),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Every figure of a map against one evaluation set."""

    categories: Mapping[str, CategoryScores] = field(default_factory=dict)
    false_alarms: Mapping[str, bool] = field(default_factory=dict)  # by absent prompt

    @property
    def units(self) -> list[Unit]:
        """Every prompt in every view."""
        return [unit for scores in self.categories.values() for unit in scores.units]

    @property
    def num_missed(self) -> int:
        """Objects that no instance was matched to."""
        return sum(scores.num_missed for scores in self.categories.values())

    def __str__(self) -> str:
        return table(self.to_json(), self.false_alarms)

    def to_json(self) -> dict[str, Any]:
        """The figures by name, null where they are not known; centroid error is the median, box IoU the mean."""
        ious = [unit.iou for unit in self.units]
        all_of = self.categories.values()
        return {
            "miou": mean_iou(ious) if ious else None,
            "acc25": accuracy_at(ious, 0.25) if ious else None,
            "acc50": accuracy_at(ious, 0.5) if ious else None,
            "loc_acc": _mean([unit.is_localised for unit in self.units]),
            "false_alarm_rate": false_alarm_rate(list(self.false_alarms.values())) if self.false_alarms else None,
            "view_consistency": _mean([value for scores in all_of for value in scores.consistencies]),
            "centroid_error_m": _median([value for scores in all_of for value in scores.centroid_errors]),
            "box_iou": _mean([value for scores in all_of for value in scores.box_ious]),
            "ap50": _mean([scores.ap50 for scores in all_of if scores.ap50 is not None]),
            "miou_3d": _mean([scores.iou_3d for scores in all_of if scores.iou_3d is not None]),
            "volume_miou_3d": _mean([s.volume_iou_3d for s in all_of if s.volume_iou_3d is not None]),
            "per_category": {prompt: scores.to_json() for prompt, scores in self.categories.items()},
        }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if len(values) else None
