# SPDX-License-Identifier: Apache-2.0
"""A map copied as a whole while it is in use: the newest snapshot and, on request, the keyframes. No torch."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.durable import TEMPORARY_PREFIX, disk_errors, exchange, replace_file, sync_file, sync_tree
from ccl_lgs_ros.storage.locks import alone_in
from ccl_lgs_ros.storage.map_directory import LOCK_NAMES, MapDirectory


def copy_map(
    directory: MapDirectory, path: Path | str, *, include_keyframes: bool, overwrite: bool
) -> tuple[Path, int]:
    """Copy a map to another folder, complete or not at all.

    Args:
        directory: the map.
        path: the new folder; ~ and $VAR are expanded, parents are made.
        include_keyframes: copy them too, so that the copy can be continued.
        overwrite: replace a map that is there.

    Returns:
        The folder, and the bytes that were written.

    Raises:
        MapError: if something is in the way or the disk does not take it.
    """
    target = Path(os.path.realpath(os.path.expanduser(os.path.expandvars(path))))
    temporary = target.parent / f"{TEMPORARY_PREFIX}{target.name}"
    with disk_errors("copy the map to", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(target.parent, waits=False), _replaceable(directory, target, overwrite):
            shutil.rmtree(temporary, ignore_errors=True)  # a copy that was killed
            try:
                _fill(directory, temporary, include_keyframes)
                sync_tree(temporary)
                _put_in_place(temporary, target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return target, sum(file.stat().st_size for file in target.rglob("*") if file.is_file())


def copy_splat(directory: MapDirectory, folder: Path) -> int:
    """Put the newest snapshot's splat.ply, which 3DGS viewers open, at the top of a map folder; returns its bytes."""
    source = directory.snapshot_path(directory.newest_version()) / "splat.ply"
    with disk_errors("write splat.ply to", folder):
        content = source.read_bytes()
        replace_file(folder / "splat.ply", content)
    return len(content)


@contextmanager
def _replaceable(directory: MapDirectory, target: Path, overwrite: bool) -> Iterator[None]:
    """Make sure that a map may be put in a place, and that nobody writes what is there meanwhile."""
    here = directory.path.resolve()
    if here == target:
        raise MapError(f"the map is in {target} already; give another folder to copy it to")
    if here in target.parents or target in here.parents:
        raise MapError(f"{target} and the map {directory.path} lie in one another; give a folder beside it")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        yield
        return
    present = MapDirectory.open(target)  # never replace what is no map
    if not overwrite:
        raise MapError(f"there is a map at {target}; give another folder, or set overwrite to replace it")
    try:
        for name in LOCK_NAMES:
            present.lock(name)
        yield
    finally:
        present.release()


def _fill(directory: MapDirectory, folder: Path, include_keyframes: bool) -> None:
    """The journal of the keyframes goes first: every image that it names is on the disk by then."""
    folder.mkdir()
    shutil.copy2(directory.path / "map.json", folder)
    version = directory.newest_version()
    if version:
        _copy_files(directory.snapshot_path(version), folder / "snapshots" / directory.snapshot_path(version).name)
    if include_keyframes and directory.keyframes_path.is_dir():
        if directory.session_path.exists():  # before the keyframes, so that it knows none that the copy lacks
            shutil.copy2(directory.session_path, folder)
        keyframes = folder / directory.keyframes_path.name
        keyframes.mkdir()
        # Backwards: received.json before keyframes.jsonl, so that it counts none that the copy lacks.
        for journal in sorted(directory.keyframes_path.glob("*.json*"), reverse=True):
            if not journal.name.startswith(TEMPORARY_PREFIX):  # that may be gone the next moment
                shutil.copy2(journal, keyframes)
        for images in sorted(entry for entry in directory.keyframes_path.iterdir() if entry.is_dir()):
            _copy_files(images, keyframes / images.name)


def _copy_files(source: Path, folder: Path) -> None:
    """Copy the files of a folder, no links."""
    folder.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        if file.is_file() and not file.is_symlink():
            shutil.copy2(file, folder)


def _put_in_place(temporary: Path, target: Path) -> None:
    """What is in the way goes where the copy was, in the same step."""
    if target.exists():
        exchange(temporary, target)
    else:
        temporary.rename(target)
    sync_file(target.parent)
