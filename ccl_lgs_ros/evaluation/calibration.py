# SPDX-License-Identifier: Apache-2.0
"""An absolute threshold that is chosen on other scenes than those it is used in."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_FALSE_ALARMS = 0.05  # share of prompts for absent things that may be answered


def calibrated_threshold(
    thresholds: Sequence[float],
    ious: NDArray[np.floating],
    false_alarms: NDArray[np.floating],
    *,
    max_false_alarms: float = MAX_FALSE_ALARMS,
) -> int:
    """The position of the threshold of highest mean IoU among those with few enough false alarms.

    Where none has few enough, it is the one with the fewest. Of equal ones the higher threshold is taken.

    Args:
        thresholds: [n] ascending.
        ious: [S, n] mean IoU of each scene at each threshold.
        false_alarms: [S, n] share of absent prompts that were answered.

    Raises:
        ValueError: if there is no scene, or the shapes do not fit.
    """
    shape = (len(ious), len(thresholds))
    if not shape[0] or np.shape(ious) != shape or np.shape(false_alarms) != shape:
        raise ValueError(f"ious, false_alarms: expected [S >= 1, {shape[1]}], got {np.shape(ious)}")
    iou, alarms = np.mean(ious, axis=0), np.mean(false_alarms, axis=0)
    is_allowed = alarms <= max(max_false_alarms, float(alarms.min()))
    best = float(iou[is_allowed].max())
    return int(np.flatnonzero(is_allowed & (iou >= best))[-1])


def left_out_thresholds(
    thresholds: Sequence[float],
    ious: NDArray[np.floating],
    false_alarms: NDArray[np.floating],
    *,
    max_false_alarms: float = MAX_FALSE_ALARMS,
) -> list[int]:
    """For each scene [S] the position of the threshold that all the others choose; a single scene chooses its own."""
    scenes = np.arange(len(ious))
    found = []
    for scene in scenes:
        others = scenes != scene if len(scenes) > 1 else scenes == scene
        found.append(
            calibrated_threshold(thresholds, ious[others], false_alarms[others], max_false_alarms=max_false_alarms)
        )
    return found
