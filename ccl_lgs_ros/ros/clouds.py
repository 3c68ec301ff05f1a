# SPDX-License-Identifier: Apache-2.0
"""Point clouds as messages, written and read as arrays of bytes: a loop over points would take seconds."""

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

DATATYPES = {
    "int8": PointField.INT8,
    "uint8": PointField.UINT8,
    "int16": PointField.INT16,
    "uint16": PointField.UINT16,
    "int32": PointField.INT32,
    "uint32": PointField.UINT32,
    "float32": PointField.FLOAT32,
    "float64": PointField.FLOAT64,
}


def cloud_message(columns: dict[str, NDArray[Any]], header: Header) -> PointCloud2:
    """Named columns of equal length as a little-endian cloud of height 1, its fields in the columns' order."""
    dtype = np.dtype([(name, column.dtype.newbyteorder("<")) for name, column in columns.items()])
    count = len(next(iter(columns.values())))
    rows = np.empty(count, dtype)
    for name, column in columns.items():
        rows[name] = column
    message = PointCloud2(
        header=header,
        height=1,
        width=count,
        fields=[_field(name, dtype) for name in columns],
        point_step=dtype.itemsize,
        row_step=dtype.itemsize * count,
        is_dense=all(np.isfinite(rows[name]).all() for name in ("x", "y", "z") if name in columns),
    )
    message.data = array("B", rows.tobytes())  # of bytes alone, some versions of rclpy look at each
    return message


def columns_of(message: PointCloud2) -> dict[str, NDArray[Any]]:
    """The columns of a cloud by name; fields of one element each."""
    names = {number: name for name, number in DATATYPES.items()}
    order = ">" if message.is_bigendian else "<"
    dtype = np.dtype(
        {
            "names": [f.name for f in message.fields],
            "formats": [np.dtype(names[f.datatype]).newbyteorder(order) for f in message.fields],
            "offsets": [f.offset for f in message.fields],
            "itemsize": message.point_step,
        }
    )
    rows = np.frombuffer(memoryview(message.data), dtype, count=message.width * message.height)
    return {name: rows[name] for name in dtype.names or ()}


def packed_rgb(colors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Colours [n, 3] in 0 to 1 as RViz wants them: 0x00RRGGBB in the bits of a float32."""
    rgb = (np.clip(colors, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint32)
    return (rgb[:, 0] << 16 | rgb[:, 1] << 8 | rgb[:, 2]).astype(np.uint32).view(np.float32)


def _field(name: str, dtype: np.dtype) -> PointField:
    assert dtype.fields is not None
    kind, offset = dtype.fields[name][:2]
    return PointField(name=name, offset=offset, datatype=DATATYPES[kind.name], count=1)
