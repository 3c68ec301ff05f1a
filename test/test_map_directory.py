# SPDX-License-Identifier: Apache-2.0
"""The map directory refuses what is not its own, has one writer, and publishes folders whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.map_directory import FORMAT_VERSION, KEPT_SNAPSHOTS, MapDirectory


def one_sentence(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def write_number(folder: Path, version: int) -> None:
    (folder / "number").write_text(str(version))


def test_a_map_that_was_made_is_opened_as_the_same_map(tmp_path: Path) -> None:
    made = MapDirectory.create(tmp_path / "a" / "map")
    opened = MapDirectory.open(tmp_path / "a" / "map")
    assert (opened.map_id, opened.created) == (made.map_id, made.created)
    assert MapDirectory.open_or_create(tmp_path / "a" / "map").map_id == made.map_id


def test_a_missing_map_is_named_with_the_command_that_builds_one(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="ccl-lgs map") as error:
        MapDirectory.open(tmp_path / "nowhere")
    one_sentence(error)


@pytest.mark.parametrize("opener", [MapDirectory.open, MapDirectory.create, MapDirectory.open_or_create])
def test_a_foreign_folder_is_refused_and_left_as_it_was(tmp_path: Path, opener) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(MapError) as error:
        opener(tmp_path)
    assert str(tmp_path) in one_sentence(error)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("opener", [MapDirectory.open, MapDirectory.create, MapDirectory.open_or_create])
def test_a_file_is_no_map(tmp_path: Path, opener) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(MapError, match="is a file") as error:
        opener(tmp_path / "file")
    one_sentence(error)


@pytest.mark.parametrize("content", ["{", "[]", '"text"', '{"format": "other", "format_version": 1}', "\x00\xff"])
def test_a_map_json_that_is_not_ours_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "map.json").write_text(content)
    for opener in (MapDirectory.open, MapDirectory.open_or_create):
        with pytest.raises(MapError, match="not a map of ours") as error:
            opener(tmp_path)
        one_sentence(error)


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, FORMAT_VERSION - 1])
def test_a_map_of_another_format_version_is_refused_and_left_as_it_was(tmp_path: Path, version: int) -> None:
    MapDirectory.create(tmp_path / "map")
    identity = json.loads((tmp_path / "map" / "map.json").read_text())
    changed = json.dumps({**identity, "format_version": version})
    (tmp_path / "map" / "map.json").write_text(changed)
    for opener in (MapDirectory.open, MapDirectory.open_or_create, MapDirectory.create):
        with pytest.raises(MapError) as error:
            opener(tmp_path / "map")
        one_sentence(error)
    with pytest.raises(MapError, match=f"format version {version}"):
        MapDirectory.open(tmp_path / "map")
    assert (tmp_path / "map" / "map.json").read_text() == changed


def test_a_disk_that_is_read_only_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = MapDirectory.create(tmp_path / "map")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(MapError, match="read-only file system; make it writable") as error:
        directory.publish(write_number)
    one_sentence(error)
    assert directory.versions() == []


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    first, second = MapDirectory.create(tmp_path), MapDirectory.open(tmp_path)
    lock = first.lock("keyframes")
    assert first.lock("keyframes") is lock
    with pytest.raises(MapError, match=f"process {os.getpid()}") as error:
        second.lock("keyframes")
    one_sentence(error)
    lock.release()
    second.lock("keyframes")


def test_keyframes_and_snapshots_have_writers_of_their_own(tmp_path: Path) -> None:
    first, second = MapDirectory.create(tmp_path), MapDirectory.open(tmp_path)
    first.lock("keyframes")
    assert second.publish(write_number) == 1
    with first.locked("snapshots"), pytest.raises(MapError):
        second.publish(write_number)
    assert second.publish(write_number) == 2


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    MapDirectory.create(tmp_path)
    code = (
        "import sys, time; from ccl_lgs_ros.storage.map_directory import MapDirectory;"
        "d = MapDirectory.open(sys.argv[1]); d.lock('snapshots'); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(MapError, match=f"process {holder.pid}"):
            MapDirectory.open(tmp_path).lock("snapshots")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    MapDirectory.open(tmp_path).lock("snapshots")


def test_versions_count_up_and_only_the_newest_stay(tmp_path: Path) -> None:
    directory = MapDirectory.create(tmp_path)
    assert directory.newest_version() == 0
    assert [directory.publish(write_number) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert directory.versions() == [1, 2, 3, 4, 5][-KEPT_SNAPSHOTS:]
    assert (directory.snapshot_path(5) / "number").read_text() == "5"
    assert len(list(directory.snapshots_path.iterdir())) == KEPT_SNAPSHOTS


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    directory = MapDirectory.create(tmp_path)
    directory.publish(write_number)

    def fail(folder: Path, version: int) -> None:
        write_number(folder, version)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        directory.publish(fail)
    assert [p.name for p in directory.snapshots_path.iterdir()] == ["000001"]


def test_a_full_disk_is_named_and_the_map_is_as_before(tmp_path: Path) -> None:
    directory = MapDirectory.create(tmp_path)
    directory.publish(write_number)

    def fill(folder: Path, version: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(MapError, match="the disk is full") as error:
        directory.publish(fill)
    one_sentence(error)
    assert directory.versions() == [1]


def write_parts(folder: Path, version: int) -> None:
    for part in range(20):
        (folder / str(part)).write_text(str(version) * 1000)


PUBLISHER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_map_directory import MapDirectory, write_parts
directory = MapDirectory.open(sys.argv[1])
while True:
    print(directory.publish(write_parts), flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.011, 0.029, 0.05])
def test_killing_the_publisher_loses_no_published_version(tmp_path: Path, delay: float) -> None:
    directory = MapDirectory.create(tmp_path)
    for _ in range(2):
        command = [sys.executable, "-c", PUBLISHER, str(tmp_path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as publisher:
            assert publisher.stdout is not None
            publisher.stdout.readline()
            time.sleep(delay)
            publisher.send_signal(signal.SIGKILL)
            told = [int(line) for line in publisher.stdout.read().split()]
        newest = directory.newest_version()
        assert newest >= max(told, default=1)
        for version in directory.versions():
            parts = sorted(directory.snapshot_path(version).iterdir())
            assert len(parts) == 20
            assert all(part.read_text() == str(version) * 1000 for part in parts)
        assert directory.publish(write_parts) == newest + 1
        assert all(not p.name.startswith(".tmp") for p in directory.snapshots_path.iterdir())
