# SPDX-License-Identifier: Apache-2.0
"""Points on true surfaces, each with the object that it lies on: a .ply that any viewer of point clouds opens."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement, PlyParseError

from ccl_lgs_ros.errors import EvaluationError

ROW = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("object", "<i4")])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledPoints:
    """Samples of the surfaces of a scene: of its objects, and of what is around them."""

    points: NDArray[np.float64]  # [V, 3] metres
    objects: NDArray[np.int64]  # [V] ids; 0 is what is no object


def write_labelled_points(path: Path, surface: LabelledPoints) -> None:
    """Write them as the vertices of a binary .ply, with the property `object`."""
    rows = np.empty(len(surface.points), ROW)
    rows["x"], rows["y"], rows["z"] = surface.points.T
    rows["object"] = surface.objects
    PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(path))


def read_labelled_points(path: Path) -> LabelledPoints:
    """The points of such a file.

    Raises:
        EvaluationError: naming the file, what is wrong with it and what it should hold.
    """
    try:
        vertices = PlyData.read(str(path))["vertex"]
        points = np.stack([np.asarray(vertices[axis], np.float64) for axis in "xyz"], axis=1)
        objects = np.asarray(vertices["object"]).astype(np.int64)
    except (OSError, PlyParseError, KeyError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"{path} must be a .ply whose vertices have x, y, z and object ({error}); write it again or remove it"
        ) from error
    if len(points) == 0 or not np.isfinite(points).all():
        raise EvaluationError(f"{path} must hold points with finite x, y, z; write it again or remove it")
    return LabelledPoints(points=points, objects=objects)
