# SPDX-License-Identifier: Apache-2.0
"""A floor plan that people look at: the grid from above, the path of the cameras, things, poses of the robot."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.boxes_in_pictures import DrawnBox
from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.grid import FREE, OCCUPIED, UNKNOWN, Grid, looked_up
from ccl_lgs_ros.lettering import Colour, line_height, text_width, write

Image = NDArray[Any]  # [H, W, 3] uint8

UNKNOWN_COLOUR, FREE_COLOUR, OCCUPIED_COLOUR = (206, 210, 216), (252, 251, 247), (72, 80, 96)
CAMERA_COLOUR, ROBOT_COLOUR = (66, 133, 214), (22, 140, 92)
INK, PAPER = (40, 44, 52), (255, 255, 255)
LONGER_SIDE = 900  # pixels
MARGIN = 2  # cells around what is known
FINE = 4  # bits of a pixel: places of lines are so exact
TEXT = 14  # pixels
ARROW = 0.2  # metres that an arrow is long at least
LOOK = 0.12  # metres that a camera's tick is long


class FloorPlan:
    """A picture of a grid that more is drawn into; the grid's x axis points right, its y axis up.

    Args:
        grid: what is free, occupied and unknown.
        points: [n, 3] in the world, which lie in the picture too, wherever they are.
        longer_side: of the picture, in pixels.
    """

    def __init__(self, grid: Grid, points: NDArray[np.floating] | None = None, longer_side: int = LONGER_SIDE) -> None:
        known = np.argwhere(grid.cells >= FREE)
        if points is not None and len(points):
            known = np.concatenate([known, grid.cells_of(points)])
        low = known.min(0) - MARGIN if len(known) else np.zeros(2, np.int64)
        high = known.max(0) + 1 + MARGIN if len(known) else np.array(grid.cells.shape)
        rows, columns = np.maximum(high - low, 1)
        self._grid_from_world = invert_rigid(grid.world_from_grid)
        self._pixels = longer_side / (max(rows, columns) * grid.resolution)  # in a metre
        self._left, self._top = low[1] * grid.resolution, high[0] * grid.resolution
        shown = np.stack(np.meshgrid(np.arange(low[0], high[0])[::-1], np.arange(low[1], high[1]), indexing="ij"), -1)
        cells = looked_up(grid.cells, shown, np.int8(UNKNOWN))
        palette = np.full((*cells.shape, 3), UNKNOWN_COLOUR, np.uint8)
        palette[cells >= FREE] = FREE_COLOUR
        palette[cells >= OCCUPIED] = OCCUPIED_COLOUR
        size = (round(columns * grid.resolution * self._pixels), round(rows * grid.resolution * self._pixels))
        self.image: Image = cv2.resize(palette, size, interpolation=cv2.INTER_NEAREST)
        self._taken: list[tuple[int, int, int, int]] = []

    def draw_cameras(self, world_from_camera: NDArray[np.floating]) -> None:
        """The path [n, 4, 4] of cameras in their order, with ticks that show where each looks."""
        places = world_from_camera[:, :3, 3]
        ends = places + LOOK * world_from_camera[:, :3, 2]
        cv2.polylines(self.image, [self._fine(places)], False, CAMERA_COLOUR, 2, cv2.LINE_AA, FINE)
        for start, end in zip(self._fine(places), self._fine(ends), strict=True):
            cv2.line(self.image, _pair(start), _pair(end), CAMERA_COLOUR, 1, cv2.LINE_AA, FINE)
            cv2.circle(self.image, _pair(start), 3 << FINE, CAMERA_COLOUR, cv2.FILLED, cv2.LINE_AA, FINE)

    def draw_box(self, item: DrawnBox) -> None:
        """The outline of a box from above, and its name beside it."""
        signs = np.array([[(i & 1), (i >> 1 & 1), (i >> 2 & 1)] for i in range(8)]) - 0.5
        corners = item.box.center + (signs * item.box.size) @ item.box.rotation.T
        hull = cv2.convexHull(self._fine(corners))
        for colour, thickness in ((INK, 4), (item.colour, 2)):
            cv2.polylines(self.image, [hull], True, colour, thickness, cv2.LINE_AA, FINE)
        if item.label:
            low, high = hull[:, 0].min(0) >> FINE, hull[:, 0].max(0) >> FINE
            self._write_near(item.label, int(low[0] + high[0]) // 2, int(low[1]), int(high[1]), item.colour)

    def draw_robots(
        self, world_from_base: Sequence[NDArray[np.floating]], radius: float = ARROW, is_numbered: bool = True
    ) -> None:
        """Where a robot stands and looks, best first: an arrow, which it is, and of the best the robot's size."""
        for number, pose in reversed(list(enumerate(world_from_base, start=1))):
            colour = ROBOT_COLOUR if number == 1 else _paler(ROBOT_COLOUR, 0.35)
            forward = max(radius, ARROW) * pose[:3, 0]
            middle, tip = self._fine(np.stack([pose[:3, 3], pose[:3, 3] + forward]))
            if number == 1:
                reach = round(radius * self._pixels * (1 << FINE))
                cv2.circle(self.image, _pair(middle), reach, _paler(ROBOT_COLOUR, 0.8), cv2.FILLED, cv2.LINE_AA, FINE)
                cv2.circle(self.image, _pair(middle), reach, colour, 2, cv2.LINE_AA, FINE)
            start, end = _pair(middle >> FINE), _pair(tip >> FINE)
            cv2.arrowedLine(self.image, start, end, colour, 3, cv2.LINE_AA, tipLength=0.35)
            if is_numbered:
                back = self._fine((pose[:3, 3] - 0.4 * forward)[None])[0] >> FINE
                self._write_middle(str(number), int(back[0]), int(back[1]), colour)

    def finished(self) -> Image:
        """The picture with a scale under it."""
        bar = np.full((line_height(TEXT) + 16, self.image.shape[1], 3), PAPER, np.uint8)
        length, middle = round(self._pixels), bar.shape[0] // 2
        cv2.line(bar, (12, middle), (12 + length, middle), INK, 2)
        for end in (12, 12 + length):
            cv2.line(bar, (end, middle - 5), (end, middle + 5), INK, 2)
        left = 12 + length + 8
        write(bar, "1 m", left, middle - line_height(TEXT) // 2, TEXT, INK)
        left += text_width("1 m", TEXT) + 28
        for name, colour in (("free", FREE_COLOUR), ("occupied", OCCUPIED_COLOUR), ("unknown", UNKNOWN_COLOUR)):
            cv2.rectangle(bar, (left, middle - 7), (left + 14, middle + 7), colour, cv2.FILLED)
            cv2.rectangle(bar, (left, middle - 7), (left + 14, middle + 7), INK, 1)
            write(bar, name, left + 21, middle - line_height(TEXT) // 2, TEXT, INK)
            left += 21 + text_width(name, TEXT) + 22
        return np.vstack([self.image, bar])

    def _fine(self, points: NDArray[np.floating]) -> NDArray[np.int32]:
        """[n, 2] where points [n, 3] in the world lie in the picture, in parts of pixels."""
        local = transform_points(self._grid_from_world, points)
        pixels = np.stack([local[..., 0] - self._left, self._top - local[..., 1]], axis=-1) * self._pixels
        return np.round(np.clip(pixels - 0.5, -1e4, 1e4) * (1 << FINE)).astype(np.int32)

    def _write_near(self, text: str, column: int, top: int, bottom: int, colour: Colour) -> None:
        """A name under or over something, where no other name is."""
        width, height = text_width(text, TEXT) + 8, line_height(TEXT) + 2
        left = int(np.clip(column - width // 2, 0, max(self.image.shape[1] - width, 0)))
        steps = [bottom + 4, top - height - 4, *(bottom + 4 + k * (height + 2) for k in range(1, 12))]
        rows = [row for row in steps if 0 <= row <= self.image.shape[0] - height] or [0]
        row = next((row for row in rows if not self._is_taken(left, row, width, height)), rows[0])
        self._taken.append((left, row, left + width, row + height))
        cv2.rectangle(self.image, (left, row), (left + width, row + height), colour, cv2.FILLED)
        write(self.image, text, left + 4, row + 1, TEXT, INK if sum(colour) > 330 else PAPER)

    def _write_middle(self, text: str, column: int, row: int, colour: Colour) -> None:
        write(self.image, text, column - text_width(text, TEXT) // 2, row - line_height(TEXT) // 2, TEXT, colour)

    def _is_taken(self, left: int, top: int, width: int, height: int) -> bool:
        return any(left < t[2] and t[0] < left + width and top < t[3] and t[1] < top + height for t in self._taken)


def _pair(point: NDArray[np.integer]) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _paler(colour: Colour, share: float) -> Colour:
    red, green, blue = (round(part + share * (255 - part)) for part in colour)
    return red, green, blue
