# SPDX-License-Identifier: Apache-2.0
"""Segments cut out of an image: background black, the box padded to a square, scaled to what a network looks at."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from ccl_lgs_ros.structures import NONE


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """The segments of a label map that have pixels, each cut out when it is asked for."""

    image: NDArray[np.uint8]  # [H, W, 3]
    labels: NDArray[np.int32]  # [H, W]
    boxes: NDArray[np.int64]  # [n, 5] segment, left, top, right, bottom; the far edges are outside
    size: int  # pixels
    interpolation: str  # "bicubic" or "bilinear"

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Segments [b] int64 and their crops [b, 3, S, S] in [0, 1], at most `size` at once."""
        for first in range(0, len(self.boxes), size):
            some = self.boxes[first : first + size]
            yield torch.from_numpy(some[:, 0]), torch.stack([self._crop(*box) for box in some.tolist()])

    def _crop(self, segment: int, left: int, top: int, right: int, bottom: int) -> Tensor:  # [3, S, S]
        is_inside = self.labels[top:bottom, left:right] == segment
        cut = self.image[top:bottom, left:right] * is_inside[..., None]
        height, width = is_inside.shape
        side = max(height, width)
        x, y = (side - width) // 2, (side - height) // 2
        square = cv2.copyMakeBorder(cut, y, side - height - y, x, side - width - x, cv2.BORDER_CONSTANT)
        pixels = torch.from_numpy(np.asarray(square)).permute(2, 0, 1)[None].float() / 255.0
        # antialiased, as the training images were
        scaled = interpolate(pixels, (self.size, self.size), mode=self.interpolation, antialias=True)
        return scaled[0].clamp(0.0, 1.0)


def masked_crops(image: NDArray[np.uint8], labels: Tensor, count: int, size: int, interpolation: str) -> Crops:
    """The crops of the segments 0 to count - 1 of a label map [H, W]; a segment without pixels has none.

    Source: LangSplat (Qin et al., 2024), preprocessing: background zeroed, box padded to a square.
    """
    label = labels.cpu().numpy().astype(np.int32)
    known = (label != NONE) & (label < count)
    rows, columns = known.nonzero()
    segment = label[rows, columns]
    low = np.full((count, 2), max(image.shape), np.int64)
    high = np.zeros((count, 2), np.int64)
    for axis, place in enumerate((columns, rows)):
        np.minimum.at(low[:, axis], segment, place)
        np.maximum.at(high[:, axis], segment, place + 1)
    present = np.flatnonzero(high[:, 0])
    boxes = np.concatenate([present[:, None], low[present], high[present]], axis=1)
    return Crops(image, label, boxes, size, interpolation)
