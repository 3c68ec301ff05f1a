# SPDX-License-Identifier: Apache-2.0
"""Requests put to a small hand-made map: what is found, what is said, and what is said where nothing is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mini_scene import codebook_of, gaussians_at
from numpy.typing import NDArray
from placed_things import shell, table
from torch import Tensor

from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.query.answer import answer
from ccl_lgs_ros.query.relevancy import level_relevancy
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.query.viewpoint import standing_at
from ccl_lgs_ros.structures import NONE, SemanticLevel, SemanticMap

NAMES = ("mug", "table", "lamp", "handle", "shelf", "body")
WEIGHTS = (0.8, 0.0, 0.0, 0.6, 0.0, 0.0)  # of what is a mug and handle at once, yet more of a mug
UP = np.array([0.0, 0.0, 1.0])


class NameEncoder:
    """Understands single names; "big mug" is a mug and an unknown word."""

    identity, dim, threshold = "test/1", len(NAMES), 0.5

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode_segments(self, image: NDArray[np.uint8], labels: Tensor, count: int) -> Tensor:
        raise NotImplementedError

    def understand(self, text: str) -> Prompt:
        self.asked.append(text)
        words = text.split()
        feature = sum(
            (torch.eye(self.dim)[NAMES.index(word)] for word in words if word in NAMES), torch.zeros(self.dim)
        )
        unknown = tuple(word for word in words if word not in NAMES)
        return Prompt(text=text, feature=feature, unknown_words=unknown, encoder=self.identity)

    def relevancy(self, features: Tensor, prompt: Prompt) -> Tensor:
        return features @ prompt.feature


def handle(x: float, y: float, z: float) -> NDArray[np.float64]:
    return shell((x, y, z), (0.06, 0.02, 0.08))


def mug(x: float, y: float, z: float, size: float = 0.16) -> NDArray[np.float64]:
    return shell((x, y, z), (size, size, size))


# Each thing: the name that it goes by at the level of wholes, that at the level of parts, its points. The handle of
# the last mug was cut away from it; that of the lamp is one too.
THINGS = (
    ("table", "table", table(0.0, 0.0)),
    ("mug", "body", mug(-0.3, 0.0, 0.7)),  # left, on the table
    ("mug", "handle", handle(-0.19, 0.0, 0.74)),
    ("mug", "body", mug(0.3, 0.0, 0.7, 0.2)),  # right, on the table, larger
    ("mug", "handle", handle(0.43, 0.0, 0.76)),
    ("mug", "body", mug(0.0, 2.0, 0.0)),  # on the floor
    ("handle", "handle", handle(0.11, 2.0, 0.04)),
    ("lamp", "lamp", shell((0.0, 2.4, 0.0), (0.2, 0.2, 0.5))),
    ("lamp", "handle", handle(0.0, 2.4, 0.5)),
)


def level(names: list[str], things: list[int]) -> SemanticLevel:
    """Things as tracks, one after the other; parts of one thing with one name are one track."""
    track_of_thing = np.unique(things, return_inverse=True)[1]
    points = [len(points) for _, _, points in THINGS]
    features = torch.stack([torch.eye(len(NAMES))[NAMES.index(names[things.index(t)])] for t in sorted(set(things))])
    return SemanticLevel(
        track_of_gaussian=torch.from_numpy(np.repeat(track_of_thing, points).astype(np.int32)),
        confidence=torch.full((sum(points),), 255, dtype=torch.uint8),
        entry_of_track=torch.arange(len(features)),
        codebook=codebook_of(features),
    )


@pytest.fixture(scope="module")
def semantic_map() -> SemanticMap:
    points = np.concatenate([points for _, _, points in THINGS])
    levels = {
        "wp": level([whole for whole, _, _ in THINGS], [0, 1, 1, 3, 3, 5, 6, 7, 7]),
        "sp": level([part for _, part, _ in THINGS], list(range(len(THINGS)))),
    }
    return SemanticMap(gaussians=gaussians_at(points, scale=0.015), levels=levels, encoder="test/1", version=1)


def ask(semantic_map: SemanticMap, text: str, **more) -> Answer:
    return query_map(semantic_map, text, MapConfig(), more.pop("encoder", NameEncoder()), **more)


def where(found: Answer) -> list[tuple[float, float]]:
    rounded = [item.centroid.round(1) + 0.0 for item in found.instances]
    return [(float(x), float(y)) for x, y, _ in rounded]


LEFT, RIGHT, FLOOR = (-0.3, 0.0), (0.3, 0.0), (0.0, 2.0)
SOUTH = standing_at(np.array([0.0, -2.0, 1.5]), np.pi / 2, UP)
NORTH = standing_at(np.array([0.0, 4.0, 1.5]), -np.pi / 2, UP)


@pytest.mark.parametrize(
    ("text", "viewer", "expected"),
    [
        ("mug", None, {LEFT, RIGHT, FLOOR}),
        ("the mug on the table", None, {LEFT, RIGHT}),
        ("mug next to the lamp", None, {FLOOR}),
        ("largest mug", None, {RIGHT}),
        ("the second largest mug on the table", None, {LEFT}),
        ("the lowest mug", None, {FLOOR}),
        ("leftmost mug on the table", SOUTH, {LEFT}),
        ("leftmost mug on the table", NORTH, {RIGHT}),
        ("second mug from the left", SOUTH, {FLOOR}),
        ("mug nearest to the lamp", None, {FLOOR}),
        ("the closest mug", SOUTH, {LEFT}),
        ("mug farthest from the lamp", None, {LEFT}),
        ("mug in front of the lamp", SOUTH, {FLOOR, LEFT, RIGHT}),
        ("mug behind the lamp", SOUTH, set()),
        ("mug on the table near the lamp", None, set()),
        ("lamp near the mug", None, {(0.0, 2.4)}),
    ],
)
def test_what_is_asked_for_is_found(
    semantic_map: SemanticMap, text: str, viewer: NDArray | None, expected: set[tuple[float, float]]
) -> None:
    found = ask(semantic_map, text, seen_from=viewer)
    if text == "the closest mug":  # two are as close
        assert len(found.instances) == 1
    else:
        assert set(where(found)) == expected
    assert found.reading is not None
    assert found.prompt.text == found.reading.phrase.words
    assert all(item.score >= found.threshold for item in found.instances)
    assert bool(found.instances) == (found.best_score >= found.threshold)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mug on the table", '2 instances: the "mug" on the "table"'),
        ("mug on the lamp", 'nothing found: 3 instances of "mug", none on the "lamp"'),
        ("mug on the shelf", 'nothing found: no "shelf" found (best score 0.00 < threshold 0.50), so nothing is on it'),
        ("mug on the sofa", "(the map's language does not know: sofa), so nothing is on it"),
        ("sofa on the table", 'nothing found: no "sofa" found (the map\'s language does not know: sofa)'),
        ("the fourth largest mug", 'nothing found: 3 instances of "mug", no fourth largest'),
        ("big mug on the table", '2 instances: the "big mug" on the "table"; unknown words: big'),
        ("leftmost mug", '1 instance: the leftmost "mug"; as seen from the middle of the map'),
        ("handle of the shelf", 'so it has no "handle"'),
        ("lamp on the mug next to the table", 'nothing found: 3 instances of "mug", none next to the "table", so'),
    ],
)
def test_the_message_says_what_was_understood_and_what_failed(
    semantic_map: SemanticMap, text: str, message: str
) -> None:
    assert message in ask(semantic_map, text).message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("handle of the mug", {(-0.2, 0.0), (0.4, 0.0), (0.1, 2.0)}),  # that of the third is found in its box
        ("the mug's handle", {(-0.2, 0.0), (0.4, 0.0), (0.1, 2.0)}),
        ("handle of the mug on the table", {(-0.2, 0.0), (0.4, 0.0)}),
        ("handle of the largest mug", {(0.4, 0.0)}),
        ("handle of the lamp", {(0.0, 2.4)}),
        ("handle of the table", set()),
    ],
)
def test_a_part_is_found_inside_its_whole(
    semantic_map: SemanticMap, text: str, expected: set[tuple[float, float]]
) -> None:
    found = ask(semantic_map, text)
    assert set(where(found)) == expected
    assert {item.level for item in found.instances} <= {"sp"}
    assert found.prompt.text == "handle"
    if not expected:
        assert found.best_score < found.threshold
        assert 'no "handle" found' in found.message


def test_a_whole_is_looked_for_among_wholes(semantic_map: SemanticMap) -> None:
    parts = semantic_map.levels["sp"]
    entries = parts.codebook.entries.clone()
    entries[entries[:, NAMES.index("body")] > 0] = 2.0 * torch.eye(len(NAMES))[NAMES.index("mug")]  # better mugs there
    better = {**semantic_map.levels, "sp": replace(parts, codebook=codebook_of(entries))}
    alike = replace(semantic_map, levels=better)
    assert {item.level for item in ask(alike, "mug").instances} == {"sp"}
    assert set(where(ask(alike, "handle of the mug on the table"))) == {(-0.2, 0.0), (0.4, 0.0)}


def test_what_looks_more_like_the_whole_is_no_part(semantic_map: SemanticMap) -> None:
    parts = semantic_map.levels["sp"]
    entries = parts.codebook.entries.clone()
    is_body = entries[:, NAMES.index("body")] > 0
    entries[is_body] = torch.tensor(WEIGHTS)
    alike = {**semantic_map.levels, "sp": replace(parts, codebook=codebook_of(entries))}
    found = ask(replace(semantic_map, levels=alike), "handle of the mug on the table")
    assert set(where(found)) == {(-0.2, 0.0), (0.4, 0.0)}


def test_a_part_that_is_more_like_it_than_like_the_whole_needs_less(semantic_map: SemanticMap) -> None:
    parts = semantic_map.levels["sp"]
    weak = {**semantic_map.levels, "sp": replace(parts, codebook=codebook_of(0.63 * parts.codebook.entries))}
    doubtful = replace(semantic_map, levels=weak)
    found = ask(doubtful, "handle of the mug on the table", threshold=0.7)
    assert len(found.instances) == 2
    assert found.threshold == pytest.approx(0.595)
    assert not ask(doubtful, "handle of the mug on the table", threshold=0.8).instances


def test_a_plain_prompt_is_answered_as_without_the_grammar(semantic_map: SemanticMap) -> None:
    encoder = NameEncoder()
    prompt = encoder.understand("mug")
    relevancy = {name: level_relevancy(of, encoder, prompt) for name, of in semantic_map.levels.items()}
    options = {"threshold": 0.5, "max_instances": 10, "min_gaussians": 15, "connect_distance": 0.0, "level": "auto"}
    plain = answer(semantic_map, prompt, relevancy, **options)
    asked = ask(semantic_map, "mug", encoder=encoder)
    assert encoder.asked == ["mug", "mug"]
    assert (asked.message, asked.best_score, asked.level) == (plain.message, plain.best_score, plain.level)
    for one, other in zip(asked.instances, plain.instances, strict=True):
        assert (one.id, one.score) == (other.id, other.score)
        assert torch.equal(one.gaussian_ids, other.gaussian_ids)
        assert np.array_equal(one.box.center, other.box.center)


def test_without_the_grammar_the_whole_text_is_one_name(semantic_map: SemanticMap) -> None:
    encoder = NameEncoder()
    off = updated(MapConfig(), {"query.grammar": False})
    found = query_map(semantic_map, "mug on the table", off, encoder)
    assert encoder.asked == ["mug on the table"]
    assert found.reading is not None and found.reading.is_plain


def test_courtesy_does_not_reach_the_encoder(semantic_map: SemanticMap) -> None:
    encoder = NameEncoder()
    assert len(ask(semantic_map, "Where is the mug?", encoder=encoder).instances) == 3
    assert encoder.asked == ["mug"]


def test_the_nearer_of_what_lies_in_a_direction_comes_first(semantic_map: SemanticMap) -> None:
    assert where(ask(semantic_map, "mug behind the lamp", seen_from=NORTH))[0] == FLOOR


def test_a_choice_is_made_before_the_answer_is_cut(semantic_map: SemanticMap) -> None:
    assert where(ask(semantic_map, "lowest mug", max_instances=1)) == [FLOOR]
    assert len(ask(semantic_map, "mug on the table", max_instances=1).instances) == 1


def test_left_is_meant_as_in_the_best_view(semantic_map: SemanticMap) -> None:
    camera = Camera(width=160, height=120, fx=80.0, fy=80.0, cx=80.0, cy=60.0)
    low = NORTH.copy()
    low[2, 3] = 0.8
    poses = np.stack([standing_at(np.array([0.0, 9.0, 1.0]), np.pi / 2, UP), low])  # the first looks away
    views = ViewedFrom(keyframe_ids=np.array([3, 8]), cameras=[camera] * 2, world_from_camera=poses)
    found = ask(semantic_map, "leftmost mug on the table", views=views)
    assert "as seen from keyframe 8" in found.message
    assert where(found) == [RIGHT]
    assert found.instances[0].keyframe_ids == (8,)


def test_a_map_without_semantics_says_so(semantic_map: SemanticMap) -> None:
    found = ask(replace(semantic_map, levels={}), "handle of the mug on the table")
    assert not found.instances
    assert "the map has no semantics yet" in found.message


def test_a_map_of_one_level_has_parts_too(semantic_map: SemanticMap) -> None:
    whole_only = replace(semantic_map, levels={"wp": semantic_map.levels["wp"]})
    assert where(ask(whole_only, "handle of the mug")) == [(0.1, 2.0)]


def test_gaussians_of_no_track_disturb_nothing(semantic_map: SemanticMap) -> None:
    parts = semantic_map.levels["sp"]
    track = parts.track_of_gaussian.clone()
    track[::7] = NONE
    levels = {**semantic_map.levels, "sp": replace(parts, track_of_gaussian=track)}
    assert len(ask(replace(semantic_map, levels=levels), "handle of the mug").instances) == 3
