# SPDX-License-Identifier: Apache-2.0
"""Point clouds of any layout to points, and points to the sparse depth image that a camera would have measured."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.records import CloudRecord

# sensor_msgs/PointField: datatype -> numpy
DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
FLOATS = (7, 8)
MAX_SPACING = 8  # pixels between projected points, up to which nearer ones hide what lies between them
OCCLUDED = 0.1  # of the depth; a point that far behind its neighbours is hidden by them


def decode_cloud(record: CloudRecord) -> NDArray[np.float64]:
    """The finite points [n, 3] of a cloud, metres in its frame.

    Raises:
        DecodeError: saying what was expected and what came.
    """
    formats, offsets = [], []
    known = {field.name: field for field in record.fields}
    for name in ("x", "y", "z"):
        field = known.get(name)
        if field is None:
            raise DecodeError(f"expected a cloud with fields x, y, z, got {', '.join(known) or 'none'}")
        if field.datatype not in FLOATS or field.count not in (0, 1):
            kind = DATATYPES.get(field.datatype, f"datatype {field.datatype}")
            raise DecodeError(f"expected field {name} of a cloud as one f4 or f8, got {field.count} of {kind}")
        formats.append((">" if record.is_bigendian else "<") + DATATYPES[field.datatype])
        offsets.append(field.offset)
    ends = [offset + np.dtype(kind).itemsize for offset, kind in zip(offsets, formats, strict=True)]
    if max(ends) > record.point_step:
        raise DecodeError(f"expected points of at least {max(ends)} bytes, got a point_step of {record.point_step}")
    rows, columns = record.height, record.width
    row_step = record.row_step or columns * record.point_step
    data = np.frombuffer(record.data, np.uint8)
    needed = (rows - 1) * row_step + columns * record.point_step if rows and columns else 0
    if row_step < columns * record.point_step or data.size < needed:
        raise DecodeError(
            f"expected {needed} bytes of cloud ({columns}x{rows} points, rows of {row_step} bytes), got {data.size}"
        )
    if not needed:
        return np.zeros((0, 3))
    layout = np.dtype({"names": ["x", "y", "z"], "formats": formats, "offsets": offsets, "itemsize": record.point_step})
    cells = np.ndarray((rows, columns), layout, data, 0, (row_step, record.point_step))
    points = np.stack([cells[name].ravel().astype(np.float64) for name in ("x", "y", "z")], axis=1)
    return points[np.isfinite(points).all(axis=1)]


def cloud_depth(points: NDArray[np.floating], camera: Camera) -> NDArray[np.float32]:
    """The depth [H, W] of points [n, 3] in the camera's frame, NaN where none falls.

    The nearest of those in a pixel wins. A sparse cloud lets points behind a surface through between those on it:
    where the ones around it, at the distance that the points have, are clearly nearer, a point is left out.
    """
    depth = np.full(camera.height * camera.width, np.inf, np.float32)
    pixels = np.nan_to_num(np.floor(camera.project(points)), nan=-1.0)
    u, v = pixels.T
    is_inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    target = (v[is_inside] * camera.width + u[is_inside]).astype(np.int64)
    np.minimum.at(depth, target, points[is_inside, 2].astype(np.float32))
    depth = depth.reshape(camera.height, camera.width)
    is_hit = np.isfinite(depth)
    if is_hit.any():
        reach = _spacing(is_hit)
        nearest = cv2.erode(depth, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        with np.errstate(invalid="ignore"):
            is_hit &= depth < (1.0 + OCCLUDED) * nearest
    return np.where(is_hit, depth, np.float32(np.nan)).astype(np.float32)


def _spacing(is_hit: NDArray[np.bool_]) -> int:
    """How many pixels apart the points lie where there are some, 1 to MAX_SPACING."""
    window = 2 * MAX_SPACING + 1
    density = cv2.blur(is_hit.astype(np.float32), (window, window))
    return int(np.clip(np.rint(1.0 / np.sqrt(np.median(density[is_hit]))), 1, MAX_SPACING))
