# SPDX-License-Identifier: Apache-2.0
"""Grids on disk, as map_server writes and reads them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.grid import Grid
from ccl_lgs_ros.storage.grid_files import read_grid, write_grid

CELLS = np.array([[0, 0, 100], [-1, 100, 0]], np.int8)  # row 0 has the least y


def turned(yaw: float) -> np.ndarray:
    return np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])


def test_the_bytes_are_those_of_map_saver(tmp_path: Path):
    grid = Grid(cells=CELLS, resolution=0.05, world_from_grid=rigid(np.eye(3), np.array([-1.5, 2.0, 0.3])))
    picture = write_grid(tmp_path / "new" / "room.yaml", grid)
    assert picture.read_bytes() == b"P5\n3 2\n255\n" + bytes([205, 0, 254, 254, 254, 0])
    facts = yaml.safe_load((tmp_path / "new" / "room.yaml").read_text())
    assert facts["image"] == "room.pgm" and facts["mode"] == "trinary"
    assert facts["origin"] == [-1.5, 2.0, 0.0] and facts["resolution"] == 0.05
    # as a reader tells them apart: 205 must be neither free nor occupied
    darkness = {name: (255 - grey) / 255 for name, grey in (("free", 254), ("unknown", 205), ("occupied", 0))}
    assert darkness["free"] < facts["free_thresh"] < darkness["unknown"]
    assert darkness["unknown"] < facts["occupied_thresh"] < darkness["occupied"]


@pytest.mark.parametrize("yaw", [0.0, 0.7, -3.0])
def test_what_is_written_is_read(tmp_path: Path, yaw: float):
    grid = Grid(cells=CELLS, resolution=0.025, world_from_grid=rigid(turned(yaw), np.array([-1.5, 2.0, 0.0])))
    write_grid(tmp_path / "room.yaml", grid)
    again = read_grid(tmp_path / "room.yaml")
    assert (again.cells == grid.cells).all() and again.resolution == grid.resolution
    assert again.world_from_grid == pytest.approx(grid.world_from_grid, abs=1e-8)


def test_a_grid_of_a_map_whose_up_is_not_z_lies_level_in_its_file(tmp_path: Path):
    y_down = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    write_grid(
        tmp_path / "room.yaml",
        Grid(cells=CELLS, resolution=0.1, world_from_grid=rigid(y_down, y_down @ np.array([-1.0, 2.0, -0.9]))),
    )
    facts = yaml.safe_load((tmp_path / "room.yaml").read_text())
    assert facts["origin"] == pytest.approx([-1.0, 2.0, 0.0])


def test_other_writers_grids_are_read(tmp_path: Path):
    grey = np.array([[0, 60, 100], [205, 254, 255]], np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), grey)

    def read(**facts: object) -> list[list[int]]:
        content = {"image": "a.png", "resolution": 1.0, "origin": [0, 0, 0], **facts}
        (tmp_path / "a.yaml").write_text(yaml.safe_dump(content))
        return read_grid(tmp_path / "a.yaml").cells.tolist()

    assert read(occupied_thresh=0.65, free_thresh=0.196) == [[-1, 0, 0], [100, 100, -1]]
    assert read(occupied_thresh=0.65, free_thresh=0.196, negate=1) == [[100, 100, 100], [0, -1, -1]]
    assert read(mode="raw") == [[-1, -1, -1], [0, 60, 100]]
    assert read(mode="scale", occupied_thresh=0.65, free_thresh=0.196) == [[0, 0, 0], [100, 100, 90]]


@pytest.mark.parametrize(
    "content", ["", "just text", "image: a.pgm", "image: no.pgm\nresolution: 1\norigin: [0, 0, 0]", "a: [", None]
)
def test_a_file_that_is_no_grid_says_so(tmp_path: Path, content: str | None):
    path = tmp_path / "a.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MapError, match=r"a\.yaml"):
        read_grid(path)


def test_a_grid_is_not_written_under_another_ending(tmp_path: Path):
    with pytest.raises(MapError, match="yaml"):
        write_grid(tmp_path / "room.png", Grid(cells=CELLS, resolution=1.0, world_from_grid=np.eye(4)))
