# SPDX-License-Identifier: Apache-2.0
"""The weighted mean by hand, and labels for codes that were found otherwise than by counting labels."""

import pytest
import torch
from labelled_wall import knows_sides, labels_by_side, lifts
from torch.nn.functional import normalize

from ccl_lgs_ros.field.coded import labels_of_codes
from ccl_lgs_ros.field.weighted_mean import WeightedMeanLifter, nearest_to_mean
from ccl_lgs_ros.structures import NONE, Codebook, VoteTable

# Labels 0 and 2 have code 1, label 1 has code 0, label 3 has code 2; nobody has code 3.
CODE_OF_LABEL = torch.tensor([1, 0, 1, 2])
TABLE = VoteTable(
    track=torch.tensor([[1, 2, 0], [0, 1, NONE], [2, NONE, NONE], [NONE, NONE, NONE]], dtype=torch.int32),
    weight=torch.tensor([[5.0, 3.0, 2.0], [1.0, 0.25, 0.0], [4.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    lost=torch.zeros(4),
    visibility=torch.tensor([10.0, 1.25, 4.0, 0.0]),
)


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (
            [1, 1, 1, 1],
            [2, 0, 2, 2],
        ),  # its own heaviest; else that of all: label 2 has 7, label 0 has 3
        ([0, 0, 0, 0], [1, 1, 1, 1]),
        ([2, 3, NONE, 2], [3, NONE, NONE, 3]),  # code 2 has one label, code 3 none
    ],
)
def test_a_code_becomes_the_label_that_the_gaussian_saw_most_of(code, label):
    found = labels_of_codes(torch.tensor(code), TABLE, CODE_OF_LABEL)
    assert found.dtype == torch.int32
    assert found.tolist() == label


def test_no_labels_leave_no_label():
    found = labels_of_codes(torch.full((4,), NONE), VoteTable.empty(4, 3), torch.zeros(0, dtype=torch.int64))
    assert found.tolist() == [NONE] * 4


def test_the_entry_nearest_to_the_weighted_mean_by_hand():
    entries = normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.9, 1.0]]), dim=1)
    codebook = Codebook(entries=entries, weight=torch.ones(4))
    code, cosine = nearest_to_mean(TABLE, CODE_OF_LABEL, codebook)
    # 5 of code 0 and 5 of code 1: half way lies code 2, which got no vote; code 3 would be nearer to none
    assert code.tolist() == [2, 1, 1, NONE]
    mean = normalize(torch.tensor([0.25, 1.0]), dim=0)
    torch.testing.assert_close(
        cosine, torch.stack([torch.tensor(1.0), mean @ entries[1], torch.tensor(1.0), torch.tensor(0.0)])
    )


def test_an_entry_without_a_label_is_no_answer():
    entries = normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 1.0]]), dim=1)
    code, _ = nearest_to_mean(TABLE, CODE_OF_LABEL, Codebook(entries=entries, weight=torch.ones(4)))
    assert code[0] in (0, 1)


def test_the_mean_gives_gaussians_the_label_of_their_side():
    lifting = lifts(WeightedMeanLifter, {"wp": labels_by_side()}, slots=4, min_labelled=0.3)()
    assert knows_sides(lifting, "wp")
