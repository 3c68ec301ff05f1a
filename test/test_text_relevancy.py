# SPDX-License-Identifier: Apache-2.0
"""The relevancy of features to a prompt among generic words, by hand."""

import math

import pytest
import torch

from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.perception.text_relevancy import (
    ensemble,
    negative_texts,
    phrased,
    prompt_templates,
    text_relevancy,
)

PROMPT = torch.tensor([1.0, 0.0, 0.0])
NEGATIVES = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
FEATURES = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def test_pairwise_relevancy_is_the_softmax_against_the_nearest_negative() -> None:
    got = text_relevancy(FEATURES, PROMPT, NEGATIVES, sharpness=10.0, form="pairwise")
    # cosines with the prompt 1, .6, 0; with the nearest negative 0, .8, 1
    by_hand = [1 / (1 + math.exp(-10)), math.exp(6) / (math.exp(6) + math.exp(8)), 1 / (1 + math.exp(10))]
    assert torch.allclose(got, torch.tensor(by_hand))


def test_joint_relevancy_is_one_softmax_over_all() -> None:
    got = text_relevancy(FEATURES, PROMPT, NEGATIVES, sharpness=1.0, form="joint")
    e = math.exp
    by_hand = [e(1) / (e(1) + 2), e(0.6) / (e(0.6) + e(0.8) + 1), 1 / (2 + e(1))]
    assert torch.allclose(got, torch.tensor(by_hand))


def test_both_forms_agree_on_one_negative() -> None:
    pairwise = text_relevancy(FEATURES, PROMPT, NEGATIVES[:1], sharpness=3.0, form="pairwise")
    joint = text_relevancy(FEATURES, PROMPT, NEGATIVES[:1], sharpness=3.0, form="joint")
    assert torch.allclose(pairwise, joint)


@pytest.mark.parametrize("form", ["pairwise", "joint"])
def test_what_is_as_near_to_the_only_negative_is_a_tie(form: str) -> None:
    tied = torch.tensor([[[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]])
    got = text_relevancy(tied, PROMPT, NEGATIVES[:1], sharpness=10.0, form=form)
    assert got.shape == (1, 2)
    assert got.tolist() == [[0.5, 0.5]]


def test_extreme_sharpness_stays_finite_and_within_bounds() -> None:
    for form in ("pairwise", "joint"):
        got = text_relevancy(FEATURES, PROMPT, NEGATIVES, sharpness=1000.0, form=form)
        assert ((got >= 0.0) & (got <= 1.0)).all()
        assert got[0] > 0.999
        assert got[1] < 0.001


def test_half_precision_features_are_compared_in_single() -> None:
    got = text_relevancy(FEATURES.half(), PROMPT, NEGATIVES, sharpness=10.0, form="pairwise")
    assert got.dtype == torch.float32


def test_nothing_to_compare_with_is_an_error() -> None:
    with pytest.raises(ValueError, match="P >= 1"):
        text_relevancy(FEATURES, PROMPT, torch.zeros(0, 3), sharpness=10.0, form="pairwise")
    with pytest.raises(ValueError, match="expected 'pairwise' or 'joint'"):
        text_relevancy(FEATURES, PROMPT, NEGATIVES, sharpness=10.0, form="other")


def test_negatives_are_read_by_commas() -> None:
    assert negative_texts(" object, things,,stuff ") == ("object", "things", "stuff")
    with pytest.raises(ConfigError, match=r"perception\.negatives"):
        negative_texts(" , ")


def test_templates_put_the_prompt_in_its_place() -> None:
    templates = prompt_templates("{} | a photo of a {}.|{} in a room")
    assert phrased("red mug", templates) == ["red mug", "a photo of a red mug.", "red mug in a room"]


@pytest.mark.parametrize("option", ["", "|", "a photo of a mug", "{}|a photo"])
def test_a_template_without_a_place_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=r"perception\.templates"):
        prompt_templates(option)


def test_an_ensemble_is_the_direction_of_the_mean_of_directions() -> None:
    vectors = torch.tensor([[[2.0, 0.0], [0.0, 5.0]], [[3.0, 4.0], [6.0, 8.0]]])
    half = math.sqrt(0.5)
    assert torch.allclose(ensemble(vectors), torch.tensor([[half, half], [0.6, 0.8]]))
