# SPDX-License-Identifier: Apache-2.0
"""Gaussians as the .ply that every 3DGS viewer opens, ours and those of other programs.

Properties: x y z, nx ny nz (zero), f_dc_*, f_rest_* (all of red, then green, then blue), opacity (logit),
scale_* (log), rot_* (wxyz).
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from plyfile import PlyData, PlyParseError
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
        rows, names = _mapped(path) or _parsed(path)
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise MapError(f"{path} holds no Gaussians: it lacks {', '.join(missing)}; give the .ply of a 3DGS program")
    num_rest = sum(name.startswith("f_rest_") for name in names)
    if num_rest % 3 or num_rest // 3 + 1 not in SH_SIZES:
        raise MapError(f"{path} has {num_rest} properties f_rest_*; 3DGS has 0, 9, 24 or 45 of them")
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


def _mapped(path: Path) -> tuple[Tensor, list[str]] | None:
    """Rows and property names of a file of nothing but little-endian float vertices; None for any other."""
    with path.open("rb") as file:
        head = file.read(_MAX_HEADER)
    end = head.find(b"end_header\n")
    if not head.startswith(_NATIVE_HEADER) or end < 0:
        return None
    lines = [line for line in head[:end].decode("ascii", "replace").splitlines() if not line.startswith("comment")]
    count, properties = lines[2].split(), [line.split() for line in lines[3:]]
    is_ours = count[:2] == ["element", "vertex"] and len(count) == 3 and count[2].isdigit()
    if not is_ours or any(len(p) != 3 or p[0] != "property" or p[1] not in ("float", "float32") for p in properties):
        return None
    n, names, offset = int(count[2]), [p[2] for p in properties], end + len(b"end_header\n")
    if path.stat().st_size < offset + 4 * n * len(names):
        raise MapError(f"{path} is cut short: it announces {n} Gaussians; restore it from a copy, or build it again")
    if n == 0:
        return torch.zeros(0, len(names)), names
    # Copy on write: torch wants memory that it may write to, and the file stays as it is.
    rows: NDArray = np.memmap(path, "<f4", mode="c", offset=offset, shape=(n, len(names)))
    return torch.from_numpy(rows), names


def _parsed(path: Path) -> tuple[Tensor, list[str]]:
    try:
        vertices = PlyData.read(str(path))["vertex"]
        names = [p.name for p in vertices.properties]
        scalars = [name for name in names if vertices[name].dtype.kind in "fiu"]
        rows = np.stack([np.asarray(vertices[name], np.float32) for name in scalars], axis=1)
    except (PlyParseError, KeyError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise MapError(f"{path} is no readable .ply ({error}); restore it from a copy, or export it again") from error
    return torch.from_numpy(rows), scalars
