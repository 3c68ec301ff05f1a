# SPDX-License-Identifier: Apache-2.0
"""Colour words: how texts are understood, and how segments answer them."""

import numpy as np
import pytest
import torch

from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
from ccl_lgs_ros.perception.colour_families import ACCEPTED, FAMILIES, colour_table, lab_of, memberships
from ccl_lgs_ros.perception.colour_words import colours_in

THRESHOLD = BuiltinEncoder().threshold
ENCODER = BuiltinEncoder()
# Clear samples of common colours, sRGB.
SAMPLES = {
    "red": (200, 30, 35), "dark red": (110, 15, 25), "orange": (245, 120, 20), "yellow": (245, 215, 40),
    "lime green": (140, 235, 40), "green": (40, 150, 60), "dark green": (10, 70, 25), "turquoise": (20, 185, 170),
    "light blue": (150, 205, 245), "blue": (30, 95, 220), "dark blue": (12, 25, 95), "purple": (120, 45, 165),
    "pink": (245, 130, 180), "brown": (110, 65, 30), "beige": (225, 215, 180), "black": (12, 12, 13),
    "grey": (128, 128, 128), "white": (250, 250, 250),
}  # fmt: skip


def names_found(text):
    rows, unknown = colours_in(text)
    return [colour_table().names[row] for row in rows], unknown


def feature_of(*colours, noise=0.0):
    """The feature of one segment whose rows show these colours in turn."""
    image = np.zeros((60, 60, 3), np.uint8)
    for band, colour in zip(np.array_split(np.arange(60), len(colours)), colours, strict=True):
        shown = np.asarray(colour) + np.random.default_rng(0).normal(0.0, noise, (len(band), 60, 3))
        image[band] = np.clip(shown, 0, 255)
    return ENCODER.encode_segments(image, torch.zeros(60, 60, dtype=torch.int32), 1)


def score(feature, text):
    return float(ENCODER.relevancy(feature, ENCODER.understand(text)))


def exposed(colour, gain):
    """An sRGB colour under another amount of light."""
    linear = (np.asarray(colour) / 255.0) ** 2.2 * gain
    return np.clip(linear, 0.0, 1.0) ** (1 / 2.2) * 255.0


def test_the_table_holds_every_name_once():
    table = colour_table()
    assert len(set(table.names)) == len(table.names) == 949
    assert set(table.families.tolist()) == set(range(len(FAMILIES)))
    assert len(table.starts) == len(FAMILIES) and (np.diff(table.starts) > 0).all()


@pytest.mark.parametrize("name", ["claret", "maroon", "blood", "burgundy", "crimson", "cherry"])
def test_red_holds_what_people_call_red(name):
    family = FAMILIES[colour_table().families[colour_table().names.index(name)]]
    assert family == "red" or ACCEPTED["red"][family] > 0.9


def test_every_name_alone_is_understood_as_its_own_family():
    table = colour_table()
    for row, name in enumerate(table.names):
        found, unknown = colours_in(name)
        assert not unknown and [table.families[r] for r in found] == [table.families[row]], name


@pytest.mark.parametrize(
    ("text", "found", "unknown"),
    [
        ("light blue box", ["light blue"], ("box",)),
        ("LIGHT-BLUE, box!", ["light blue"], ("box",)),
        ("\uff32\uff25\uff24 mug", ["red"], ("mug",)),  # full-width letters
        ("the robin\u2019s egg blue vase", ["robin's egg blue"], ("vase",)),
        ("lime green sofa", ["lime green"], ("sofa",)),
        ("gray wall", ["grey"], ("wall",)),
        ("very dark red chair", ["dark red"], ("chair",)),
        ("light claret cloth", ["claret"], ("cloth",)),
        ("red and white cup", ["red", "white"], ("cup",)),
        ("red rose", ["red"], ("rose",)),
        ("rose vase", ["rose"], ("vase",)),
        ("tea cup", [], ("tea", "cup")),
        ("tea coloured cup", ["tea"], ("cup",)),
        ("brown leather sofa", ["brown"], ("leather", "sofa")),
        ("dark chair", [], ("dark", "chair")),
        ("chair", [], ("chair",)),
        ("椅子", [], ("椅子",)),
        ("?!", [], ("?!",)),
    ],
)
def test_colours_are_found_longest_first_and_the_rest_is_listed(text, found, unknown):
    assert names_found(text) == (found, unknown)


def test_a_text_without_a_colour_is_not_understood():
    prompt = ENCODER.understand("wooden chair")
    assert not prompt.is_understood and prompt.unknown_words == ("wooden", "chair")
    assert float(ENCODER.relevancy(feature_of(SAMPLES["brown"]), prompt)) == 0.0


@pytest.mark.parametrize("prompt", SAMPLES)
def test_a_colour_answers_its_word(prompt):
    assert score(feature_of(SAMPLES[prompt]), f"{prompt} thing") > THRESHOLD


def is_related(prompt, colour):
    names = [ENCODER.understand(text).feature for text in (prompt, colour)]
    return bool((names[0] * names[1]).any())


@pytest.mark.parametrize("prompt", SAMPLES)
def test_a_colour_answers_no_unrelated_word(prompt):
    for colour, sample in SAMPLES.items():
        if not is_related(prompt, colour):
            assert score(feature_of(sample), prompt) < THRESHOLD, colour


@pytest.mark.parametrize(("plain", "shade"), [("blue", "light blue"), ("blue", "dark blue"), ("red", "dark red")])
def test_a_plain_word_takes_its_shades_but_prefers_itself(plain, shade):
    assert score(feature_of(SAMPLES[shade]), plain) > THRESHOLD
    assert score(feature_of(SAMPLES[plain]), plain) > score(feature_of(SAMPLES["light blue"]), "blue") > THRESHOLD


@pytest.mark.parametrize(
    ("prompt", "colour"),
    [("light blue", "dark blue"), ("light blue", "blue"), ("dark blue", "light blue"), ("lime green", "dark green"),
     ("dark green", "lime green"), ("black", "white"), ("white", "black"), ("white", "grey")],
)  # fmt: skip
def test_a_shade_does_not_take_its_opposite(prompt, colour):
    assert score(feature_of(SAMPLES[colour]), prompt) < THRESHOLD


@pytest.mark.parametrize("gain", [0.75, 1.25])
@pytest.mark.parametrize("prompt", SAMPLES)
def test_a_change_of_exposure_by_a_quarter_keeps_the_answer(prompt, gain):
    feature = feature_of(exposed(SAMPLES[prompt], gain))
    assert score(feature, prompt) > THRESHOLD
    assert float((feature @ feature_of(SAMPLES[prompt]).T)[0, 0]) > 0.7


@pytest.mark.parametrize("prompt", ["red", "yellow", "green", "blue", "purple"])
def test_highlights_and_shadow_do_not_change_the_answer(prompt):
    body = SAMPLES[prompt]
    shaded = feature_of(body, exposed(body, 0.5), exposed(body, 0.8), body, (255, 255, 255), body)
    assert score(shaded, prompt) > THRESHOLD


def test_a_segment_is_judged_through_sensor_noise():
    assert score(feature_of(SAMPLES["red"], noise=20.0), "red") > THRESHOLD
    for prompt in ("red", "blue", "green", "purple", "yellow"):
        assert score(feature_of(SAMPLES["grey"], noise=8.0), prompt) < THRESHOLD


def test_features_have_unit_length_and_empty_segments_none():
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    labels = torch.full((40, 50), -1, dtype=torch.int32)
    labels[:20, :25], labels[20:, 25:], labels[30, 3] = 0, 1, 3
    features = ENCODER.encode_segments(image, labels, 4)
    assert features.shape == (4, ENCODER.dim)
    assert torch.allclose(features.norm(dim=1), torch.tensor([1.0, 1.0, 0.0, 1.0]), atol=1e-5)


def test_no_segments_give_no_features():
    labels = torch.full((8, 8), -1, dtype=torch.int32)
    assert ENCODER.encode_segments(np.zeros((8, 8, 3), np.uint8), labels, 0).shape == (0, ENCODER.dim)


def test_a_segment_does_not_depend_on_its_neighbours_number():
    image = np.zeros((30, 30, 3), np.uint8)
    image[:, :15], image[:, 15:] = SAMPLES["red"], SAMPLES["blue"]
    labels = (torch.arange(30) >= 15).int().repeat(30, 1)
    ours = ENCODER.encode_segments(image, labels, 2)
    assert torch.allclose(ours.flip(0), ENCODER.encode_segments(image, 1 - labels, 2))


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match="labels"):
        ENCODER.encode_segments(np.zeros((8, 8, 3), np.uint8), torch.zeros(4, 4, dtype=torch.int32), 1)


def test_relevancy_is_between_0_and_1_for_any_shape():
    features = torch.rand(3, 5, ENCODER.dim, generator=torch.Generator().manual_seed(0))
    scores = ENCODER.relevancy(features / features.norm(dim=-1, keepdim=True), ENCODER.understand("red and blue"))
    assert scores.shape == (3, 5) and bool(((scores >= 0) & (scores <= 1)).all())
    assert float(ENCODER.relevancy(torch.zeros(ENCODER.dim), ENCODER.understand("red"))) == 0.0


def test_two_equal_rivals_tie():
    feature = torch.zeros(ENCODER.dim)
    feature[FAMILIES.index("red")] = feature[FAMILIES.index("blue")] = 0.5**0.5
    assert score(feature, "red") == pytest.approx(0.5)


def test_a_mean_of_features_answers_what_both_answer():
    light, shade = feature_of(SAMPLES["red"]), feature_of(exposed(SAMPLES["red"], 0.5))
    mean = torch.nn.functional.normalize(light + shade, dim=1)
    assert score(mean, "red") > THRESHOLD


def test_memberships_are_distributions():
    colours = np.random.default_rng(0).uniform(0, 255, (500, 3))
    rows = memberships(lab_of(colours))
    assert rows.shape == (500, len(FAMILIES)) and (rows >= 0).all()
    assert np.allclose(rows.sum(axis=1), 1.0, atol=1e-5)
