# SPDX-License-Identifier: Apache-2.0
"""One writer at a time, however a map is spelled and its writer ended; those that start together make one map."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ros.crashing import Writers
from ros.whole_map import latest, notes

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_copy import copy_map
from ccl_lgs_ros.storage.map_directory import LOCK_NAMES, MapDirectory

TOGETHER = 8
SPELLINGS: dict[str, Callable[[Path], Path | str]] = {
    "as it is": lambda path: path,
    "with a detour": lambda path: path.parent / "." / "x" / ".." / path.name,
    "relative": lambda path: os.path.relpath(path),
    "through a link": lambda path: path.parent / "link",
    "through a link to its folder": lambda path: path.parent.parent / "folder" / path.name,
}


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[tuple[Writers, int, Path]]:
    """A process that writes keyframes and snapshots of a map without end, its id, and the map."""
    path = tmp_path / "maps" / "map"
    (path.parent / "x").mkdir(parents=True)
    (path.parent / "link").symlink_to(path)
    (tmp_path / "folder").symlink_to(path.parent)
    writers = Writers()
    assert writers.run(path) == 0
    pid = writers.begin(path, hold=1)
    while latest(notes(path), "held") != pid:
        time.sleep(0.02)
    yield writers, pid, path
    writers.close()


def test_row_27_a_second_writer_is_refused_by_any_name_of_the_map_until_the_first_is_gone(
    writer: tuple[Writers, int, Path],
) -> None:
    writers, pid, path = writer
    for spelling, spelled in SPELLINGS.items():
        directory = MapDirectory.open(spelled(path))
        for name in LOCK_NAMES:
            with pytest.raises(MapError, match=rf"written by process {pid} .*; stop it first"):
                directory.lock(name)
        with pytest.raises(MapError, match=f"process {pid}"):
            KeyframeStore(directory, writable=True)
        with pytest.raises(MapError, match=f"process {pid}"):
            directory.publish(lambda folder, version: None)
        assert len(KeyframeStore(directory)) >= 1, f"{spelling}: reading is free"
    other = MapDirectory.create(path.parent / "other")
    with pytest.raises(MapError, match=f"process {pid}"):
        copy_map(other, path, include_keyframes=True, overwrite=True)
    os.kill(pid, signal.SIGKILL)
    assert writers.end() == -signal.SIGKILL
    for spelled in SPELLINGS.values():
        directory = MapDirectory.open(spelled(path))
        for name in LOCK_NAMES:
            directory.lock(name)
        directory.release()


def test_row_26_writers_that_start_together_make_one_map(tmp_path: Path) -> None:
    for attempt in range(20):
        path, ids, ready = tmp_path / str(attempt), [], threading.Barrier(TOGETHER)

        def make(path: Path = path, ids: list[str] = ids, ready: threading.Barrier = ready) -> None:
            ready.wait()
            ids.append(MapDirectory.open_or_create(path).map_id)

        threads = [threading.Thread(target=make) for _ in range(TOGETHER)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ids) == TOGETHER and set(ids) == {MapDirectory.open(path).map_id}
