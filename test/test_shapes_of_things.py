# SPDX-License-Identifier: Apache-2.0
"""Twins that touch are two, a thing in pieces is one, strays stretch no box: by shape alone, on points of things."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from mini_scene import gaussians_at
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer, Box, Prompt
from ccl_lgs_ros.query.answer import answer
from ccl_lgs_ros.query.boxes import is_inside, upright_box
from ccl_lgs_ros.query.groups import group_points
from ccl_lgs_ros.query.relevancy import LevelRelevancy
from ccl_lgs_ros.query.strays import core_of
from ccl_lgs_ros.query.twins import twin_of
from ccl_lgs_ros.structures import Codebook, SemanticLevel, SemanticMap
from ccl_lgs_ros.synthetic.room import RoomObject
from ccl_lgs_ros.synthetic.things import KINDS

UP = np.array([0.0, 0.0, 1.0])
DISTANCE = 0.04
PER_THING = 250
Points = NDArray[np.float32]


@lru_cache
def thing(kind: str, seed: int = 0) -> RoomObject:
    parts = KINDS[kind](np.random.default_rng(seed))
    return RoomObject(id=1, kind=kind, family="red", parts=parts, x=0.0, y=0.0, z=0.0, yaw=0.0)


def points_of(kind: str, *, yaw: float = 0.0, seen_from: str = "all") -> Points:
    """Points [n, 3] on a thing as a map has them, measured to a few millimetres; without its back where asked to."""
    generator = np.random.default_rng(round(100 * yaw))
    surface = thing(kind).surface[:PER_THING] if kind != "chair" else thing(kind).surface[: 4 * PER_THING]
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    surface = surface @ turn.T
    if seen_from == "front":
        surface = surface[surface[:, 1] < np.quantile(surface[:, 1], 0.75)]
    return (surface + generator.normal(0.0, 0.003, surface.shape)).astype(np.float32)


def touching(kind: str, yaw: float, seen_from: str = "all") -> tuple[Points, Points]:
    """Two of a kind against each other, the second turned."""
    first, second = points_of(kind, seen_from=seen_from), points_of(kind, yaw=yaw, seen_from=seen_from)
    reach = float(np.quantile(first[:, 0], 0.99) - np.quantile(second[:, 0], 0.01))
    return first, (second + np.array([reach, 0.0, 0.0], np.float32)).astype(np.float32)


def core(points: Points) -> Points:
    ones = np.ones(len(points), np.float32)
    return core_of(points, ones, ones).astype(np.float32)


@pytest.mark.parametrize("seen_from", ["all", "front"])
@pytest.mark.parametrize("yaw", [0.6, 2.2])
@pytest.mark.parametrize("kind", ["mug", "ball", "vase", "book"])
def test_touching_twins_are_two_by_the_notch_between_them(kind: str, yaw: float, seen_from: str) -> None:
    first, second = touching(kind, yaw, seen_from)
    points = np.concatenate([first, second])
    is_second = twin_of(points, core(points), UP)
    assert is_second is not None
    truth = np.arange(len(points)) >= len(first)
    assert max(np.mean(is_second == truth), np.mean(is_second != truth)) > 0.9


@pytest.mark.parametrize("yaw", [0.0, 0.5, 1.2])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_single_thing_is_one(kind: str, yaw: float) -> None:
    points = points_of(kind, yaw=yaw)
    assert twin_of(points, core(points), UP) is None


def test_a_long_thing_without_a_notch_is_one() -> None:
    generator = np.random.default_rng(0)
    bench = (generator.uniform(-0.5, 0.5, (400, 3)) * [0.9, 0.4, 0.4]).astype(np.float32)
    assert twin_of(bench, bench, UP) is None


def test_the_halves_are_told_apart_alike_however_the_points_come() -> None:
    points = np.concatenate(touching("ball", 0.6))
    order = np.random.default_rng(0).permutation(len(points))
    is_second, shuffled = twin_of(points, core(points), UP), twin_of(points[order], core(points[order]), UP)
    assert is_second is not None
    assert shuffled is not None
    assert np.mean(is_second[order] == shuffled) > 0.97


def things_among(pieces: list[Points], looks: list[NDArray[np.floating]] | None = None) -> list[int]:
    """The thing of each piece, each a track of its own, by what most of its points are part of."""
    points = np.concatenate(pieces)
    track = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    look = np.stack(looks) if looks else np.tile(np.eye(1, 8), (len(pieces), 1))
    found, _ = group_points(points, track, look, DISTANCE, UP)
    return [int(np.bincount(found[track == number]).argmax()) for number in range(len(pieces))]


def part(kind: str, low: float, high: float) -> Points:
    points = points_of(kind)
    return points[(points[:, 2] >= low) & (points[:, 2] < high)]


def test_a_shade_over_a_foot_on_a_pole_of_another_colour_is_one_lamp() -> None:
    top = float(points_of("lamp")[:, 2].max())
    assert len(set(things_among([part("lamp", 0.0, 0.375 * top), part("lamp", 0.505 * top, top)]))) == 1


def test_a_thing_on_the_board_above_is_another() -> None:
    mug = points_of("mug")
    assert len(set(things_among([mug, mug + np.array([0.0, 0.0, 0.35], np.float32)]))) == 2


def test_a_mug_on_a_book_is_another_thing_even_of_its_colour() -> None:
    book = points_of("book")
    mug = points_of("mug") + np.array([0.0, 0.0, float(book[:, 2].max())], np.float32)
    assert len(set(things_among([book, mug]))) == 2


def test_a_leg_below_a_seat_is_of_the_chair_though_nothing_is_seen_in_between() -> None:
    chair = points_of("chair")
    corner = chair[:, :2].max(axis=0) - 0.09
    seat = float(thing("chair").parts[0].thing_from_part[2, 3])
    is_corner = (chair[:, :2] > corner).all(axis=1)
    leg, rest = chair[is_corner & (chair[:, 2] < seat - 0.1)], chair[~is_corner | (chair[:, 2] > seat - 0.03)]
    assert len(leg) > 10
    assert len(set(things_among([leg, rest]))) == 1
    other = [np.eye(8)[0], np.eye(8)[1]]
    assert len(set(things_among([leg, rest], other))) == 2


def test_two_sides_of_a_bucket_are_one_and_two_boxes_side_by_side_are_two() -> None:
    bucket = points_of("bucket")
    bucket = bucket[np.hypot(bucket[:, 0], bucket[:, 1]) > 0.09]  # its floor is dark
    sides = [bucket[bucket[:, 0] < -0.005], bucket[bucket[:, 0] > 0.005]]
    assert len(set(things_among(sides))) == 1
    box = points_of("box")
    width = float(np.ptp(box[:, 0]))
    assert len(set(things_among([box, box + np.array([width + 0.01, 0.0, 0.0], np.float32)]))) == 2


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_a_box_does_not_mind_strays(share: float) -> None:
    clean = points_of("box")
    generator = np.random.default_rng(1)
    count = int(share * len(clean))
    middle = clean.mean(axis=0)
    away = generator.normal(size=(count, 3))
    strays = middle + away / np.linalg.norm(away, axis=1, keepdims=True) * generator.uniform(0.25, 0.6, (count, 1))
    found = upright_box(core(np.concatenate([clean, strays.astype(np.float32)])), UP)
    truth = upright_box(clean, UP)
    np.testing.assert_allclose(found.size, truth.size, atol=0.025)
    np.testing.assert_allclose(found.center, truth.center, atol=0.015)


def test_what_is_hardly_there_or_doubtful_is_a_stray_sooner() -> None:
    points = np.concatenate(
        [points_of("ball"), np.array([[0.25, 0.0, 0.1]] * 8, np.float32)]
    )  # denser than the ball itself
    is_ball = np.arange(len(points)) < len(points) - 8
    ones = np.ones(len(points), np.float32)
    assert core_of(points, ones, ones)[:, 0].max() > 0.2
    assert core_of(points, np.where(is_ball, ones, 0.01), ones)[:, 0].max() < 0.2


def asked(pieces: list[Points]) -> Answer:
    """What a map of one track says."""
    points = np.concatenate(pieces)
    level = SemanticLevel(
        track_of_gaussian=torch.zeros(len(points), dtype=torch.int32),
        confidence=torch.full((len(points),), 255, dtype=torch.uint8),
        entry_of_track=torch.zeros(1, dtype=torch.int64),
        codebook=Codebook(entries=torch.eye(1, 8), weight=torch.ones(1)),
        id_of_track=torch.tensor([17]),
    )
    semantic_map = SemanticMap(gaussians=gaussians_at(points, 0.01), levels={"wp": level}, encoder="test/1")
    prompt = Prompt(text="mug", feature=torch.ones(8))
    options = {"threshold": 0.5, "min_gaussians": 10, "connect_distance": 0.0}
    return answer(
        semantic_map,
        prompt,
        {"wp": LevelRelevancy(of_track=np.ones(1, np.float32))},
        **options,
        max_instances=5,
        level="auto",
    )


def test_twins_that_share_a_track_are_two_instances_with_ids_that_do_not_change_places() -> None:
    first, second = touching("mug", 0.6)
    found = asked([first, second])
    less = asked([first[20:], second])
    assert sorted(item.id for item in found.instances) == [17, 1_000_017]
    assert len(asked([first]).instances) == 1
    place = {item.id: item.centroid for item in found.instances}
    for item in less.instances:
        np.testing.assert_allclose(item.centroid, place[item.id], atol=0.02)
    own = {item.id: covered(item.box, first) for item in found.instances}
    assert max(own.values()) > 0.9
    assert min(own.values()) < 0.1


def covered(box: Box, points: Points) -> float:
    return float(is_inside(box, points, 0.01).mean())
