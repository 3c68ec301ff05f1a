# SPDX-License-Identifier: Apache-2.0
"""Things as relations see them: upright boxes with some of their points, on level ground. numpy and scipy only."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.geometry import level_axes
from ccl_lgs_ros.query.boxes import is_inside
from ccl_lgs_ros.structures import Gaussians

MOST_POINTS = 8192  # of a thing, evenly spread: about 4 cm apart on a wall
MARGIN = 0.005  # metres; what is farther outside its box is a stray
MOST_ASKED = 512  # of them, evenly spread, that look for the nearest of another thing


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """A thing in a frame whose z is up."""

    instance: Instance
    points: NDArray[np.float64]  # [n, 3] metres, n >= 1, without strays
    center: NDArray[np.float64]  # [3] metres, of the box
    axes: NDArray[np.float64]  # [2, 2] rows: the directions of the box's sides on the ground
    size: NDArray[np.float64]  # [3] metres; on the ground along the axes, then up

    @property
    def low(self) -> float:
        """The height of its bottom."""
        return float(self.center[2] - self.size[2] / 2.0)

    @property
    def high(self) -> float:
        """The height of its top."""
        return float(self.center[2] + self.size[2] / 2.0)

    @property
    def width(self) -> float:
        """The longer of its sides on the ground."""
        return float(self.size[:2].max())

    @property
    def some(self) -> NDArray[np.float64]:
        """Some of its points [m, 3], evenly spread."""
        return self.points[:: -(-len(self.points) // MOST_ASKED)]

    @cached_property
    def tree(self) -> KDTree:
        """Its points, for the nearest."""
        return KDTree(self.points)

    @cached_property
    def ground_tree(self) -> KDTree:
        """Its points on the ground, for the nearest."""
        return KDTree(self.points[:, :2])

    def is_over(self, other: "Placed", margin: float = 0.0) -> NDArray[np.bool_]:
        """Which of its points [n] are above or below the other's box, grown sideways by a margin in metres."""
        local = np.abs((self.points[:, :2] - other.center[:2]) @ other.axes.T)
        return (local <= other.size[:2] / 2.0 + margin).all(axis=1)

    def share_over(self, other: "Placed") -> float:
        """The share of it that is above or below the other."""
        return float(self.is_over(other).mean())

    def gap(self, other: "Placed") -> float:
        """Metres between the two."""
        small, large = sorted((self, other), key=lambda thing: float(thing.size.max()))
        return float(large.tree.query(small.some)[0].min())

    def ground_gap(self, other: "Placed") -> float:
        """Metres between the two as seen from above."""
        small, large = sorted((self, other), key=lambda thing: thing.width)
        return float(large.ground_tree.query(small.some[:, :2])[0].min())

    def nearest_to(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Its point [3] nearest to a point [3]."""
        return self.points[int(self.tree.query(point)[1])]


def placed(instance: Instance, gaussians: Gaussians, up: NDArray[np.floating]) -> Placed:
    """An instance of a map whose `up` [3] is up, in the frame of `level_axes(up)`."""
    ids = instance.gaussian_ids.numpy()
    spread = np.linspace(0, len(ids) - 1, min(len(ids), MOST_POINTS)).astype(np.int64)
    points = gaussians.means[ids[spread]].numpy(force=True).astype(np.float64)
    inside = is_inside(instance.box, points, MARGIN)
    level = level_axes(up)
    return Placed(
        instance=instance,
        points=(points[inside] if inside.any() else instance.box.center[None]) @ level.T,
        center=level @ instance.box.center,
        axes=(level @ instance.box.rotation)[:2, :2].T,
        size=instance.box.size,
    )


def is_same(one: Instance, other: Instance) -> bool:
    """Whether two instances are one thing: most Gaussians of the smaller belong to the other too."""
    common = np.isin(one.gaussian_ids.numpy(), other.gaussian_ids.numpy(), assume_unique=True).sum()
    return bool(2 * common > min(len(one.gaussian_ids), len(other.gaussian_ids)))
