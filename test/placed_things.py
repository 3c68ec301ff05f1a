# SPDX-License-Identifier: Apache-2.0
"""Hand-made things for relations: boxes of points in a world whose up is any direction."""

from dataclasses import dataclass

import numpy as np
import torch
from mini_scene import gaussians_at
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.geometry import level_axes
from ccl_lgs_ros.query.boxes import upright_box
from ccl_lgs_ros.query.placed import Placed, placed
from ccl_lgs_ros.query.viewpoint import Viewpoint, standing_at, where_from

Place = tuple[float, float, float]
STEP = 0.04  # metres between points


def shell(bottom: Place, size: Place, is_open: bool = False) -> NDArray[np.float64]:
    """Points [n, 3] on the faces of a box, given the middle of its bottom; without its top where it is open."""
    axes = [np.linspace(-0.5, 0.5, max(int(np.ceil(s / STEP)), 2) + 1) for s in size]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    is_face = np.abs(grid).max(axis=1) == 0.5
    grid = grid[is_face & ~(is_open & (grid[:, 2] == 0.5) & (np.abs(grid[:, :2]).max(axis=1) < 0.5))]
    return (grid + (0.0, 0.0, 0.5)) * size + bottom


def table(x: float, y: float, height: float = 0.7) -> NDArray[np.float64]:
    """A table of 1.2 x 0.8 metres with four legs."""
    legs = [shell((x + sx * 0.55, y + sy * 0.35, 0.0), (0.06, 0.06, height - 0.04)) for sx in (-1, 1) for sy in (-1, 1)]
    return np.concatenate([shell((x, y, height - 0.04), (1.2, 0.8, 0.04)), *legs])


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Where the things are: z of the things is `up` [3] of the world."""

    up: NDArray[np.float64]

    def place(self, *things: NDArray[np.float64]) -> list[Placed]:
        """Things as a map would have them."""
        turn = level_axes(self.up)
        points = np.concatenate(things) @ turn
        gaussians, ends = gaussians_at(points), np.cumsum([len(thing) for thing in things])
        found = []
        for number, (end, thing) in enumerate(zip(ends, things, strict=True)):
            ids = torch.arange(int(end) - len(thing), int(end))
            instance = Instance(
                id=number,
                level="wp",
                score=0.9,
                centroid=thing.mean(axis=0) @ turn,
                box=upright_box(thing @ turn, self.up),
                gaussian_ids=ids,
            )
            found.append(placed(instance, gaussians, self.up))
        return found

    def viewer(self, x: float, y: float, yaw: float) -> Viewpoint:
        """Someone who stands there and looks along yaw: 0 along x, pi/2 along y."""
        pose = standing_at(np.array([x, y, 1.5]) @ level_axes(self.up), yaw, self.up)
        return where_from(self.up, torch.zeros(1, 3), pose, None)([])


UPS = [np.array(up) / np.linalg.norm(up) for up in ((0, 0, 1), (0, -1, 0), (1, 0, 0), (0.3, -0.5, 0.8))]
