# SPDX-License-Identifier: Apache-2.0
"""Tracks as a second vote on instances, worked by hand."""

import torch

from ccl_lgs_ros.field.track_vote import voted_instances


def parts(instance: list[int], track: list[int]) -> list[int]:
    found = voted_instances(torch.tensor(instance), torch.tensor(track))
    is_any = found >= 0
    number = torch.full_like(found, -1)
    number[is_any] = torch.unique(found[is_any], return_inverse=True)[1]
    return number.tolist()


def test_an_instance_of_two_tracks_is_split():
    assert parts([0] * 6, [4, 4, 4, 7, 7, 7]) == [0, 0, 0, 1, 1, 1]


def test_instances_of_one_track_are_joined():
    assert parts([0, 0, 1, 1], [5, 5, 5, 5]) == [0, 0, 0, 0]


def test_the_seam_and_what_has_no_track_go_with_the_main_track():
    # Track 9 holds one tenth of instance 0: it is the seam.
    assert parts([0] * 10 + [1], [3] * 8 + [9, -1, 3]) == [0] * 11


def test_an_instance_without_tracks_stays_itself():
    assert parts([0, 0, 1, -1], [-1, -1, 2, 2]) == [1, 1, 0, -1]
    assert parts([-1, -1], [0, 0]) == [-1, -1]
