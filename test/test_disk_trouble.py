# SPDX-License-Identifier: Apache-2.0
"""A disk that fails half way leaves no trace that later work would trip over."""

import errno
import os
from pathlib import Path

import pytest
from test_keyframe_store import keyframe, writer
from test_map_directory import write_number

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage import keyframe_store, map_copy
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_copy import copy_map
from ccl_lgs_ros.storage.map_directory import MapDirectory


@pytest.fixture
def directory(tmp_path: Path) -> MapDirectory:
    return MapDirectory.create(tmp_path / "map")


def fail(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_half_a_line_that_could_not_be_taken_back_is_written_over(
    directory: MapDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer(directory) as store:
        assert store.append(keyframe(0))
        with monkeypatch.context() as patch:
            real = os.fsync
            patch.setattr(os, "fsync", lambda fd: fail() if "jsonl" in os.readlink(f"/proc/self/fd/{fd}") else real(fd))
            patch.setattr(os, "truncate", fail)
            with pytest.raises(MapError, match="Input/output error"):
                store.append(keyframe(1))
        assert store.append(keyframe(2))
    assert [entry.stamp_ns for entry in KeyframeStore(directory).entries] == [0, 2]


def test_a_list_for_other_tools_that_cannot_be_written_costs_no_keyframe(
    directory: MapDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keyframe_store, "MIN_TRANSFORMS_EVERY", 1)
    monkeypatch.setattr(keyframe_store, "replace_file", fail)
    with writer(directory) as store:
        assert store.append(keyframe(0))
    assert len(KeyframeStore(directory)) == 1
    assert "transforms.json lags behind" in caplog.text


def test_a_disk_that_cannot_swap_folders_keeps_the_map_that_is_there(
    directory: MapDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.publish(write_number)
    copy, _ = copy_map(directory, tmp_path / "copy", include_keyframes=False, overwrite=False)
    directory.publish(write_number)

    def unable(first: Path, second: Path) -> None:
        raise MapError(f"the disk of {second} cannot replace a folder in one step; give a folder that does not exist")

    monkeypatch.setattr(map_copy, "exchange", unable)
    with pytest.raises(MapError, match="give a folder that does not exist"):
        copy_map(directory, copy, include_keyframes=False, overwrite=True)
    assert MapDirectory.open(copy).versions() == [1]
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_file_that_is_being_replaced_is_not_copied(directory: MapDirectory, tmp_path: Path) -> None:
    with writer(directory) as store:
        store.append(keyframe(0))
    (directory.keyframes_path / ".tmp-transforms.json").write_text("{")
    copy, _ = copy_map(directory, tmp_path / "copy", include_keyframes=True, overwrite=False)
    assert not list(copy.rglob(".tmp-*"))
    assert len(KeyframeStore(MapDirectory.open(copy))) == 1
