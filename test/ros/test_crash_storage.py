# SPDX-License-Identifier: Apache-2.0
"""A writer is killed at every step and at any moment: what it was told is safe is there, and the next one goes on."""

import errno
import itertools
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ros.crashing import Writers, notes_of
from ros.whole_map import assert_all_is_there, latest, notes

TROUBLES = (  # a number of an error, of how many steps one is tried, what the sentence says
    (errno.ENOSPC, 2, "the disk is full; free some space"),
    (errno.EROFS, 7, "make it writable or choose another place"),
    (errno.EIO, 11, "check the disk and the path"),
)
KILLS = 100
MAKING = 30  # steps in which a writer makes what a new map needs, at most
CHAIN = 8  # writers that are killed over the same map
LONGEST = 0.06  # seconds that a writer lives on after its first version


def small_disk(folder: Path) -> list[str]:
    """A command that runs another one with a real disk of half a megabyte in a folder, which nobody else sees."""
    mount = f'mount -t tmpfs -o size=500k none {folder} && cd {folder} && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]


def can_mount() -> bool:
    """Whether this machine lets us; containers and hardened systems do not."""
    with TemporaryDirectory() as folder:
        try:
            return subprocess.run([*small_disk(Path(folder)), "true"], capture_output=True).returncode == 0
        except FileNotFoundError:
            return False


DISKS = [small_disk] if can_mount() else []


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


def leftovers(path: Path) -> list[Path]:
    return [entry for entry in path.parent.rglob(".tmp-*") if "copy" not in entry.parts[:-1]]


def test_row_26_a_writer_killed_a_hundred_times_loses_nothing(
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
            assert writers.run(path) == 0, writers.complaint
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
        assert code == -signal.SIGKILL, f"at step {last}: {writers.complaint}"
        kills += 1
        assert_all_is_there(path, kills)
    assert last > MAKING and "copied" in notes(path)[-2], "the last step comes after everything that a writer can do"
    what = {"kill": "killed", "cut": "power cut"}[end]
    record_property("figure", f"{what} at each of {last - 1} steps on the disk: nothing lost, nothing torn")


@pytest.mark.parametrize(("number", "every", "text"), TROUBLES)
def test_row_27_trouble_with_the_disk_at_any_step_is_one_sentence_and_leaves_the_map_as_it_was(
    writers: Writers, memory: Path, record_property: Any, number: int, every: int, text: str
) -> None:
    sound, path, troubles = memory / "sound" / "map", memory / "disk" / "map", 0
    sound.parent.mkdir()
    assert writers.run(sound) == 0
    for first in itertools.count(1, every):
        shutil.copytree(sound.parent, path.parent)
        shutil.copy(notes_of(sound), notes_of(path))
        code = writers.run(path, fail_at=first, number=number)
        assert_all_is_there(path)
        if code == 0:
            break
        said = writers.complaint
        assert code == 3 and said.startswith("MapError") and "; " in said, f"at step {first}: {said}"
        assert text in said, f"at step {first}: {said}"
        assert writers.run(path) == 0 and not leftovers(path), f"when step {first} works again: {writers.complaint}"
        shutil.rmtree(path.parent)
        troubles += 1
    assert troubles > 40 // every
    record_property("figure", f"{os.strerror(number)}, from {troubles} steps on: nothing lost, every error named")


@pytest.mark.parametrize("disk", DISKS)
def test_row_27_a_disk_that_is_full_and_then_read_only(tmp_path: Path, disk: Callable[[Path], list[str]]) -> None:
    path = tmp_path / "disk" / "map"
    path.parent.mkdir()
    writers = Writers(*disk(path.parent))
    try:
        for _ in range(2):
            assert writers.run(path, endless=1) == 3
            assert "the disk is full; free some space" in writers.complaint
            assert writers.run(path, check=3) == 0, writers.complaint
            assert writers.run(path, shell=f"rm -r {path.with_name('copy')}", forget=1) == 0
            assert writers.run(path) == 0, "room was made: " + writers.complaint
        assert writers.run(path, shell=f"mount -o remount,ro {path.parent}") == 0
        assert writers.run(path, check=3) == 0, writers.complaint
        assert writers.run(path) == 3
        assert "read-only file system; make it writable or choose another place" in writers.complaint
    finally:
        writers.close()
