# SPDX-License-Identifier: Apache-2.0
"""Points on the surfaces of a room's objects and on what is seen around them, each with the object that it lies on."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ccl_lgs_ros.geometry import transform_points
from ccl_lgs_ros.synthetic.room import NO_OBJECT, Room
from ccl_lgs_ros.synthetic.scene import RoomFrame
from ccl_lgs_ros.synthetic.shapes import Floats

SPACING = 0.005  # metres between points, about
REACH = 0.12  # metres from an object, beyond which nobody asks whose a point is


class TrueSurface:
    """The whole surface of every object, known beforehand, and what frames show of tables, floors and walls there."""

    def __init__(self, room: Room) -> None:
        whole = [_thinned(item.surface) for item in room.objects]
        ids = [np.full(len(points), item.id) for item, points in zip(room.objects, whole, strict=True)]
        self._of_objects, self._ids = np.concatenate(whole), np.concatenate(ids)
        self._tree = KDTree(self._of_objects)
        self._around = np.zeros((0, 3))

    def add(self, frame: RoomFrame) -> None:
        """Take what a frame shows around the objects."""
        world = transform_points(frame.world_from_camera, frame.camera.unproject(frame.true_depth))
        others = _thinned(world[frame.objects == NO_OBJECT])
        gap, _ = self._tree.query(others, distance_upper_bound=REACH)
        self._around = _thinned(np.concatenate([self._around, others[np.isfinite(gap)]]))

    @property
    def points(self) -> Floats:
        """[V, 3] metres, world."""
        return np.concatenate([self._of_objects, self._around])

    @property
    def objects(self) -> NDArray[np.int64]:
        """[V] the id of the object that each point lies on; NO_OBJECT around them."""
        return np.concatenate([self._ids, np.full(len(self._around), NO_OBJECT)])


def _thinned(points: NDArray[np.floating]) -> Floats:
    """The first of the points [n, 3] in every cell of a grid."""
    first = np.unique(np.floor(points / SPACING).astype(np.int64), axis=0, return_index=True)[1]
    return np.asarray(points, np.float64)[np.sort(first)]
