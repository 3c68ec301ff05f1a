# SPDX-License-Identifier: Apache-2.0
"""Rims of things: what lies on a thing and has its colour goes with it, whatever it was called; all else stays."""

import dataclasses

import numpy as np
import pytest
import torch
from mini_scene import box_surface, map_of
from numpy.typing import NDArray

from ccl_lgs_ros.query.by_id import thing_of_id
from ccl_lgs_ros.rendering.harmonics import C0
from ccl_lgs_ros.rims import with_rims
from ccl_lgs_ros.structures import NONE, SemanticMap

THING, TABLE, OTHER = 0, 1, 2
SIZE = (0.2, 0.2, 0.2)
ORANGE, WHITE, BLUE = np.array([0.9, 0.4, 0.05]), np.array([0.8, 0.8, 0.78]), np.array([0.1, 0.2, 0.8])


def table(other_at: float) -> NDArray[np.float32]:
    """Points [n, 3] on a table, but for the places where boxes stand."""
    x, y = np.meshgrid(*[np.arange(-0.5, 0.5, 0.02) + 0.01] * 2)
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    is_free = [np.abs(points[:, :2] - (x, 0.0)).max(axis=1) > SIZE[0] / 2 for x in (0.0, other_at)]
    return points[is_free[0] & is_free[1]].astype(np.float32)


def scene(other_at: float, other_colour: NDArray[np.float64]) -> tuple[SemanticMap, NDArray[np.int64]]:
    """An orange box on a white table beside another box, and what [N] each Gaussian really is."""
    parts = [box_surface((0.0, 0.0, 0.1), SIZE, spacing=0.02), table(other_at)]
    parts.append(box_surface((other_at, 0.0, 0.1), SIZE, seed=1, spacing=0.02))
    truth = np.repeat([THING, TABLE, OTHER], [len(part) for part in parts])
    noise = np.random.default_rng(0).uniform(-0.03, 0.03, (len(truth), 3))
    semantic_map = map_of(np.concatenate(parts), torch.from_numpy(truth), torch.eye(3))
    return painted(semantic_map, np.stack([ORANGE, WHITE, other_colour])[truth] + noise), truth


def painted(semantic_map: SemanticMap, colour: NDArray[np.float64]) -> SemanticMap:
    sh = torch.from_numpy((colour - 0.5) / C0).float()[:, None]
    return dataclasses.replace(semantic_map, gaussians=dataclasses.replace(semantic_map.gaussians, sh=sh))


def called(semantic_map: SemanticMap, which: NDArray[np.bool_], track: int) -> SemanticMap:
    """The map in which some Gaussians [N] were given to a track, wrongly."""
    tracks = semantic_map.levels["wp"].track_of_gaussian.clone()
    tracks[torch.from_numpy(which)] = track
    level = dataclasses.replace(semantic_map.levels["wp"], track_of_gaussian=tracks)
    return dataclasses.replace(semantic_map, levels={"wp": level})


def colours(semantic_map: SemanticMap) -> NDArray[np.float64]:
    return 0.5 + C0 * semantic_map.gaussians.sh[:, 0].numpy().astype(np.float64)


def with_lost_rim(semantic_map: SemanticMap, truth: NDArray[np.int64], track: int) -> SemanticMap:
    """The map in which the upper edges of the box are half white and were given to a track."""
    points = semantic_map.gaussians.means.numpy()
    is_edge = (truth == THING) & (points[:, 2] > 0.18) & (np.abs(points[:, :2]).max(axis=1) > 0.07)
    blend = np.where(is_edge, 0.5, 0.0)[:, None]
    return called(painted(semantic_map, (1.0 - blend) * colours(semantic_map) + blend * WHITE), is_edge, track)


def taken(semantic_map: SemanticMap) -> NDArray[np.bool_]:
    """Which Gaussians [N] go with the box."""
    box = thing_of_id(semantic_map, THING)
    assert box is not None
    (box,) = with_rims(semantic_map, [box])
    return np.isin(np.arange(len(semantic_map.gaussians)), box.gaussian_ids.numpy())


@pytest.mark.parametrize("gap", [0.0, 0.03])
@pytest.mark.parametrize("other_colour", [BLUE, ORANGE, WHITE])
def test_a_table_and_a_neighbour_stay_whole_even_one_of_the_same_colour(
    gap: float, other_colour: NDArray[np.float64]
) -> None:
    semantic_map, truth = scene(SIZE[0] + gap, other_colour)
    np.testing.assert_array_equal(taken(semantic_map), truth == THING)


@pytest.mark.parametrize("other_colour", [BLUE, ORANGE])
@pytest.mark.parametrize("name", [TABLE, NONE])
def test_a_rim_that_was_given_to_the_table_or_to_nothing_goes_with_its_thing(
    name: int, other_colour: NDArray[np.float64]
) -> None:
    semantic_map, truth = scene(SIZE[0], other_colour)
    np.testing.assert_array_equal(taken(with_lost_rim(semantic_map, truth, name)), truth == THING)


def test_a_rim_that_was_given_to_a_neighbour_of_another_colour_goes_with_its_thing() -> None:
    semantic_map, truth = scene(SIZE[0], BLUE)
    np.testing.assert_array_equal(taken(with_lost_rim(semantic_map, truth, OTHER)), truth == THING)


def test_a_shadow_at_the_foot_of_a_thing_stays() -> None:
    semantic_map, truth = scene(1.0, BLUE)
    distance = np.abs(semantic_map.gaussians.means.numpy()[:, :2]).max(axis=1)
    is_dark = (truth == TABLE) & (distance < SIZE[0] / 2 + 0.03)
    shaded = np.where(is_dark[:, None], 0.5, 1.0) * colours(semantic_map)
    np.testing.assert_array_equal(taken(painted(semantic_map, shaded)), truth == THING)


def test_of_two_things_each_has_its_own_rim() -> None:
    semantic_map, truth = scene(0.5, BLUE)
    points = semantic_map.gaussians.means.numpy()
    lost = called(semantic_map, (truth != TABLE) & (points[:, 2] > 0.18) & (points[:, 2] < 0.199), TABLE)
    things = [thing for number in (THING, OTHER) if (thing := thing_of_id(lost, number))]
    for thing, number in zip(with_rims(lost, things), (THING, OTHER), strict=True):
        np.testing.assert_array_equal(thing.gaussian_ids.numpy(), np.flatnonzero(truth == number))


def test_no_things_have_no_rims() -> None:
    assert with_rims(scene(1.0, BLUE)[0], []) == ()
