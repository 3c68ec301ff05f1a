# SPDX-License-Identifier: Apache-2.0
"""The losses of an instance field, worked by hand."""

import pytest
import torch

from ccl_lgs_ros.field.instance_losses import contrastive_loss, mask_means, pseudo_feature_loss, smoothing_loss

PIXELS = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 2.0], [0.0, 5.0]])
MASK = torch.tensor([0, 0, 1, 1, 1])
MEANS = torch.tensor([[2.0, 0.0], [0.0, 3.0]])


def test_a_mask_has_the_mean_of_its_pixels():
    torch.testing.assert_close(mask_means(PIXELS, MASK, 2), MEANS)
    torch.testing.assert_close(mask_means(PIXELS, MASK, 3)[2], torch.zeros(2))


def test_smoothing_is_the_squared_distance_to_the_mean_by_mask():
    # Mask 0: (1 + 1) / 2 = 1. Mask 1: (1 + 1 + 4) / 3 = 2. Their mean is 1.5.
    assert float(smoothing_loss(PIXELS, MASK, MEANS)) == 1.5


def test_pixels_that_agree_cost_nothing():
    assert float(smoothing_loss(MEANS[MASK], MASK, MEANS)) == 0.0


def test_contrast_is_the_mean_inverse_squared_distance_of_ordered_pairs():
    means = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    # Squared distances 4, 1 and 5, each in both orders: 2 (1/4 + 1 + 1/5) / (3 * 2).
    assert float(contrastive_loss(means)) == pytest.approx(2 * (0.25 + 1.0 + 0.2) / 6)
    assert float(contrastive_loss(means[:2], softening=1.0)) == pytest.approx(1 / 5)


def test_one_mask_has_nothing_to_differ_from():
    means = torch.ones(1, 3, requires_grad=True)
    loss = contrastive_loss(means)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert float(contrastive_loss(torch.zeros(0, 3))) == 0.0


def test_contrast_drives_means_apart():
    means = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    contrastive_loss(means).backward()
    assert means.grad is not None
    torch.testing.assert_close(means.grad, torch.tensor([[2.0, 0.0], [-2.0, 0.0]]))  # d(1 / x^2) is -2 / x^3


def test_what_quantising_changes_is_an_absolute_difference():
    continuous, codes = torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([[0.25, 0.5], [0.5, 0.75]])
    assert float(pseudo_feature_loss(continuous, codes)) == 0.25
    assert float(pseudo_feature_loss(continuous[:0], codes[:0])) == 0.0
