# SPDX-License-Identifier: Apache-2.0
"""Grids, approach poses and keep-out masks of small exact rooms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from splat_floor import TILTED, block, face, instance, splat_map

from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.geometry import invert_rigid, rigid, transform_points
from ccl_lgs_ros.grid import FREE, INSCRIBED, OCCUPIED, UNKNOWN, Grid
from ccl_lgs_ros.navigating import find_approaches, keep_out_grid, map_grid, robot_of, surroundings
from ccl_lgs_ros.navigation.free_space import free_space, with_costmap
from ccl_lgs_ros.navigation.keep_out import keep_out
from ccl_lgs_ros.navigation.occupancy import floor_height
from ccl_lgs_ros.navigation.robot import outline_from_text

CONFIG = MapConfig()
FLOOR = face((-2.0, -2.0, 0.0), (2.0, 2.0, 0.0))
BLOCK = (-0.2, -0.2, 0.0), (0.2, 0.2, 0.5)
Y_DOWN = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # the room's z becomes -y
TURNS = {"z up": np.eye(3), "y down": Y_DOWN, "tilted": TILTED}


@pytest.fixture(params=TURNS)
def turn(request: pytest.FixtureRequest) -> np.ndarray:
    return TURNS[request.param]


def plain_grid(cells: list[list[int]], resolution: float = 1.0) -> Grid:
    return Grid(cells=np.array(cells, np.int8), resolution=resolution, world_from_grid=np.eye(4))


def at(grid: Grid, turn: np.ndarray, *points: tuple[float, float]) -> list[int]:
    """The values under places of the room."""
    return grid.at(np.array([(x, y, 0.0) for x, y in points]) @ turn.T).tolist()


def test_a_cell_holds_the_points_over_it_and_outside_is_unknown():
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    grid = Grid(cells=np.array([[0, 100], [-1, 5]], np.int8), resolution=0.5, world_from_grid=rigid(turn, np.ones(3)))
    # x of the grid is y of the world, y of the grid is -x of the world
    points = np.array([[0.9, 1.1, 0.0], [0.9, 1.6, 5.0], [0.4, 1.1, -5.0], [0.4, 1.6, 0.0], [1.1, 1.1, 0.0]])
    assert grid.at(points).tolist() == [0, 100, -1, 5, UNKNOWN]
    assert (grid.cells_of(grid.centers()) == np.moveaxis(np.indices((2, 2)), 0, -1)).all()


def test_floor_is_free_blocks_are_occupied_and_the_rest_is_unknown(turn):
    grid = map_grid(splat_map([FLOOR, *block(*BLOCK)], turn), CONFIG)
    assert at(grid, turn, (1.0, 1.0), (-1.5, 0.3), (0.0, 1.9)) == [FREE] * 3
    assert at(grid, turn, (0.0, 0.0), (0.19, 0.19), (-0.19, 0.1)) == [OCCUPIED] * 3
    assert at(grid, turn, (2.3, 0.0), (0.0, -9.0)) == [UNKNOWN] * 2
    assert abs(float(np.median(grid.centers() @ turn[:, 2]))) < 0.005
    area = (grid.cells == OCCUPIED).sum() * grid.resolution**2
    assert 0.4**2 <= area <= (0.4 + 4 * grid.resolution) ** 2


def test_where_no_floor_was_seen_nothing_is_free_though_nothing_is_in_the_way():
    with_hole = FLOOR[(np.abs(FLOOR[:, :2] - 1.0) > 0.3).any(1)]
    grid = map_grid(splat_map([with_hole]), CONFIG)
    assert at(grid, np.eye(3), (1.0, 1.0), (0.5, 0.5)) == [UNKNOWN, FREE]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.01, 0.04, FREE), (0.02, 0.12, OCCUPIED), (0.7, 0.75, OCCUPIED), (1.15, 1.19, OCCUPIED), (1.3, 2.0, FREE)],
)
def test_only_what_is_between_the_floor_and_the_height_of_the_robot_is_in_its_way(low, high, expected):
    grid = map_grid(splat_map([FLOOR, *block((-0.3, -0.3, low), (0.3, 0.3, high))]), CONFIG)
    assert at(grid, np.eye(3), (0.0, 0.0)) == [expected]


def test_gaps_in_a_table_top_are_not_free():
    rim = [face((x, -0.5, 0.6), (x + 0.1, 0.5, 0.6)) for x in (-0.5, -0.2, 0.1, 0.4)]
    grid = map_grid(splat_map([FLOOR, *rim]), CONFIG)
    assert at(grid, np.eye(3), (-0.3, 0.0), (0.0, 0.0), (1.0, 0.0)) == [UNKNOWN, UNKNOWN, FREE]


def test_the_floor_is_the_lowest_large_level_surface(turn):
    ceiling, table = FLOOR * 1.2 + [0, 0, 2.5], face((-0.6, -0.4, 0.7), (0.6, 0.4, 0.7))
    wall, lowered = face((-2.0, -2.0, -0.5), (-2.0, 2.0, 2.5)), FLOOR + [0, 0, -0.31]
    for faces in ([lowered, ceiling, table], [lowered, ceiling, table, wall]):
        assert floor_height(splat_map(faces, turn).gaussians, turn[:, 2]) == pytest.approx(-0.31, abs=0.01)


def test_a_table_top_or_a_wall_alone_is_no_floor():
    table, wall = face((-0.6, -0.4, 0.7), (0.6, 0.4, 0.7)), face((0.0, -2.0, 0.0), (0.0, 2.0, 2.0))
    semantic_map = splat_map([table, wall])
    assert floor_height(semantic_map.gaussians, np.array([0.0, 0.0, 1.0])) is None
    around = surroundings(semantic_map, CONFIG)
    assert not around.is_floor_seen and not (around.grid.cells == FREE).any()
    stand = find_approaches(instance((-0.1, -0.1, 0.7), (0.1, 0.1, 0.9)), around, CONFIG)
    assert stand.poses == () and "no floor was seen" in stand.message


def test_a_map_without_gaussians_has_an_empty_grid():
    none = splat_map([FLOOR])
    none = replace(none, gaussians=none.gaussians.select(slice(0, 0)))
    around = surroundings(none, CONFIG)
    assert around.grid.cells.size == 0
    assert find_approaches(instance(*BLOCK), around, CONFIG).poses == ()


def test_the_floor_can_be_named_and_nonsense_is_refused():
    semantic_map = splat_map([FLOOR + [0, 0, 0.5]])
    named = surroundings(semantic_map, updated(CONFIG, {"navigation.floor_z": "0.5"}))
    assert named.floor == 0.5 and (named.grid.cells == FREE).any()
    for name, value in (("floor_z", "low"), ("footprint", "[[1, 2]]"), ("footprint", "round")):
        with pytest.raises(ConfigError, match=name):
            surroundings(semantic_map, updated(CONFIG, {f"navigation.{name}": value}))


def test_poses_keep_the_standoff_face_the_thing_and_stand_free(turn):
    thing = instance(*BLOCK, world_from_room=turn)
    around = surroundings(splat_map([FLOOR, *block(*BLOCK)], turn), CONFIG)
    stand = find_approaches(thing, around, CONFIG)
    assert len(stand.poses) == CONFIG.navigation.max_approaches
    assert [pose.score for pose in stand.poses] == sorted((pose.score for pose in stand.poses), reverse=True)
    for pose in stand.poses:
        base = turn.T @ pose.world_from_base[:3]  # in the room
        position, forward, up = base[:, 3], base[:, 0], base[:, 2]
        away = np.maximum(np.abs(position[:2]) - 0.2, 0.0)
        assert np.linalg.norm(away) == pytest.approx(pose.distance, abs=1e-4)
        assert abs(pose.distance - 0.7) <= 0.3
        assert position[2] == pytest.approx(0.0, abs=0.005)
        assert up == pytest.approx([0, 0, 1], abs=1e-6)
        assert forward[:2] == pytest.approx(-position[:2] / np.linalg.norm(position[:2]), abs=1e-4)
    best = stand.poses[0]
    assert best.distance == pytest.approx(0.7, abs=0.04)


def test_a_seen_side_is_preferred_and_so_is_a_place_near_the_robot():
    around = surroundings(splat_map([FLOOR, *block(*BLOCK)]), CONFIG)
    for direction in ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)):
        best = find_approaches(instance(*BLOCK, normal=direction), around, CONFIG).poses[0].world_from_base[:3, 3]
        assert best @ direction / np.linalg.norm(best) > 0.95
    for robot in ((1.5, 1.5, 0.0), (-1.5, 0.5, 0.0)):
        best = find_approaches(instance(*BLOCK), around, CONFIG, near=np.array(robot)).poses[0].world_from_base[:3, 3]
        assert best @ robot / np.linalg.norm(best) / np.linalg.norm(robot) > 0.9


def test_every_place_that_is_refused_has_its_reason():
    around = surroundings(splat_map([FLOOR, *block(*BLOCK), *block((-2.0, 0.5, 0.0), (2.0, 0.6, 0.5))]), CONFIG)
    stand = find_approaches(instance(*BLOCK), around, updated(CONFIG, {"navigation.max_approaches": 1000}))
    assert stand.poses and all(pose.world_from_base[1, 3] < 0.5 for pose in stand.poses)
    assert stand.refused["occupied"] > 0 and sum(stand.refused.values()) < stand.places
    corner = instance((1.9, 1.9, 0.0), (2.0, 2.0, 0.3))
    assert find_approaches(corner, around, CONFIG).refused["unknown"] > 0
    nowhere = find_approaches(instance((8.0, 8.0, 0.0), (8.2, 8.2, 0.3)), around, CONFIG)
    assert nowhere.poses == () and nowhere.refused["unknown"] == nowhere.places
    assert "never seen free" in nowhere.message


def test_what_a_wall_keeps_from_the_robot_is_unreachable():
    walls = [*block((-0.75, -2.0, 0.0), (-0.65, 2.0, 1.5))]
    around = surroundings(splat_map([FLOOR, *block((1.0, -0.2, 0.0), (1.4, 0.2, 0.5)), *walls]), CONFIG)
    thing = instance((1.0, -0.2, 0.0), (1.4, 0.2, 0.5))
    inside = find_approaches(thing, around, CONFIG, near=np.array([0.5, 1.0, 0.0]))
    outside = find_approaches(thing, around, CONFIG, near=np.array([-1.4, 0.0, 0.0]))
    assert inside.poses and inside.refused["unreachable"] == 0
    assert outside.poses == () and outside.refused["unreachable"] > 0
    assert "cannot be reached" in outside.message


@pytest.mark.parametrize(("height", "is_hidden"), [(0.4, False), (1.5, True)])
def test_a_screen_hides_a_thing_unless_the_sensor_looks_over_it(height, is_hidden):
    screen = block((0.35, -2.0, 0.0), (0.4, 2.0, height))
    around = surroundings(splat_map([FLOOR, *block(*BLOCK), *screen]), CONFIG)
    stand = find_approaches(instance(*BLOCK), around, updated(CONFIG, {"navigation.max_approaches": 1000}))
    behind = [pose for pose in stand.poses if pose.world_from_base[0, 3] > 0.4]
    near = find_approaches(instance(*BLOCK), around, CONFIG, near=np.array([1.5, 0.0, 0.0]))
    assert behind == []  # the robot is on the larger side
    assert bool(near.poses) is not is_hidden
    assert (near.refused["hidden"] > 0) is is_hidden


def test_a_thing_deep_in_a_shelf_is_approached_from_its_open_side_only():
    boards = [face((-0.5, 0.0, z), (0.5, 0.4, z)) for z in (0.3, 0.8, 1.3)]
    sides = [*(face((x, 0.0, 0.0), (x, 0.43, 1.3)) for x in (-0.5, 0.5)), face((-0.5, 0.43, 0.0), (0.5, 0.43, 1.3))]
    thing = (-0.1, 0.15, 0.3), (0.1, 0.33, 0.5)
    around = surroundings(splat_map([FLOOR, *boards, *sides, *block(*thing)]), CONFIG)
    stand = find_approaches(instance(*thing), around, updated(CONFIG, {"navigation.max_approaches": 1000}))
    assert stand.poses and all(pose.world_from_base[1, 3] < 0.0 for pose in stand.poses)
    assert stand.refused["hidden"] > 0


def test_a_polygon_fits_where_its_corners_do():
    lane = [*block((-2.0, 0.45, 0.0), (2.0, 0.55, 1.5)), *block((-2.0, -0.55, 0.0), (2.0, -0.45, 1.5))]
    thing = (-0.1, -0.1, 0.0), (0.1, 0.1, 0.3)
    semantic_map = splat_map([FLOOR, *lane, *block(*thing)])
    for half_length, half_width, fits in ((0.5, 0.25, True), (0.5, 0.5, False)):
        corners = [[half_length, half_width], [half_length, -half_width], [-half_length, -half_width]]
        config = updated(CONFIG, {"navigation.footprint": f"{[*corners, [-half_length, half_width]]}"})
        stand = find_approaches(instance(*thing), surroundings(semantic_map, config), config, near=np.array([1, 0, 0]))
        assert bool(stand.poses) is fits
        for pose in stand.poses:
            reach = transform_points(pose.world_from_base, np.array([[*corner, 0.0] for corner in corners]))
            assert (np.abs(reach[:, 1]) < 0.45).all()


def test_the_inner_radius_is_that_of_the_nearest_edge():
    config = updated(CONFIG, {"navigation.footprint": "[[0.4, 0.2], [0.4, -0.2], [-0.1, -0.2], [-0.1, 0.2]]"})
    assert robot_of(config).inner_radius == pytest.approx(0.1)
    assert robot_of(CONFIG).inner_radius == CONFIG.navigation.robot_radius
    assert outline_from_text(" ").shape == (0, 2)


def test_the_middle_of_a_robot_keeps_off_by_its_radius_and_small_pockets_are_none():
    cells = np.zeros((40, 60), np.int8)
    cells[:, 20] = OCCUPIED
    cells[18:22, 21:25] = OCCUPIED
    cells[:, 26] = UNKNOWN
    space = free_space(Grid(cells=cells, resolution=0.05, world_from_grid=np.eye(4)), robot_of(CONFIG))
    assert space.region[20, 10] != 0 and space.region[20, 40] == space.largest != space.region[20, 10]
    assert not space.region[:, 21:26].any()  # too narrow
    fits = np.argwhere(space.region > 0)
    blocked = np.argwhere(np.pad(cells != FREE, 1, constant_values=True)) - 1
    gap = np.maximum(np.abs(fits[:, None] - blocked) - 0.5, 0.0)
    assert np.linalg.norm(gap, axis=-1).min() * 0.05 >= CONFIG.navigation.robot_radius
    assert (space.region > 0).sum() > 0.8 * ((60 - 27 - 10) * 30 + (20 - 10) * 30)
    assert space.region_near(np.array([0.4, 1.0, 0.0])) == space.region[20, 10]


def test_a_costmap_bounds_where_the_robot_goes_and_the_map_adds_what_it_saw():
    ours = plain_grid([[0, 100, -1, -1]], 1.0)
    costmap = plain_grid([[0, 0, 0, 0, 99, 0, -1, 100], [0, 30, 0, 0, 0, 0, -1, 0]], 0.5)
    both = with_costmap(ours, costmap)
    assert both.cells.tolist() == [[0, 0, 100, 100, 99, 0, -1, 100], [0, 30, 100, 100, 0, 0, -1, 0]]
    coarse = with_costmap(replace(ours, resolution=0.25), plain_grid([[0, 0], [0, -1]], 0.5))
    assert coarse.cells.tolist() == [[100, 0], [0, -1]]


def test_an_inscribed_cell_takes_a_part_of_the_robot_but_not_its_middle():
    cells = np.zeros((60, 60), np.int8)
    cells[20:40, 20:40] = INSCRIBED
    space = free_space(Grid(cells=cells, resolution=0.05, world_from_grid=np.eye(4)), robot_of(CONFIG))
    assert not space.region[20:40, 20:40].any()
    assert space.region[30, 18] == space.largest


def test_poses_obey_a_costmap():
    around = surroundings(splat_map([FLOOR, *block(*BLOCK)]), CONFIG)
    lethal = np.zeros((80, 80), np.int8)
    lethal[:, :45] = OCCUPIED
    costmap = Grid(cells=lethal, resolution=0.05, world_from_grid=rigid(np.eye(3), np.array([-2.0, -2.0, 0.0])))
    stand = find_approaches(instance(*BLOCK), around.with_costmap(costmap), CONFIG)
    assert stand.poses and all(
        pose.world_from_base[0, 3] > 0.25 + CONFIG.navigation.robot_radius for pose in stand.poses
    )
    unknown = costmap.with_cells(np.full_like(lethal, UNKNOWN))
    assert find_approaches(instance(*BLOCK), around.with_costmap(unknown), CONFIG).poses == ()


def test_keep_out_covers_a_thing_and_its_margin():
    grid = Grid(cells=np.full((40, 40), UNKNOWN, np.int8), resolution=0.1, world_from_grid=np.eye(4))
    corners = np.array([[1.05, 1.05, 0.2], [2.05, 1.05, 0.9], [2.05, 1.55, 0.2], [1.05, 1.55, 0.2]])
    mask = keep_out(grid, [corners], 0.3)
    middles = grid.centers()[..., :2]
    off = np.linalg.norm(np.maximum(np.maximum([1.05, 1.05] - middles, middles - [2.05, 1.55]), 0.0), axis=-1)
    assert (mask.cells[off <= 0.3] == OCCUPIED).all()
    assert (mask.cells[off > 0.3 + 0.1] == FREE).all()
    assert set(np.unique(mask.cells)) == {FREE, OCCUPIED}
    assert (keep_out(grid, [], 0.3).cells == FREE).all()


def test_keep_out_of_an_instance_lies_where_its_gaussians_do(turn):
    semantic_map = splat_map([FLOOR, *block(*BLOCK)], turn)
    grid = map_grid(semantic_map, CONFIG)
    is_thing = semantic_map.gaussians.means.numpy() @ turn[:, 2] > 0.1
    thing = replace(instance(*BLOCK), gaussian_ids=torch.from_numpy(np.flatnonzero(is_thing)))
    mask = keep_out_grid(semantic_map, [thing], grid, CONFIG)
    assert at(mask, turn, (0.0, 0.0), (0.4, 0.0), (0.0, -0.45), (0.8, 0.0), (-1.5, 1.5)) == [100, 100, 100, 0, 0]


def test_a_turned_map_gives_the_same_poses_turned():
    straight = find_approaches(instance(*BLOCK), surroundings(splat_map([FLOOR, *block(*BLOCK)]), CONFIG), CONFIG)
    for turn in (Y_DOWN, TILTED):
        around = surroundings(splat_map([FLOOR, *block(*BLOCK)], turn), CONFIG)
        turned = find_approaches(instance(*BLOCK, world_from_room=turn), around, CONFIG)
        assert len(turned.poses) == len(straight.poses)
        assert turned.poses[0].score == pytest.approx(straight.poses[0].score, abs=0.03)
        assert np.linalg.det(turned.poses[0].world_from_base[:3, :3]) == pytest.approx(1.0)
        assert invert_rigid(around.grid.world_from_grid)[2, :3] == pytest.approx(turn[:, 2], abs=1e-6)
