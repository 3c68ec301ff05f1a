# SPDX-License-Identifier: Apache-2.0
"""The shape of pieces of things: their boxes and planes, made when a question needs them and kept while it lasts."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.query.boxes import STRAY_SHARE, level_axes, quantiles, share_inside, upright_box

FACE_ANGLE = np.radians(30.0)  # between the normals of two faces of one thing
INTERLOCKED = 0.5  # share of the smaller piece inside the other's box
FLATNESS = 0.15  # thickness of a face, as a share of its lesser width
ROUNDING = 1e-9  # metres


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
        self._up, self._height = up, self._cells @ level_axes(up)[2]
        self.box, self.plane, self._reach = cache(self._box), cache(self._plane), cache(self._heights)

    def interlock(self, small: int, large: int, margin: float) -> bool:
        """Whether enough of either piece lies in the other's box grown by a margin in metres."""
        return any(
            self._share_level(around, within, margin) >= INTERLOCKED  # the rest is dear, and no more can be inside
            and share_inside(self.box(around), self.cells(within), margin) >= INTERLOCKED
            for around, within in ((large, small), (small, large))
        )

    def meet_at_an_angle(self, piece: int, other: int) -> bool:
        """Whether both are faces, and not parallel."""
        normal, others = self.plane(piece), self.plane(other)
        return normal is not None and others is not None and float(abs(normal @ others)) < np.cos(FACE_ANGLE)

    def cells(self, piece: int) -> NDArray[np.float64]:
        """The cells [k, 3] of a piece."""
        return self._cells[self._start[piece] : self._start[piece + 1]]

    def _share_level(self, around: int, within: int, margin: float) -> float:
        """The share of a piece that lies between the bottom and the top of another one's box."""
        low, high = self._reach(around)
        height = self._height[self._start[within] : self._start[within + 1]]
        is_level = (height >= low - margin - ROUNDING) & (height <= high + margin + ROUNDING)
        return float(np.count_nonzero(is_level) / len(height))

    def _heights(self, piece: int) -> tuple[float, float]:
        """Bottom and top of the box of a piece."""
        height = self._height[self._start[piece] : self._start[piece + 1]]
        low, high = quantiles(height[None], STRAY_SHARE, 1.0 - STRAY_SHARE)[:, 0]
        return low, high

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
