# SPDX-License-Identifier: Apache-2.0
"""A process that forks writers of a map, warm ones, so that a hundred may be killed in seconds; run by `Writers`.

A writer notes each thing in a file as soon as it is told that it is safe: what is noted must survive.
"""

import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ros.power_cut import Unsynced

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.storage import map_copy
from ccl_lgs_ros.storage.checkpoint import FileCheckpoint
from ccl_lgs_ros.storage.durable import exchange
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish
from ccl_lgs_ros.structures import Codebook, Gaussians, SemanticLevel, SemanticMap

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 32, 24
CAMERA = Camera(width=WIDTH, height=HEIGHT, fx=30.0, fy=30.0, cx=WIDTH / 2, cy=HEIGHT / 2)
EVENTS = {"open", "os.rename", "os.truncate", "os.mkdir", "os.remove", "os.rmdir", "shutil.copyfile", "shutil.rmtree"}


def keyframe(number: int) -> Keyframe:
    """One whose pixels follow from its number."""
    generator = np.random.default_rng(number)
    return Keyframe(
        id=0,
        stamp_ns=number,
        camera=CAMERA,
        world_from_camera=rigid(np.eye(3), np.array([float(number), 0.0, 0.0])),
        image=generator.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
        depth=np.full((HEIGHT, WIDTH), 1.0 + number / 1000, np.float32) if number % 2 else None,
    )


def small_map(number: int) -> SemanticMap:
    """One whose Gaussians follow from its number."""
    count, generator = 40 + number % 7, torch.Generator().manual_seed(number)
    level = SemanticLevel(
        track_of_gaussian=torch.zeros(count, dtype=torch.int32),
        confidence=torch.full((count,), number % 256, dtype=torch.uint8),
        entry_of_track=torch.zeros(1, dtype=torch.int64),
        codebook=Codebook(entries=torch.ones(1, 4), weight=torch.ones(1)),
    )
    gaussians = Gaussians(
        means=torch.randn(count, 3, generator=generator),
        quats=torch.ones(count, 4),
        log_scales=torch.zeros(count, 3),
        logit_opacities=torch.zeros(count),
        sh=torch.zeros(count, 1, 3),
    )
    return SemanticMap(gaussians=gaussians, levels=dict.fromkeys(LEVELS, level), encoder="builtin/1")


class Writer:
    """What a writer does to a map, noting what it was told.

    Args:
        path: of the map; its notes lie beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.copy = path, path.with_name("copy")
        self.notes = os.open(notes_of(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.directory = MapDirectory.open_or_create(path)
        self.store = KeyframeStore(self.directory, writable=True)
        self.checkpoint = FileCheckpoint(path / "work.safetensors", "work")

    def note(self, **fact: Any) -> None:
        os.write(self.notes, (json.dumps(fact) + "\n").encode())

    def append(self) -> None:
        number = len(self.store)
        assert self.store.append(keyframe(number))
        names = self.store.entries[-1].file_names
        self.note(keyframe=number, crc=[zlib.crc32((self.store.path / name).read_bytes()) for name in names])

    def publish(self) -> None:
        self.note(version=publish(self.directory, small_map(self.directory.newest_version() + 1)).version)

    def save(self) -> None:
        map_copy.copy_map(self.directory, self.copy, include_keyframes=True, overwrite=True)
        self.note(copied=self.directory.newest_version(), keyframes=len(self.store))

    def correct(self) -> None:
        revision = self.store.revision + 1
        pose = rigid(np.eye(3), np.array([0.0, 0.0, float(revision)]))
        assert self.store.correct({("", number): pose for number in range(min(3, len(self.store)))})
        self.note(revision=revision)

    def keep(self) -> None:
        reached = int(self.checkpoint.load().get("reached", torch.tensor(0))) + 1
        self.checkpoint.save({"reached": torch.tensor(reached)})
        self.note(reached=reached)

    def close(self) -> None:
        self.store.close()
        self.directory.release()

    def once(self) -> None:
        """Everything that a writer can do, in turn."""
        for act in (self.append, self.publish, self.correct, self.keep, self.save):
            act()


def notes_of(path: Path) -> Path:
    """Where the writers of a map note what they were told: on a disk that nothing happens to."""
    return path.parent.with_name(f"{path.parent.name}.notes")


class Steps:
    """Counts the steps that this process takes on the disk, and lets one of them be the last, or the last that works.

    Args:
        root: steps elsewhere are not counted.
        plan: kill_at, cut_at: the step before which this process is killed, or the power is cut; fail_at: the first of
            those that fail with an error of that number.
    """

    def __init__(self, root: Path, plan: dict[str, Any]) -> None:
        self.count, self.plan = 0, plan
        self._root, self._unsynced, self._sync = f"{root}/", Unsynced(root), os.fsync
        self._is_over = False
        os.fsync = self._synced
        map_copy.exchange = self._exchanged
        sys.addaudithook(self._heard)

    def step(self) -> None:
        """The next step begins."""
        self.count += 1
        if self.count in (self.plan.get("kill_at"), self.plan.get("cut_at")):
            self._is_over = True
            if "cut_at" in self.plan:
                self._unsynced.lose()
            os.kill(os.getpid(), signal.SIGKILL)
        if 0 < self.plan.get("fail_at", 0) <= self.count:
            raise OSError(self.plan["number"], os.strerror(self.plan["number"]))

    def _synced(self, descriptor: int) -> None:
        self.step()
        self._sync(descriptor)
        self._unsynced.synced(descriptor)

    def _exchanged(self, first: Path, second: Path) -> None:
        self.step()
        exchange(first, second)

    def _heard(self, event: str, arguments: tuple) -> None:
        if self._is_over or event not in EVENTS or not str(arguments[0]).startswith(self._root):
            return
        if event == "open" and not int(arguments[2]) & (os.O_WRONLY | os.O_RDWR):
            return
        self.step()
        if event == "open":
            self._unsynced.opened(str(arguments[0]), int(arguments[2]))
        elif event == "os.mkdir":
            self._unsynced.made(str(arguments[0]))
        elif event == "os.rename":
            self._unsynced.renamed(str(arguments[0]), str(arguments[1]))


def work(path: str, plan: dict[str, Any]) -> None:
    """Write to a map until the plan ends this process, or once everything that a writer can do.

    The plan may also be to check that all is there after so many ends, to run a command, to forget the copies, or to
    hold the locks until it is killed.
    """
    if "check" in plan:
        from ros.whole_map import assert_all_is_there

        assert_all_is_there(Path(path), plan["check"])
        return
    if "shell" in plan:
        subprocess.run(plan["shell"], shell=True, check=True)
        if "forget" in plan:
            notes = notes_of(Path(path))
            notes.write_text("".join(line for line in notes.open() if "copied" not in line))
        return
    steps = Steps(Path(path).parent, plan)
    writer = Writer(Path(path))
    writer.once()
    if "hold" in plan:
        writer.directory.lock("snapshots")
        writer.note(held=os.getpid())
        signal.pause()
    while "endless" in plan:
        writer.once()
    writer.close()
    writer.note(steps=steps.count)


def serve() -> None:
    """Fork a writer for each line of standard input; say its id, how it ended and what it complained of."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        heard, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                work(*json.loads(line))
                os._exit(0)
            except Exception as error:
                os.write(said, f"{type(error).__name__}: {error}".encode()[:4096])
                os._exit(3)
        os.close(said)
        print(pid, flush=True)
        status = os.waitpid(pid, 0)[1]
        with open(heard, "rb") as file:
            print(json.dumps([os.waitstatus_to_exitcode(status), file.read().decode()]), flush=True)


class Writers:
    """Writers of maps, one at a time, each a process that may be killed.

    Args:
        command: that runs the command which follows, in surroundings of its own.
    """

    def __init__(self, *command: str) -> None:
        self.complaint = ""  # the error that the last writer ended with
        self._server = subprocess.Popen(
            [*command, sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "test")])},
        )

    def begin(self, path: Path, **plan: Any) -> int:
        """Start a writer; its process id."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps([str(path), plan]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def end(self) -> int:
        """Wait for the writer; its exit code, negative where a signal killed it."""
        assert self._server.stdout is not None
        code, self.complaint = json.loads(self._server.stdout.readline())
        return code

    def run(self, path: Path, **plan: Any) -> int:
        """A writer from its start to its end; its exit code."""
        self.begin(path, **plan)
        return self.end()

    def close(self) -> None:
        """End the process that forks."""
        self._server.kill()
        self._server.wait()


if __name__ == "__main__":
    serve()
