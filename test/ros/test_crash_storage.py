# SPDX-License-Identifier: Apache-2.0
"""A writer is killed at every step and at any moment: what it was told is safe is there, and the next one goes on."""

import itertools
import json
import os
import random
import shutil
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from ros.crashing import Writers, keyframe, notes_of, small_map

from ccl_lgs_ros.storage.checkpoint import FileCheckpoint
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load

KILLS = 100
MAKING = 50  # steps in which a writer makes what a new map needs, at most
CHAIN = 8  # writers that are killed over the same map
LONGEST = 0.06  # seconds that a writer lives on after its first version


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    writers = Writers()
    yield writers
    writers.close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk that takes no time, where there is one: what matters is the order of the steps."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def notes(path: Path) -> list[dict[str, Any]]:
    """What the writers were told, the oldest first."""
    file = notes_of(path)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def latest(facts: list[dict[str, Any]], name: str) -> Any:
    return max((fact[name] for fact in facts if name in fact), default=0)


def assert_all_is_there(path: Path, kills: int = 1) -> int:
    """Every noted keyframe, correction, version, checkpoint and copy is whole; the keyframes that were noted.

    A kill leaves at most one thing of a kind that was stored and not told yet.
    """
    facts = notes(path)
    if not facts:
        return 0
    directory = MapDirectory.open(path)
    assert_whole(directory, latest(facts, "version"))
    store = KeyframeStore(directory)
    told = {fact["keyframe"]: fact["crc"] for fact in facts if "keyframe" in fact}
    assert len(told) <= len(store) <= len(told) + kills
    for number, crc in told.items():
        entry = store.entries[number]
        assert crc == [zlib.crc32((store.path / name).read_bytes()) for name in entry.file_names]
    for number in {*list(told)[:1], len(store) - 1} - {-1}:
        assert store[number].stamp_ns == number and (store[number].depth is None) == (number % 2 == 0)
    revision = latest(facts, "revision")
    assert revision <= store.revision <= revision + kills
    for number, entry in enumerate(store.entries[:3]):
        moved = entry.revision > 0
        assert entry.world_from_camera[2, 3] == (store.revision if moved else 0), number
    reached = FileCheckpoint(path / "work.safetensors", "work").load().get("reached", torch.tensor(0))
    assert latest(facts, "reached") <= reached <= latest(facts, "reached") + kills
    copied = [fact for fact in facts if "copied" in fact]
    if copied:
        copy = MapDirectory.open(path.with_name("copy"))
        assert_whole(copy, copied[-1]["copied"])
        kept = KeyframeStore(copy)
        assert len(kept) >= copied[-1]["keyframes"]
        assert (kept[len(kept) - 1].image.shape) == keyframe(0).image.shape
    return len(told)


def assert_whole(directory: MapDirectory, told: int) -> None:
    """Every version is what was published under its number; the newest is not older than what was told."""
    assert directory.newest_version() >= told
    for version in directory.versions():
        found, expected = load(directory, version), small_map(version)
        assert torch.equal(found.gaussians.means, expected.gaussians.means), version
        assert torch.equal(found.levels["wp"].confidence, expected.levels["wp"].confidence), version


def leftovers(path: Path) -> list[Path]:
    return [entry for entry in path.parent.rglob(".tmp-*") if "copy" not in entry.parts[:-1]]


def test_row_26_and_27_a_writer_killed_a_hundred_times_loses_nothing(
    writers: Writers, tmp_path: Path, record_property: Any
) -> None:
    moments, num_keyframes, num_versions = random.Random(0), 0, 0
    for round in range(KILLS // 10):
        path = tmp_path / str(round) / "map"
        path.parent.mkdir()
        for kills in range(1, 11):
            before = latest(notes(path), "version")
            pid = writers.begin(path, endless=1)
            while latest(notes(path), "version") == before:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, LONGEST))
            os.kill(pid, signal.SIGKILL)
            assert writers.end() == -signal.SIGKILL
            told = assert_all_is_there(path, kills)
        num_keyframes += told
        num_versions += latest(notes(path), "version")
        assert writers.run(path) == 0
        assert not leftovers(path), "what killed writers left is gone after the next one"
        shutil.rmtree(path.parent)
    assert num_keyframes >= KILLS and num_versions >= KILLS
    record_property("figure", f"{KILLS} kills: 0 of {num_keyframes} keyframes lost, 0 of {num_versions} snapshots torn")


@pytest.mark.parametrize("end", ["kill", "cut"])
def test_row_27_at_no_step_of_writing_does_a_kill_or_a_power_cut_lose_anything(
    writers: Writers, memory: Path, record_property: Any, end: str
) -> None:
    path, kills = memory / "0" / "map", 0
    path.parent.mkdir()
    for last in itertools.count(1):
        if last < MAKING or last % CHAIN == 0:  # else the next writer goes on where this one ended
            assert writers.run(path) == 0, writers.complaint()
            assert_all_is_there(path, kills)
            assert not leftovers(path), last
            shutil.rmtree(path.parent)
            path, kills = memory / str(last) / "map", 0
            path.parent.mkdir()
            if last >= MAKING:
                assert writers.run(path) == 0  # so that a copy of the map is replaced
        code = writers.run(path, **{f"{end}_at": last})
        if code == 0:
            break
        assert code == -signal.SIGKILL, f"at step {last}: {writers.complaint()}"
        kills += 1
        assert_all_is_there(path, kills)
    assert last > MAKING and "copied" in notes(path)[-2], "the last step comes after everything that a writer can do"
    what = {"kill": "killed", "cut": "power cut"}[end]
    record_property("figure", f"{what} at each of {last - 1} steps on the disk: nothing lost, nothing torn")
