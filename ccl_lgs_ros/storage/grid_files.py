# SPDX-License-Identifier: Apache-2.0
"""Grids as map_server keeps them: a YAML file beside a picture whose top row has the greatest y.

Such a file knows no height and no tilt: a grid is written in the level frame of its own up direction, which for z up
is the map's, and read as one at a height of 0 with z up.
"""

from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import level_axes, rigid
from ccl_lgs_ros.grid import FREE, OCCUPIED, UNKNOWN, Grid
from ccl_lgs_ros.storage.durable import disk_errors, replace_file

FREE_GREY, OCCUPIED_GREY, UNKNOWN_GREY = 254, 0, 205  # as map_saver paints them
OCCUPIED_ABOVE = 0.65  # share of darkness
FREE_BELOW = 0.196  # the darkness of UNKNOWN_GREY is just above it; with nav2's default of 0.25 unknown would be free
SUFFIXES = (".yaml", ".yml")


def write_grid(path: Path, grid: Grid) -> Path:
    """Write a grid as PATH.yaml and PATH.pgm; returns the path of the picture.

    Values between free and occupied, as costmaps have them, become unknown.

    Raises:
        MapError: if the path does not end in .yaml, or the disk does not take it.
    """
    if path.suffix not in SUFFIXES:
        raise MapError(f"cannot write a grid as '{path}'; end its name in .yaml")
    grey = np.full(grid.cells.shape, UNKNOWN_GREY, np.uint8)
    grey[grid.cells == FREE] = FREE_GREY
    grey[grid.cells == OCCUPIED] = OCCUPIED_GREY
    picture = path.with_suffix(".pgm")
    x, y, yaw = _origin(grid)
    lines = [
        f"image: {picture.name}",
        "mode: trinary",
        f"resolution: {grid.resolution:.9g}",
        f"origin: [{x:.9g}, {y:.9g}, {yaw:.9g}]",
        "negate: 0",
        f"occupied_thresh: {OCCUPIED_ABOVE}",
        f"free_thresh: {FREE_BELOW}",
    ]
    rows, columns = grid.cells.shape
    header = f"P5\n{columns} {rows}\n255\n"
    with disk_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(picture, header.encode() + grey[::-1].tobytes())
        replace_file(path, ("\n".join(lines) + "\n").encode())
    return picture


def read_grid(path: Path) -> Grid:
    """The grid of a YAML file and the picture that it names, in any of map_server's modes.

    Raises:
        MapError: if either cannot be read or says what a grid cannot be.
    """
    try:
        facts = yaml.safe_load(path.read_text())
        image, resolution = path.parent / str(facts["image"]), float(facts["resolution"])
        x, y, yaw = (float(value) for value in facts["origin"])
        negate, mode = bool(int(facts.get("negate", 0))), str(facts.get("mode", "trinary"))
        above, below = float(facts.get("occupied_thresh", OCCUPIED_ABOVE)), float(facts.get("free_thresh", FREE_BELOW))
    except OSError as error:
        raise MapError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise MapError(f"{path} is no map of map_server: it needs image, resolution and origin: [x, y, yaw]") from error
    grey = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise MapError(f"cannot read {image}, which {path} names")
    cells = _cells(grey[::-1].astype(np.uint8), mode, negate, above, below)
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    try:
        return Grid(cells=cells, resolution=resolution, world_from_grid=rigid(turn, np.array([x, y, 0.0])))
    except ValueError as error:
        raise MapError(f"{path} is no map: {error}") from error


def _cells(grey: NDArray[np.uint8], mode: str, negate: bool, above: float, below: float) -> NDArray[np.int8]:
    """The values [R, C] of a picture whose first row has the least y."""
    if mode == "raw":
        return np.where(grey <= OCCUPIED, grey, UNKNOWN).astype(np.int8)
    darkness = (grey if negate else 255 - grey.astype(np.float64)) / 255.0
    between = np.full(grey.shape, UNKNOWN, np.int8)
    if mode == "scale":
        between = np.clip(np.round(99 * (darkness - below) / max(above - below, 1e-9)), 0, 99).astype(np.int8)
    return np.where(darkness > above, OCCUPIED, np.where(darkness < below, FREE, between)).astype(np.int8)


def _origin(grid: Grid) -> tuple[float, float, float]:
    """The corner of cell (0, 0) and how far the grid is turned, in the level frame of its up direction."""
    axes = level_axes(grid.world_from_grid[:3, 2])
    corner, along = axes @ grid.world_from_grid[:3, 3], axes @ grid.world_from_grid[:3, 0]
    return float(corner[0]), float(corner[1]), float(np.arctan2(along[1], along[0])) + 0.0
