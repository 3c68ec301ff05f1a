# SPDX-License-Identifier: Apache-2.0
"""Floor plans show what is where."""

import numpy as np

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.boxes_in_pictures import DrawnBox
from ccl_lgs_ros.floor_plan import CAMERA_COLOUR, FREE_COLOUR, OCCUPIED_COLOUR, UNKNOWN_COLOUR, FloorPlan
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.grid import Grid


def plan(points: np.ndarray | None = None) -> FloorPlan:
    """3 x 2 m, free but for its upper right metre, with its corner at (1, 1); two cells around it are unknown."""
    cells = np.zeros((20, 30), np.int8)
    cells[10:, 20:] = 100
    place = rigid(np.eye(3), np.array([1.0, 1.0, 0.0]))
    return FloorPlan(Grid(cells=cells, resolution=0.1, world_from_grid=place), points, longer_side=340)


def colour_at(image: np.ndarray, x: float, y: float) -> tuple[int, ...]:
    return tuple(int(part) for part in image[240 - round((y - 0.8) * 100), round((x - 0.8) * 100)])


def test_y_points_up_and_every_cell_has_its_colour():
    image = plan().image
    assert image.shape == (240, 340, 3)
    assert colour_at(image, 3.5, 2.5) == OCCUPIED_COLOUR
    assert colour_at(image, 3.5, 1.5) == colour_at(image, 1.5, 2.5) == FREE_COLOUR
    assert colour_at(image, 0.9, 0.9) == colour_at(image, 4.1, 3.1) == UNKNOWN_COLOUR


def test_cameras_boxes_and_robots_are_drawn_where_they_are():
    drawn = plan()
    poses = np.stack([rigid(np.eye(3), np.array([x, 1.5, 1.0])) for x in (1.5, 2.5)])
    drawn.draw_cameras(poses)
    assert colour_at(drawn.image, 2.0, 1.5) == CAMERA_COLOUR
    before = drawn.image.copy()
    drawn.draw_box(DrawnBox(Box(center=np.array([1.5, 2.5, 0.5]), rotation=np.eye(3), size=np.full(3, 0.4)), "mug"))
    rows, columns = np.nonzero((drawn.image != before).any(-1))
    assert abs(columns.mean() - 70) < 4 and 45 <= rows.min() <= 50
    before = drawn.image.copy()
    drawn.draw_robots([rigid(np.eye(3), np.array([3.0, 1.5, 0.0]))], radius=0.3)
    rows, columns = np.nonzero((drawn.image != before).any(-1))
    assert abs(columns.min() - 190) <= 4 and abs(columns.max() - 250) <= 4
    assert abs(rows.min() - 140) <= 4 and abs(rows.max() - 200) <= 4
    assert drawn.finished().shape[0] > 240


def test_what_lies_beside_the_grid_widens_the_picture():
    drawn = plan(np.array([[-9.0, 1.5, 0.0]]))
    assert drawn.image.shape[1] == 340 and drawn.image.shape[0] < 100
    drawn.draw_cameras(np.stack([rigid(np.eye(3), np.array([-9.0, 1.5, 0.0]))] * 2))
    assert (drawn.image == CAMERA_COLOUR).all(-1).any()
