# SPDX-License-Identifier: Apache-2.0
"""The shape of pieces of things: their boxes and planes, made when a question needs them and kept while it lasts."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.query.boxes import share_inside, upright_box

FACE_ANGLE = np.radians(30.0)  # between the normals of two faces of one thing
FLATNESS = 0.15  # thickness of a face, as a share of its lesser width


class Pieces:
    """Pieces by number, each a set of cells."""

    def __init__(
        self,
        cells: NDArray[np.float64],  # [c, 3] metres
        piece: NDArray[np.int64],  # [c] numbered from 0 without gaps
        up: NDArray[np.float64],  # [3]
    ) -> None:
        self.size = np.bincount(piece)  # [p] cells of each piece
        order = np.argsort(piece, kind="stable")
        self._cells, self._start = cells[order], np.concatenate([[0], np.cumsum(self.size)])
        self._up = up
        self.box, self.plane = cache(self._box), cache(self._plane)

    def interlock(self, small: int, large: int, margin: float) -> float:
        """The larger share of either piece that lies in the other's box grown by a margin in metres."""
        return max(
            share_inside(self.box(large), self.cells(small), margin),
            share_inside(self.box(small), self.cells(large), margin),
        )

    def meet_at_an_angle(self, piece: int, other: int) -> bool:
        """Whether both are faces, and not parallel."""
        normal, others = self.plane(piece), self.plane(other)
        return normal is not None and others is not None and float(abs(normal @ others)) < np.cos(FACE_ANGLE)

    def cells(self, piece: int) -> NDArray[np.float64]:
        """The cells [k, 3] of a piece."""
        return self._cells[self._start[piece] : self._start[piece + 1]]

    def _box(self, piece: int) -> Box:
        return upright_box(self.cells(piece), self._up)

    def _plane(self, piece: int) -> NDArray[np.float64] | None:
        """The unit normal of a piece that lies in a plane; None for what is not flat."""
        points = self.cells(piece)
        if len(points) < 4:
            return None
        centred = points - points.mean(axis=0)
        spread, directions = np.linalg.eigh(centred.T @ centred / len(points))
        is_flat = spread[0] <= FLATNESS**2 * spread[1]
        return directions[:, 0] if is_flat else None
