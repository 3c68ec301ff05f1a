# SPDX-License-Identifier: Apache-2.0
"""Tracks and Gaussians have one colour everywhere."""

import numpy as np
import torch

from ccl_lgs_ros.colours import base_colors, track_colors


def test_a_track_keeps_its_colour_and_differs_from_its_neighbours() -> None:
    colors = track_colors(np.arange(-1, 40))
    assert np.ptp(colors[0]) == 0.0  # grey
    steps = np.linalg.norm(np.diff(colors[1:], axis=0), axis=1)
    assert steps.min() > 0.3
    assert np.array_equal(track_colors(np.array([7, 7])), colors[[8, 8]])


def test_a_gaussian_without_coefficients_is_grey_and_none_leaves_the_range() -> None:
    sh = torch.tensor([0.0, 10.0, -10.0])[:, None, None].repeat(1, 4, 3)
    np.testing.assert_allclose(base_colors(sh), np.repeat([[0.5], [1.0], [0.0]], 3, axis=1))
