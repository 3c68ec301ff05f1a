# SPDX-License-Identifier: Apache-2.0
"""Gaussians written as .ply come back equal, those of other programs are read, and damage is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage import ply
from ccl_lgs_ros.storage.ply import read_splat, write_splat
from ccl_lgs_ros.structures import Gaussians


def some_gaussians(count: int = 7, sh_degree: int = 0) -> Gaussians:
    generator = torch.Generator().manual_seed(count)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=generator)

    return Gaussians(
        means=some(3), quats=some(4), log_scales=some(3), logit_opacities=some(), sh=some((sh_degree + 1) ** 2, 3)
    )


def assert_equal(first: Gaussians, second: Gaussians) -> None:
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, second.tensors()[name]), name


@pytest.mark.parametrize("sh_degree", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_what_is_written_is_read(tmp_path: Path, count: int, sh_degree: int) -> None:
    gaussians = some_gaussians(count, sh_degree)
    write_splat(tmp_path / "a.ply", gaussians)
    assert_equal(gaussians, read_splat(tmp_path / "a.ply"))


@pytest.mark.parametrize("rows_at_once", [1, 3, 7, 8])
def test_a_file_written_in_pieces_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    write_splat(tmp_path / "whole.ply", some_gaussians(sh_degree=2))
    monkeypatch.setattr(ply, "_ROWS_AT_ONCE", rows_at_once)
    write_splat(tmp_path / "pieces.ply", some_gaussians(sh_degree=2))
    assert (tmp_path / "pieces.ply").read_bytes() == (tmp_path / "whole.ply").read_bytes()


def test_viewers_find_the_properties_that_3dgs_writes(tmp_path: Path) -> None:
    gaussians = some_gaussians(5, sh_degree=1)
    write_splat(tmp_path / "a.ply", gaussians)
    vertex = PlyData.read(str(tmp_path / "a.ply"))["vertex"]
    begin, end = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2", "opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3"
    rest = " ".join(f"f_rest_{i}" for i in range(9))
    assert " ".join(p.name for p in vertex.properties) == f"{begin} {rest} {end}"
    # All coefficients of red come first, then green, then blue.
    assert np.array_equal(vertex["f_rest_1"], gaussians.sh[:, 2, 0].numpy())
    assert np.array_equal(vertex["f_rest_3"], gaussians.sh[:, 1, 1].numpy())
    assert np.array_equal(vertex["rot_0"], gaussians.quats[:, 0].numpy())


@pytest.mark.parametrize("is_text", [False, True])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_files_of_other_programs_are_read_whatever_their_order(tmp_path: Path, is_text: bool, byte_order: str) -> None:
    gaussians = some_gaussians(6, sh_degree=1)
    write_splat(tmp_path / "a.ply", gaussians)
    known = PlyData.read(str(tmp_path / "a.ply"))["vertex"]
    names = [p.name for p in known.properties if not p.name.startswith("n")][::-1]
    rows = np.empty(6, [("flag", "u1"), *((name, "f8" if name == "opacity" else "f4") for name in names)])
    rows["flag"] = 1
    for name in names:
        rows[name] = known[name]
    other = PlyData([PlyElement.describe(rows, "vertex")], text=is_text, byte_order=byte_order, comments=["foreign"])
    other.write(str(tmp_path / "b.ply"))
    assert_equal(gaussians, read_splat(tmp_path / "b.ply"))


def test_reading_maps_the_file_and_never_changes_it(tmp_path: Path) -> None:
    write_splat(tmp_path / "a.ply", some_gaussians())
    before = (tmp_path / "a.ply").read_bytes()
    read = read_splat(tmp_path / "a.ply")
    read.means.zero_()
    assert (tmp_path / "a.ply").read_bytes() == before


def test_a_point_cloud_is_no_splat(tmp_path: Path) -> None:
    rows = np.zeros(3, [("x", "f4"), ("y", "f4"), ("z", "f4")])
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(tmp_path / "a.ply"))
    with pytest.raises(MapError, match="lacks f_dc_0"):
        read_splat(tmp_path / "a.ply")


def test_harmonics_of_no_degree_are_refused(tmp_path: Path) -> None:
    write_splat(tmp_path / "a.ply", some_gaussians(sh_degree=1))
    content = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(content.replace(b"f_rest_8", b"unknown8"))
    with pytest.raises(MapError, match="f_rest"):
        read_splat(tmp_path / "a.ply")


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b[:40], lambda b: b"", lambda b: b"nonsense" * 50])
def test_a_damaged_file_is_named(tmp_path: Path, damage) -> None:
    path = tmp_path / "a.ply"
    write_splat(path, some_gaussians())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MapError, match=r"a\.ply"):
        read_splat(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MapError, match=r"a\.ply"):
        read_splat(tmp_path / "a.ply")
