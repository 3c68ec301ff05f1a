# SPDX-License-Identifier: Apache-2.0
"""The area that a robot's body covers where it stands."""

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.grid import Grid, looked_up

PER_CELL = 2  # samples along the side of a cell


def is_body_free(
    grid: Grid, places: NDArray[np.floating], headings: NDArray[np.floating], outline: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """[n] whether a footprint [k, 2] at places [n, 2] (metres in the grid) with headings [n] covers free cells only."""
    if not len(outline) or not len(places):
        return np.ones(len(places), bool)
    body = _samples(outline, grid.resolution / PER_CELL)  # [b, 2]
    cos, sin = np.cos(headings)[:, None], np.sin(headings)[:, None]
    x = places[:, :1] + cos * body[:, 0] - sin * body[:, 1]
    y = places[:, 1:] + sin * body[:, 0] + cos * body[:, 1]
    cells = np.floor(np.stack([y, x], axis=-1) / grid.resolution).astype(np.int64)
    return np.all(looked_up(grid.is_free, cells, False), axis=1)


def _samples(outline: NDArray[np.floating], spacing: float) -> NDArray[np.float64]:
    """[b, 2] points inside an outline [k, 2] and on its edges, about a spacing apart."""
    low, high = outline.min(0), outline.max(0)
    x, y = (np.arange(a, b + spacing, spacing) for a, b in zip(low, high, strict=True))
    lattice = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    edges = []
    for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        share = np.linspace(0.0, 1.0, int(np.ceil(np.linalg.norm(end - start) / spacing)) + 1)[:, None]
        edges.append(start + share * (end - start))
    return np.concatenate([lattice[_is_inside(lattice, outline)], *edges])


def _is_inside(points: NDArray[np.floating], outline: NDArray[np.floating]) -> NDArray[np.bool_]:
    """[n] whether a line from points [n, 2] along x crosses an outline [k, 2] an odd number of times."""
    start, end = outline, np.roll(outline, -1, axis=0)
    x, y = points[:, :1], points[:, 1:]
    is_passed = (start[:, 1] > y) != (end[:, 1] > y)  # [n, k]
    rise = np.where(end[:, 1] == start[:, 1], 1.0, end[:, 1] - start[:, 1])
    crossing = start[:, 0] + (end[:, 0] - start[:, 0]) * (y - start[:, 1]) / rise
    return (is_passed & (x < crossing)).sum(1) % 2 == 1
