# SPDX-License-Identifier: Apache-2.0
"""Masks as polygons and back, exactly: a polygon's vertices are pixels, and it covers the pixels on its edge."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.floating]  # [n, 2] x, y


def mask_of_polygons(polygons: Iterable[Polygon], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels [H, W] that any of the polygons covers; within one polygon, what is enclosed twice is a hole."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
    return mask.astype(bool)


def polygons_of_mask(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """One polygon for each connected piece of a mask [H, W]; a hole is entered and left by a slit."""
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if hierarchy is None:
        return []
    polygons = []
    for index, contour in enumerate(contours):
        if hierarchy[0][index][3] >= 0:
            continue
        polygon = contour[:, 0].astype(np.int64)
        hole = hierarchy[0][index][2]
        while hole >= 0:
            polygon = _with_hole(polygon, contours[hole][:, 0].astype(np.int64))
            hole = hierarchy[0][hole][0]
        polygons.append(polygon)
    return polygons


def _with_hole(outer: NDArray[np.int64], hole: NDArray[np.int64]) -> NDArray[np.int64]:
    distance = ((outer[:, None] - hole[None]) ** 2).sum(-1)
    leave, enter = np.unravel_index(np.argmin(distance), distance.shape)
    around = np.roll(hole, -int(enter), axis=0)
    return np.concatenate([outer[: leave + 1], around, around[:1], outer[leave:]])
