# SPDX-License-Identifier: Apache-2.0
"""Synthetic rooms that are mapped at most once in a run of the tests, whichever worker asks first.

A test takes the fixture `mapped_room`, calls mapped_room("plain"), and only reads what it gets. With the environment
variable CCL_LGS_MAPPED_ROOMS, a folder, maps stay there for the next run: quick to work with, but not what the code of
today makes.
"""

import fcntl
import os
import shutil
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import pytest

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.offline import map_recording
from ccl_lgs_ros.scenes import make_scene
from ccl_lgs_ros.storage.evaluation_set import EvaluationSet, read_evaluation_set
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load
from ccl_lgs_ros.structures import SemanticMap
from ccl_lgs_ros.synthetic.scene import Scene, make_room_scene

# Seeds that no option was tuned on alone; any other must do as well. In "touching", twins stand against each other; in
# "two-tone" they do, and parts have a colour of their own.
ROOMS = {"plain": 1, "touching": 5, "two-tone": 11}
OF_ONE_COLOUR = ("plain", "touching")  # whose things have one colour each, by which they are named
FRAMES = 40  # enough to see everything from several sides


@dataclass(frozen=True, kw_only=True)
class MappedRoom:
    """A room on disk: the recording, the truth and the map."""

    name: str
    folder: Path  # holds bag, eval and map

    @property
    def bag(self) -> Path:
        """The recording."""
        return self.folder / "bag"

    @property
    def eval(self) -> Path:
        """The evaluation set."""
        return self.folder / "eval"

    @property
    def map(self) -> Path:
        """The map directory; whoever must write copies it."""
        return self.folder / "map"

    @property
    def scene(self) -> Scene:
        """The room itself, with exact geometry."""
        return scene_of(self.name)

    @cached_property
    def truth(self) -> EvaluationSet:
        """What the map is scored against."""
        return read_evaluation_set(self.eval)

    @cached_property
    def semantic_map(self) -> SemanticMap:
        """The newest version of the map."""
        return load(MapDirectory.open(self.map))


@lru_cache(maxsize=len(ROOMS))
def scene_of(name: str) -> Scene:
    """The room of that name, which takes seconds to lay out."""
    return make_room_scene(ROOMS[name], twins_touch=name != "plain", two_tone=name == "two-tone")


def folder_of_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers of this run share."""
    if kept := os.environ.get("CCL_LGS_MAPPED_ROOMS"):
        Path(kept).mkdir(parents=True, exist_ok=True)
        return Path(kept)
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def room_in(folder: Path, name: str) -> MappedRoom:
    """The room of that name, mapped now unless it lies in the folder already; others wait for who maps it."""
    finished = folder / f"room_{name}"
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed by the end of a killed worker too
        if not finished.exists():
            unfinished = folder / f"unfinished_{name}"
            shutil.rmtree(unfinished, ignore_errors=True)
            style = {"twins_touch": name != "plain", "two_tone": name == "two-tone"}
            make_scene(ROOMS[name], unfinished, num_frames=FRAMES, **style)
            map_recording(unfinished, unfinished / "map", MapConfig())
            unfinished.rename(finished)
    return MappedRoom(name=name, folder=finished)
