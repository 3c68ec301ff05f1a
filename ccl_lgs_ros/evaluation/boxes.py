# SPDX-License-Identifier: Apache-2.0
"""Overlap of oriented boxes: exact, by cutting one convex solid with the other."""

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

from ccl_lgs_ros.answers import Box

MIN_SIZE = 1e-4  # metres; a flat box gets this thickness
MIN_DEPTH = 1e-7  # metres of the largest ball in an intersection, under which it is empty


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of the volumes of two oriented boxes."""
    shared = intersection_volume(first, second)
    return shared / (_volume(first) + _volume(second) - shared)


def intersection_volume(first: Box, second: Box) -> float:
    """Cubic metres that two oriented boxes share."""
    reach = (np.linalg.norm(first.size) + np.linalg.norm(second.size)) / 2
    if np.linalg.norm(first.center - second.center) > reach:
        return 0.0
    faces = np.concatenate([_halfspaces(first), _halfspaces(second)])
    inside = _deepest_point(faces)
    if inside is None:
        return 0.0
    try:
        return float(ConvexHull(HalfspaceIntersection(faces, inside).intersections).volume)
    except QhullError:  # a sliver without volume
        return 0.0


def corners(box: Box) -> NDArray[np.float64]:
    """[8, 3] metres, world."""
    signs = np.array(list(product([-0.5, 0.5], repeat=3)))
    return (signs * box.size) @ box.rotation.T + box.center


def _volume(box: Box) -> float:
    return float(np.prod(np.maximum(box.size, MIN_SIZE)))


def _halfspaces(box: Box) -> NDArray[np.float64]:
    """[6, 4] rows (normal, offset): inside is where normal . x + offset <= 0."""
    normals = np.concatenate([box.rotation.T, -box.rotation.T])
    half = np.tile(np.maximum(box.size, MIN_SIZE) / 2, 2)
    return np.column_stack([normals, -(normals @ box.center) - half])


def _deepest_point(faces: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The centre of the largest ball within all halfspaces; None where they share no volume."""
    rows = np.column_stack([faces[:, :3], np.ones(len(faces))])
    found = linprog([0, 0, 0, -1], A_ub=rows, b_ub=-faces[:, 3], bounds=[(None, None)] * 3 + [(0, None)])
    if not found.success or found.x[3] < MIN_DEPTH:
        return None
    return found.x[:3]
