# SPDX-License-Identifier: Apache-2.0
"""Space in cells: which Gaussians a camera could see, found without looking at the others."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import transform_points

CELL = (
    1.0  # metres; a room is some hundred cells. What reaches farther lies in a cell of twice, four times ... the side
)
REACH = 5.0  # standard deviations; more than any Gaussian is drawn wide, also aslant
BEHIND = 0.1  # of the depth; a cell that far behind every surface measured before it is hidden
FAR_CELLS = 2**18  # cells from the origin to the end of the grid; strays beyond lie at the end
LARGEST = 8  # times that the side of a cell is doubled at most
HOLE = 0.05  # of the image's width; a smaller hole in the depth is taken to be as far as what is around it
FINER = 2  # times that the blocks of depth a ball is compared with are halved, so that they fit it better

Floats = NDArray[np.floating]


class Cells:
    """Which cell every Gaussian lies in, and a ball around what lies in each cell."""

    def __init__(self) -> None:
        self._place: dict[int, int] = {}  # key of a cell -> its row below
        self._members: list[list[NDArray[np.int64]]] = []
        self._centres = np.zeros((0, 3))
        self._radii = np.zeros(0)
        self._count = 0

    def append(self, means: Tensor, log_scales: Tensor) -> None:
        """Gaussians [n, 3], [n, 3] behind those that are known."""
        if not len(means):
            return
        points = means.detach().cpu().numpy().astype(np.float64)
        reach = REACH * np.exp(log_scales.detach().cpu().numpy().max(axis=1).astype(np.float64))
        doublings = np.clip(np.ceil(np.log2(reach / CELL)), 0, LARGEST).astype(np.int64)
        size = CELL * 2.0**doublings
        grid = np.clip(np.floor(np.nan_to_num(points) / size[:, None]), -FAR_CELLS, FAR_CELLS - 1).astype(np.int64)
        keys = np.ravel_multi_index((doublings, *(grid + FAR_CELLS).T), (LARGEST + 1, *3 * (2 * FAR_CELLS,)))
        found, first, cell = np.unique(keys, return_index=True, return_inverse=True)
        place = self._places(found, (grid[first] + 0.5) * size[first, None])
        np.maximum.at(self._radii, place[cell], np.linalg.norm(points - self._centres[place[cell]], axis=1) + reach)
        order = np.argsort(cell, kind="stable")
        ends = np.cumsum(np.bincount(cell, minlength=len(found)))[:-1]
        for row, members in zip(place.tolist(), np.split(order + self._count, ends), strict=True):
            self._members[row].append(members)
        self._count += len(points)

    def seen_by(self, keyframe: Keyframe) -> Tensor:
        """Indices [n] int64, ascending, of all Gaussians in cells that the keyframe's camera may see.

        Cells outside of the image are left out, and those that its depth says are hidden behind what was measured.
        """
        centres = transform_points(keyframe.camera_from_world, self._centres)
        seen = in_view(centres, self._radii, keyframe.camera)
        if keyframe.depth is not None:
            some = np.flatnonzero(seen)
            seen[some] = ~hidden(centres[some], self._radii[some], keyframe.camera, keyframe.depth)
        members = [part for row in np.flatnonzero(seen).tolist() for part in self._members[row]]
        if not members:
            return torch.zeros(0, dtype=torch.int64)
        return torch.from_numpy(np.sort(np.concatenate(members), kind="stable"))

    def _places(self, keys: NDArray[np.int64], centres: Floats) -> NDArray[np.int64]:
        """The rows [c] of cells, made where they are new."""
        is_new = np.array([key not in self._place for key in keys.tolist()], dtype=bool)
        for key in keys[is_new].tolist():
            self._place[key] = len(self._members)
            self._members.append([])
        self._centres = np.concatenate([self._centres, centres[is_new]])
        self._radii = np.concatenate([self._radii, np.zeros(int(is_new.sum()))])
        return np.array([self._place[key] for key in keys.tolist()], dtype=np.int64)


def in_view(centres: Floats, radii: Floats, camera: Camera) -> NDArray[np.bool_]:
    """Whether any of a ball ([C, 3] in the camera's frame, [C]) lies within the four sides of the image [C]."""
    x, y, z = centres.T
    seen = z > -radii
    sides = (
        (camera.fx * x + camera.cx * z, camera.fx, camera.cx),
        ((camera.width - camera.cx) * z - camera.fx * x, camera.fx, camera.width - camera.cx),
        (camera.fy * y + camera.cy * z, camera.fy, camera.cy),
        ((camera.height - camera.cy) * z - camera.fy * y, camera.fy, camera.height - camera.cy),
    )
    pixel = np.maximum(z, 0.0) * 2.0 / min(camera.fx, camera.fy)  # nothing is drawn thinner than a pixel
    for inside, focal, border in sides:
        seen &= inside / np.hypot(focal, border) > -(radii + pixel)
    return seen


def hidden(centres: Floats, radii: Floats, camera: Camera, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether a ball ([C, 3] in the camera's frame, [C]) lies behind what depth [H, W] measured all over it [C].

    Where nothing was measured nothing is hidden, but for small holes. Source: hierarchical depth (Greene et al., 1993).
    """
    near = centres[:, 2] - radii
    is_before = near > 0
    far = centres[:, 2] + radii
    near = np.where(is_before, near, 1.0)
    first, last = [], []
    for axis, focal, middle, size in (
        (0, camera.fx, camera.cx, camera.width),
        (1, camera.fy, camera.cy, camera.height),
    ):
        low, high = centres[:, axis] - radii, centres[:, axis] + radii
        first.append(np.clip(focal * np.minimum(low / near, low / far) + middle, 0, size - 1).astype(np.int64))
        last.append(np.clip(focal * np.maximum(high / near, high / far) + middle, 0, size - 1).astype(np.int64))
    farthest = np.full(len(centres), np.inf)
    span = np.maximum(last[0] - first[0], last[1] - first[1])
    step = np.maximum(np.ceil(np.log2(np.maximum(span, 1))).astype(np.int64) - FINER, 0)
    for level, measured in enumerate(_levels(depth, int(step.max(initial=0)))):
        which = step == level
        columns, rows = (
            _blocks(low[which] >> level, high[which] >> level) for low, high in zip(first, last, strict=True)
        )
        farthest[which] = measured[rows[:, :, None], columns[:, None, :]].max(axis=(1, 2))
    return is_before & (near > (1.0 + BEHIND) * farthest)


def _blocks(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """The blocks [C, b] from the first to the last of each ball; the last again where there are fewer."""
    return np.minimum(first[:, None] + np.arange(2**FINER + 1), last[:, None])


def _levels(depth: NDArray[np.float32], count: int) -> list[NDArray[np.float32]]:
    """The farthest depth in blocks of 1, 2, 4, ... pixels, `count` times coarser; infinite where it is unknown."""
    levels = [_closed(depth)]
    for _ in range(count):
        finer = levels[-1]
        finer = np.pad(finer, ((0, finer.shape[0] % 2), (0, finer.shape[1] % 2)), mode="edge")
        levels.append(finer.reshape(finer.shape[0] // 2, 2, finer.shape[1] // 2, 2).max(axis=(1, 3)))
    return levels


def _closed(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth [H, W] whose small holes are as far as the farthest thing around them; infinite in large ones."""
    known = np.isfinite(depth)
    reach = int(HOLE * depth.shape[1])
    farthest = cv2.dilate(np.where(known, depth, 0.0).astype(np.float32), np.ones((2 * reach + 1, 2 * reach + 1)))
    around = np.where(farthest > 0, farthest, np.inf)
    return np.where(known, depth, around).astype(np.float32)
