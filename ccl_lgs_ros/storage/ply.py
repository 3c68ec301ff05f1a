# SPDX-License-Identifier: Apache-2.0
"""Gaussians as the .ply that every 3DGS viewer opens, ours and those of other programs.

Properties: x y z, nx ny nz (zero), f_dc_*, f_rest_* (all of red, then green, then blue), opacity (logit),
scale_* (log), rot_* (wxyz).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.durable import disk_errors
from ccl_lgs_ros.structures import Gaussians

SH_SIZES = (1, 4, 9, 16)  # coefficients per colour of degrees 0 to 3

_MEANS = ["x", "y", "z"]
_NORMALS = ["nx", "ny", "nz"]
_DC = ["f_dc_0", "f_dc_1", "f_dc_2"]
_OPACITY = ["opacity"]
_SCALES = ["scale_0", "scale_1", "scale_2"]
_QUATS = ["rot_0", "rot_1", "rot_2", "rot_3"]
_REQUIRED = [*_MEANS, *_DC, *_OPACITY, *_SCALES, *_QUATS]
_NATIVE_HEADER = b"ply\nformat binary_little_endian 1.0\n"
_MAX_HEADER = 65536  # bytes
_COUNT = re.compile(r"[0-9]{1,12}")
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_KINDS = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
_ROWS_AT_ONCE = 16384  # so that writing needs little memory besides the map


def write_splat(path: Path, gaussians: Gaussians) -> None:
    """Write Gaussians as a binary .ply.

    Raises:
        MapError: if the disk does not take it.
    """
    n, size = gaussians.sh.shape[:2]
    properties = "".join(f"property float {name}\n" for name in _names(size))
    columns = {name: tensor.detach().cpu() for name, tensor in gaussians.tensors().items()}
    with disk_errors("write", path), path.open("wb") as file:
        file.write(_NATIVE_HEADER + f"element vertex {n}\n{properties}end_header\n".encode())
        for first in range(0, n, _ROWS_AT_ONCE):
            part = {name: column[first : first + _ROWS_AT_ONCE] for name, column in columns.items()}
            file.write(_rows(Gaussians(**part)))


def read_splat(path: Path | str) -> Gaussians:
    """The Gaussians of a .ply of any 3DGS program; mapped, not read, where it is written as ours are.

    Raises:
        MapError: if the file is missing, damaged or holds no Gaussians, naming what it lacks.
    """
    path = Path(path)
    with disk_errors("read", path):
        header = _header(path)
        names = header.names
        missing = [name for name in _REQUIRED if name not in names]
        if missing:
            raise MapError(f"{path} holds no Gaussians: it lacks {', '.join(missing)}; give the .ply of a 3DGS program")
        num_rest = sum(name.startswith("f_rest_") for name in names)
        has_all = all(f"f_rest_{i}" in names for i in range(num_rest))
        if num_rest % 3 or num_rest // 3 + 1 not in SH_SIZES or not has_all:
            raise MapError(f"{path} has {num_rest} properties f_rest_*; 3DGS has 0, 9, 24 or 45, numbered from 0")
        rows = _vertices(path, header)
    return Gaussians(
        means=_columns(rows, names, _MEANS),
        quats=_columns(rows, names, _QUATS),
        log_scales=_columns(rows, names, _SCALES),
        logit_opacities=_columns(rows, names, _OPACITY)[:, 0],
        sh=_harmonics(rows, names, num_rest),
    )


def _rows(gaussians: Gaussians) -> bytes:
    """The vertices as they lie in the file."""
    n, size = gaussians.sh.shape[:2]
    rest = gaussians.sh[:, 1:].transpose(1, 2).reshape(n, 3 * (size - 1))
    columns = [
        gaussians.means,
        torch.zeros(n, len(_NORMALS)),
        gaussians.sh[:, 0],
        rest,
        gaussians.logit_opacities[:, None],
        gaussians.log_scales,
        gaussians.quats,
    ]
    rows = torch.cat([column.float() for column in columns], dim=1)
    return rows.numpy().astype("<f4", copy=False).tobytes()


def _names(sh_size: int) -> list[str]:
    rest = [f"f_rest_{i}" for i in range(3 * (sh_size - 1))]
    return [*_MEANS, *_NORMALS, *_DC, *rest, *_OPACITY, *_SCALES, *_QUATS]


def _harmonics(rows: Tensor, names: list[str], num_rest: int) -> Tensor:
    dc = _columns(rows, names, _DC)[:, None, :]
    if num_rest == 0:
        return dc
    rest = _columns(rows, names, [f"f_rest_{i}" for i in range(num_rest)])
    return torch.cat([dc, rest.reshape(len(rows), 3, num_rest // 3).transpose(1, 2)], dim=1)


def _columns(rows: Tensor, names: list[str], wanted: list[str]) -> Tensor:
    """Columns by name: a view where they lie side by side, as they do in practice."""
    at = [names.index(name) for name in wanted]
    if at == list(range(at[0], at[0] + len(at))):
        return rows[:, at[0] : at[0] + len(at)]
    return rows[:, at]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """What a .ply announces of its vertices."""

    order: str  # of bytes, as numpy has it; "" = text
    count: int
    names: list[str]  # of the properties
    kinds: list[str]  # as numpy has them
    offset: int  # of the first vertex, in bytes


def _header(path: Path) -> _Header:
    """The header; raises MapError unless the file is as large as it says, so that lies reserve no memory."""
    with path.open("rb") as file:
        head = file.read(_MAX_HEADER)
    end = head.find(b"end_header")
    offset = head.find(b"\n", end) + 1
    if not head.startswith(b"ply") or end < 0 or not offset:
        raise MapError(_unreadable(path, "it has no header"))
    lines = [line.split() for line in head[:end].decode("ascii", "replace").splitlines()]
    said = [line for line in lines if line and line[0] in ("format", "element", "property")]
    elements = [number for number, line in enumerate(said) if line[0] == "element"]
    if not said or said[0][0] != "format" or said[0][1:2] not in (["ascii"], *([name] for name in _ORDERS)):
        raise MapError(_unreadable(path, "its format is unknown"))
    vertex = said[1] if elements[:1] == [1] else []
    if len(vertex) != 3 or vertex[1] != "vertex" or not _COUNT.fullmatch(vertex[2]):
        raise MapError(_unreadable(path, "it does not begin with vertices"))
    properties = said[2 : elements[1] if len(elements) > 1 else None]
    if any(len(line) != 3 or line[1] not in _KINDS for line in properties):
        raise MapError(_unreadable(path, "its vertices have properties of an unknown kind"))
    kinds, order, count = [_KINDS[line[1]] for line in properties], _ORDERS.get(said[0][1], ""), int(vertex[2])
    row_size = sum(int(kind[1]) for kind in kinds) if order else 2 * len(kinds)  # a digit and a space at least
    if path.stat().st_size < offset + count * row_size - (not order):
        raise MapError(
            f"{path} is cut short: it announces {count} Gaussians; restore it from a copy, or build it again"
        )
    return _Header(order=order, count=count, names=[line[2] for line in properties], kinds=kinds, offset=offset)


def _vertices(path: Path, header: _Header) -> Tensor:
    """The properties of each vertex as float32 [N, P]: mapped where the file holds nothing but these."""
    shape = (header.count, len(header.names))
    if header.count == 0:
        return torch.zeros(shape)
    if not header.order:
        return torch.from_numpy(_text_rows(path, header).reshape(shape))
    if header.order == "<" and set(header.kinds) == {"f4"}:
        # Copy on write: torch wants memory that it may write to, and the file stays as it is.
        return torch.from_numpy(np.memmap(path, "<f4", mode="c", offset=header.offset, shape=shape))
    fields = np.dtype([(str(i), header.order + kind) for i, kind in enumerate(header.kinds)])
    rows = np.memmap(path, fields, mode="r", offset=header.offset, shape=(header.count,))
    return torch.from_numpy(np.stack([rows[name].astype(np.float32) for name in fields.names or ()], axis=1))


def _text_rows(path: Path, header: _Header) -> NDArray[np.float32]:
    try:
        with path.open("rb") as file:
            file.seek(header.offset)
            return np.loadtxt(file, np.float32, comments=None, max_rows=header.count, encoding="ascii", ndmin=2)
    except ValueError as error:
        raise MapError(_unreadable(path, " ".join(str(error).split()))) from error


def _unreadable(path: Path, why: str) -> str:
    return f"{path} is no readable .ply: {why}; restore it from a copy, or export it again"
