# SPDX-License-Identifier: Apache-2.0
"""The fast path of a query answers as the plain one does, on made-up rooms and on things placed by hand."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from mini_scene import box_surface, codebook_of, gaussians_at
from plain_query import plain_answer, plain_box, plain_groups, plain_relevancy
from torch.nn.functional import normalize

from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.query.answer import MapIndex, answer
from ccl_lgs_ros.query.boxes import is_inside, quantiles, upright_box
from ccl_lgs_ros.query.groups import group_points
from ccl_lgs_ros.query.pieces import Pieces
from ccl_lgs_ros.query.relevancy import LevelRelevancy, TrackIndex, relevancy_of_gaussians
from ccl_lgs_ros.structures import NONE, SemanticLevel, SemanticMap

UP = np.array([0.0, 0.0, 1.0])
OPTIONS = {"threshold": 0.5, "min_gaussians": 8, "connect_distance": 0.0}


def crowded_room(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 3] of boxes that overlap, touch and stand apart, some with strays, and the track [n] of each."""
    random = np.random.default_rng(seed)
    points, track = [], []
    for box in range(7):
        center, size = random.uniform(0.0, [0.9, 0.6, 0.1]), random.uniform(0.04, 0.25, 3)
        surface = box_surface(tuple(center), tuple(size), seed=seed * 10 + box, spacing=0.02)
        points.append(surface)
        track.append(2 * box + (surface[:, 0] > center[0]))  # cut in two
    points.append(random.uniform(-0.2, 1.2, (25, 3)))
    track.append(random.integers(0, 14, 25))
    return np.concatenate(points).astype(np.float32), np.concatenate(track)


def crowded_map(seed: int) -> tuple[SemanticMap, dict[str, torch.Tensor]]:
    """A room whose things look alike in groups, at two levels that cut it differently, and the relevancy of entries."""
    points, track = crowded_room(seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(points), generator=generator).numpy()
    points, track = points[order], track[order]
    levels, relevancy = {}, {}
    for name, track_of_level, count in (("sp", track, 14), ("wp", track // 2, 7)):
        kinds = normalize(torch.randn(3, 8, generator=generator), dim=1)
        entries = normalize(kinds[torch.arange(count) % 3] + 0.15 * torch.randn(count, 8, generator=generator), dim=1)
        of_gaussian = torch.from_numpy(track_of_level).to(torch.int32)
        of_gaussian[torch.rand(len(points), generator=generator) < 0.05] = NONE
        levels[name] = SemanticLevel(
            track_of_gaussian=of_gaussian,
            confidence=torch.randint(1, 256, (len(points),), generator=generator, dtype=torch.uint8),
            entry_of_track=torch.randperm(count, generator=generator),
            codebook=codebook_of(entries),
        )
        relevancy[name] = 0.3 + 0.7 * torch.rand(count, generator=generator)
    gaussians = gaussians_at(points)
    gaussians = replace(
        gaussians,
        log_scales=gaussians.log_scales + 0.3 * torch.randn(len(points), 3, generator=generator),
        logit_opacities=2.0 * torch.randn(len(points), generator=generator),
    )
    return SemanticMap(gaussians=gaussians, levels=levels, encoder="test/1"), relevancy


def ask(semantic_map: SemanticMap, relevancy: dict[str, torch.Tensor], index: MapIndex | None = None) -> Answer:
    prompt = Prompt(text="thing", feature=torch.ones(8))
    found = {name: LevelRelevancy.of_entries(semantic_map.levels[name], of) for name, of in relevancy.items()}
    return answer(semantic_map, prompt, found, **OPTIONS, max_instances=100, level="auto", index=index)


@pytest.mark.parametrize("seed", range(12))
def test_an_answer_is_that_of_the_plain_path(seed: int) -> None:
    semantic_map, relevancy = crowded_map(seed)
    level, things = plain_answer(semantic_map, relevancy, **OPTIONS)
    found = ask(semantic_map, relevancy)
    assert found.level == level
    assert things
    by_gaussians = {frozenset(instance.gaussian_ids.tolist()): instance for instance in found.instances}
    assert by_gaussians.keys() == {thing.gaussians for thing in things}
    for thing in things:
        instance = by_gaussians[thing.gaussians]
        assert instance.score == pytest.approx(thing.score, abs=1e-6)
        np.testing.assert_allclose(instance.box.center, thing.box.center, atol=1e-6)
        np.testing.assert_allclose(instance.box.size, thing.box.size, atol=1e-6)
        np.testing.assert_allclose(instance.box.rotation, thing.box.rotation, atol=1e-6)
    evidence = {thing.gaussians: thing.evidence for thing in things}
    ranked = [evidence[frozenset(instance.gaussian_ids.tolist())] for instance in found.instances]
    assert all(a >= b - 1e-9 for a, b in pairwise(ranked))


def test_a_second_question_with_the_same_index_is_answered_as_the_first() -> None:
    semantic_map, relevancy = crowded_map(3)
    index = MapIndex(semantic_map)
    assert index.num_bytes == 0
    first, second = ask(semantic_map, relevancy, index), ask(semantic_map, relevancy, index)
    assert index.num_bytes > 0
    assert [i.gaussian_ids.tolist() for i in first.instances] == [i.gaussian_ids.tolist() for i in second.instances]


@pytest.mark.parametrize(("best_sp", "asked"), [(0.91, ["wp"]), (0.93, ["wp", "sp"])])
def test_a_level_that_cannot_win_is_not_looked_at(best_sp: float, asked: list[str]) -> None:
    semantic_map, relevancy = crowded_map(1)
    relevancy["wp"].fill_(0.9)
    relevancy["sp"].fill_(best_sp)
    evidence = plain_answer(semantic_map, {"wp": relevancy["wp"]} | {"sp": torch.zeros(14)}, **OPTIONS)[1][0].evidence
    index = MapIndex(semantic_map)
    found = ask(semantic_map, relevancy, index)
    assert evidence == pytest.approx(0.9, abs=5e-3)
    assert index.num_bytes == sum(TrackIndex.of(semantic_map.levels[name]).num_bytes for name in asked)
    assert found.level == plain_answer(semantic_map, relevancy, **OPTIONS)[0]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("distance", [0.02, 0.05])
def test_groups_are_those_of_the_plain_path(seed: int, distance: float) -> None:
    points, track = crowded_room(seed)
    kinds = normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(seed)), dim=1).numpy()
    look = kinds[np.arange(14) % 3]
    thing, piece = group_points(points, track, look, distance, UP)
    plain_thing, plain_piece = plain_groups(points, track, look, distance, UP)
    assert thing.max() > 0
    assert same_partition(thing, plain_thing)
    assert same_partition(piece, plain_piece)


def same_partition(label: np.ndarray, other: np.ndarray) -> bool:
    """Whether two numberings put the same points together."""
    pairs = len(np.unique(np.stack([label, other]), axis=1).T)
    return pairs == len(np.unique(label)) == len(np.unique(other))


@pytest.mark.parametrize("seed", range(4))
def test_the_relevancy_of_gaussians_is_gathered_as_one_by_one(seed: int) -> None:
    semantic_map, relevancy = crowded_map(seed)
    level = semantic_map.levels["sp"]
    level.entry_of_track[2] = NONE
    np.testing.assert_array_equal(
        relevancy_of_gaussians(level, relevancy["sp"]), plain_relevancy(semantic_map, "sp", relevancy["sp"])
    )


def test_more_gaussians_than_are_gathered_at_once_have_their_relevancy() -> None:
    track = torch.randint(-1, 300, (100_000,), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    entries = torch.eye(300)
    level = SemanticLevel(
        track_of_gaussian=track,
        confidence=torch.full((len(track),), 255, dtype=torch.uint8),
        entry_of_track=torch.arange(300),
        codebook=codebook_of(entries),
    )
    relevancy = torch.rand(300)
    expected = torch.where(track == NONE, 0.0, relevancy[track.long()])
    assert torch.equal(relevancy_of_gaussians(level, relevancy), expected)


@pytest.mark.parametrize("num_tracks", [300, 70_000])  # numbers of 16 bits and of more
def test_the_index_holds_every_labelled_gaussian_once_under_its_track(num_tracks: int) -> None:
    generator = torch.Generator().manual_seed(0)
    track = torch.randint(-1, num_tracks, (20_000,), generator=generator, dtype=torch.int32)
    level = SemanticLevel(
        track_of_gaussian=track,
        confidence=torch.full((len(track),), 255, dtype=torch.uint8),
        entry_of_track=torch.zeros(num_tracks, dtype=torch.int64),
        codebook=codebook_of(torch.eye(2)),
    )
    index = TrackIndex.of(level)
    tracks = np.arange(num_tracks)
    gaussian, place = index.gaussians_of(tracks)
    np.testing.assert_array_equal(track.numpy()[gaussian], place)
    np.testing.assert_array_equal(np.sort(gaussian), np.flatnonzero(track.numpy() != NONE))
    assert index.count.sum() == len(gaussian)
    assert index.num_bytes == 4 * len(gaussian) + 8 * (num_tracks + 1)


@pytest.mark.parametrize("count", [1, 2, 3, 50, 1001])
def test_a_box_is_that_of_the_plain_path(count: int) -> None:
    points = np.random.default_rng(count).normal(0.0, [0.5, 0.2, 0.1], (count, 3)).astype(np.float32)
    fast, plain = upright_box(points, UP), plain_box(points, UP)
    np.testing.assert_allclose(fast.size, plain.size, atol=1e-9)
    np.testing.assert_allclose(fast.center, plain.center, atol=1e-9)
    inside = (np.abs((points - fast.center) @ fast.rotation) <= fast.size / 2.0 + 0.01).all(axis=1)
    np.testing.assert_array_equal(is_inside(fast, points, 0.01), inside)


@pytest.mark.parametrize("count", [1, 2, 5, 100, 101])
def test_quantiles_are_those_of_numpy(count: int) -> None:
    values = np.random.default_rng(count).normal(size=(3, count))
    expected = np.quantile(values, [0.01, 0.5, 0.99], axis=1)
    np.testing.assert_allclose(quantiles(values, 0.01, 0.5, 0.99), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_pieces_interlock_where_half_of_one_lies_in_the_box_of_the_other(seed: int) -> None:
    random = np.random.default_rng(seed)
    up = random.normal(size=3)
    sizes = random.uniform(0.1, 0.4, (2, 3))
    points = [random.uniform(-0.5, 0.5, (count, 3)) * size for count, size in zip((60, 200), sizes, strict=True)]
    points[1] += random.uniform(-0.12, 0.12, 3)
    boxes = [plain_box(part, up) for part in points]
    shares = [
        (np.abs((part - box.center) @ box.rotation) <= box.size / 2.0 + 0.01).all(axis=1).mean()
        for part, box in zip(points, reversed(boxes), strict=True)
    ]
    pieces = Pieces(np.concatenate(points), np.repeat([0, 1], [60, 200]), up)
    assert pieces.interlock(0, 1, 0.01) == (max(shares) >= 0.5)
