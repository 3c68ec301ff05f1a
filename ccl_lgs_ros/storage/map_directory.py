# SPDX-License-Identifier: Apache-2.0
"""The map directory: the bus between processes, and what survives when they die. No torch.

map.json                   format, format version, map id
keyframes/                 see keyframe_store.py; one writer
segments/                  see segment_store.py; may be deleted at any time
session.safetensors        see session_state.py; may be deleted at any time
snapshots/000001/          see snapshot.py; one publisher; complete or absent
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.confined import own_file
from ccl_lgs_ros.storage.durable import TEMPORARY_PREFIX, disk_errors, replace_file, sync_file, sync_tree
from ccl_lgs_ros.storage.locks import WriterLock, alone_in

FORMAT = "ccl_lgs_map"
FORMAT_VERSION = 1
KEPT_SNAPSHOTS = 2  # so that a reader has time to open the one that it has just found
LOCK_NAMES = ("keyframes", "snapshots")

_IDENTITY = "map.json"
_VERSION = re.compile(r"[0-9]{6,9}")  # more would not fit the messages that name it
_MAP_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_MAX_IDENTITY = 65536  # bytes


class MapDirectory:
    """A folder that holds one map; made by `create`, `open` or `open_or_create`."""

    def __init__(self, path: Path, map_id: str, created: str) -> None:
        self.path, self.map_id, self.created = path, map_id, created
        self._locks: dict[str, WriterLock] = {}

    @staticmethod
    def create(path: Path | str) -> "MapDirectory":
        """A new map in a folder that does not exist or is empty.

        Raises:
            MapError: if something is there already or the place cannot be written.
        """
        path = _expanded(path)
        with disk_errors("make a map at", path):
            if path.exists() and not path.is_dir():
                raise MapError(f"{path} is a file; choose a new or empty folder for the map")
            path.mkdir(parents=True, exist_ok=True)
            with alone_in(path, waits=True):  # nodes that start together make one map
                if any(not entry.name.startswith(TEMPORARY_PREFIX) for entry in path.iterdir()):
                    raise MapError(f"{path} holds other things already; choose a new or empty folder for the map")
                identity = _new_identity()
                replace_file(path / _IDENTITY, json.dumps(identity, indent=2).encode())
            sync_file(path.parent)
        return MapDirectory(path, identity["map_id"], identity["created"])

    @staticmethod
    def open(path: Path | str) -> "MapDirectory":
        """A map that exists, for reading; writers take a lock besides.

        Raises:
            MapError: if there is none, or it is none of ours, or of another format version.
        """
        path = _expanded(path)
        with disk_errors("read", path):
            is_there, is_folder = path.exists(), path.is_dir()
        if not is_there:
            raise MapError(f"there is no map at {path}; check the path, or build one with: ccl-lgs map BAG -o {path}")
        if not is_folder:
            raise MapError(f"{path} is a file, but a map is a folder; give the folder that `ccl-lgs map` wrote")
        identity = _read_identity(path)
        version = identity["format_version"]
        if version != FORMAT_VERSION:
            raise MapError(
                f"the map {path} has format version {version}, but this program reads version {FORMAT_VERSION}; "
                f"build it again, or use the {'newer' if version > FORMAT_VERSION else 'older'} program that wrote it"
            )
        return MapDirectory(path, identity["map_id"], str(identity.get("created", "")))

    @staticmethod
    def open_or_create(path: Path | str) -> "MapDirectory":
        """The map at a path, a new one where there is nothing.

        Raises:
            MapError: as `open` and `create`.
        """
        path = _expanded(path)
        with disk_errors("read", path):
            if (path / _IDENTITY).exists():
                return MapDirectory.open(path)
        try:
            return MapDirectory.create(path)
        except MapError:
            if (path / _IDENTITY).exists():  # another process was faster
                return MapDirectory.open(path)
            raise

    def lock(self, name: str) -> WriterLock:
        """Become the one writer of the map's "keyframes" or "snapshots"; nothing changes if this object is already.

        Raises:
            MapError: naming the holder, if another process or object writes them.
        """
        if name not in LOCK_NAMES:
            raise ValueError(f"name: expected one of {LOCK_NAMES}, got {name!r}")
        held = self._locks.get(name)
        if held is None or not held.is_held:
            self._locks[name] = WriterLock(self.path / f".{name}.lock", name)
        return self._locks[name]

    def release(self) -> None:
        """Let go of every lock."""
        for lock in self._locks.values():
            lock.release()

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock for a while; one that was held before stays held."""
        held = self._locks.get(name)
        was_held = held is not None and held.is_held
        lock = self.lock(name)
        try:
            yield
        finally:
            if not was_held:
                lock.release()

    @property
    def keyframes_path(self) -> Path:
        return self.path / "keyframes"

    @property
    def segments_path(self) -> Path:
        return self.path / "segments"

    @property
    def session_path(self) -> Path:
        return self.path / "session.safetensors"

    @property
    def snapshots_path(self) -> Path:
        return self.path / "snapshots"

    def versions(self) -> list[int]:
        """The published snapshots, oldest first."""
        if not self.snapshots_path.is_dir():
            return []
        with disk_errors("read", self.snapshots_path):
            folders = [entry for entry in self.snapshots_path.iterdir() if _VERSION.fullmatch(entry.name)]
            return sorted(int(entry.name) for entry in folders if entry.is_dir())

    def newest_version(self) -> int:
        """The newest published snapshot; 0 if there is none."""
        versions = self.versions()
        return versions[-1] if versions else 0

    def snapshot_path(self, version: int) -> Path:
        """Where a snapshot lies, or would."""
        return self.snapshots_path / f"{version:06d}"

    def publish(self, write: Callable[[Path, int], None]) -> int:
        """Make a folder the next snapshot: readers see all of it or nothing, also after a power cut.

        Args:
            write: fills the folder that it is given with the version that it is given.

        Returns:
            The version.

        Raises:
            MapError: if another process publishes, or the disk does not take it; the map is as before.
        """
        with self.locked("snapshots"), disk_errors("publish a snapshot in", self.path):
            self.snapshots_path.mkdir(exist_ok=True)
            self._remove_unfinished()
            version = self.newest_version() + 1
            temporary = self.snapshots_path / f"{TEMPORARY_PREFIX}{os.getpid()}"
            try:
                temporary.mkdir()
                write(temporary, version)
                sync_tree(temporary)
                temporary.rename(self.snapshot_path(version))
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            sync_file(self.snapshots_path)
            sync_file(self.path)
            self._remove_old()
        return version

    def _remove_unfinished(self) -> None:
        for entry in self.snapshots_path.glob(f"{TEMPORARY_PREFIX}*"):
            shutil.rmtree(entry, ignore_errors=True)

    def _remove_old(self) -> None:
        """Forget all but the newest; who has one mapped keeps what it mapped.

        Each is renamed first, so that a half-removed one is never taken for a snapshot, also after a power cut.
        """
        for version in self.versions()[:-KEPT_SNAPSHOTS]:
            self.snapshot_path(version).rename(self.snapshots_path / f"{TEMPORARY_PREFIX}old-{version}")
        sync_file(self.snapshots_path)
        self._remove_unfinished()


def _expanded(path: Path | str) -> Path:
    """A path in which ~ is the home folder; one of nobody's stays as it is, and is then missing."""
    return Path(os.path.expanduser(path))


def _new_identity() -> dict:
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"format": FORMAT, "format_version": FORMAT_VERSION, "map_id": uuid.uuid4().hex, "created": created}


def _read_identity(path: Path) -> dict:
    """What map.json says; raises MapError where it is absent or not ours."""
    foreign = f"{path} is not a map of ours ({_IDENTITY} is %s); give the folder that `ccl-lgs map` wrote"
    try:
        with own_file(path, _IDENTITY).open("rb") as file:
            identity = json.loads(file.read(_MAX_IDENTITY))
    except FileNotFoundError:
        raise MapError(foreign % "missing") from None
    except OSError as error:
        raise MapError(f"cannot read {path / _IDENTITY}: {error.strerror}; check who may read it") from error
    except (ValueError, RecursionError):
        raise MapError(foreign % "no valid JSON") from None
    is_ours = isinstance(identity, dict) and identity.get("format") == FORMAT
    if not is_ours or type(identity.get("format_version")) is not int:
        raise MapError(foreign % "of another kind")
    if not isinstance(identity.get("map_id"), str) or not _MAP_ID.fullmatch(identity["map_id"]):
        raise MapError(foreign % "without a map_id")
    return identity
