# SPDX-License-Identifier: Apache-2.0
"""Thresholds come from other scenes, and keep false alarms rare before they raise the IoU."""

import numpy as np
import pytest

from ccl_lgs_ros.evaluation.calibration import calibrated_threshold, left_out_thresholds

THRESHOLDS = (0.5, 0.6, 0.7, 0.8)
IOUS = np.array([[0.8, 0.6, 0.5, 0.1], [0.6, 0.6, 0.5, 0.1]])
ALARMS = np.array([[0.3, 0.1, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0]])


def test_the_best_threshold_with_few_false_alarms_wins() -> None:
    assert calibrated_threshold(THRESHOLDS, IOUS, ALARMS) == 1  # false alarms there are 0.05 in the mean
    assert calibrated_threshold(THRESHOLDS, IOUS, ALARMS, max_false_alarms=0.0) == 2
    assert calibrated_threshold(THRESHOLDS, IOUS, ALARMS, max_false_alarms=1.0) == 0


def test_where_every_threshold_raises_alarms_the_fewest_count() -> None:
    assert calibrated_threshold(THRESHOLDS, IOUS, ALARMS + 0.2) == 2


def test_of_equal_thresholds_the_higher_is_taken() -> None:
    assert calibrated_threshold(THRESHOLDS, np.full((1, 4), 0.5), np.zeros((1, 4))) == 3


def test_a_scene_has_no_say_in_its_own_threshold() -> None:
    ious = np.array([[0.9, 0.0], [0.0, 0.9], [0.0, 0.9]])
    assert left_out_thresholds((0.5, 0.6), ious, np.zeros((3, 2))) == [1, 1, 1]
    changed = ious.copy()
    changed[0] = [0.0, 0.0]
    assert left_out_thresholds((0.5, 0.6), changed, np.zeros((3, 2)))[0] == 1
    assert left_out_thresholds((0.5, 0.6), ious[:1], np.zeros((1, 2))) == [0]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        calibrated_threshold(THRESHOLDS, IOUS[:, :3], ALARMS)
    with pytest.raises(ValueError, match="expected"):
        calibrated_threshold(THRESHOLDS, IOUS[:0], ALARMS[:0])
