# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or absent after a power cut, and disk errors said in one sentence."""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ccl_lgs_ros.errors import MapError

TEMPORARY_PREFIX = ".tmp-"  # whatever begins so was never finished and may be removed

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_UNKNOWN = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}  # what a disk says that cannot exchange
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE


@contextmanager
def disk_errors(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a MapError that says what could not be done and what to do about it."""
    try:
        yield
    except OSError as error:
        raise MapError(f"cannot {action} {path}: {_advice(error)}") from error


def _advice(error: OSError) -> str:
    if error.errno in _FULL:
        return "the disk is full; free some space and try again"
    if error.errno in _FORBIDDEN:
        return f"{(error.strerror or 'not permitted').lower()}; make it writable or choose another place"
    return f"{error.strerror or error}; check the disk and the path"


def sync_file(path: Path) -> None:
    """Wait until what a file holds is on the disk; a folder's names likewise."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until a folder and all in it are on the disk."""
    for path in sorted(folder.rglob("*")):
        sync_file(path)
    sync_file(folder)


def write_file(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk; its name is safe once its folder is synced.

    A link in its place is an OSError: what it leads to is not ours to write.
    """
    with open(path, "wb", opener=not_following) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def not_following(path: str, flags: int) -> int:
    """Open a file as `open` would, but no link."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def replace_file(path: Path, content: bytes) -> None:
    """Put new content in a file's place: readers and a power cut see the old or the new, whole.

    One writer at a time, so that what a killed one left is simply written over.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    write_file(temporary, content)
    temporary.replace(path)
    sync_file(path.parent)


def exchange(first: Path, second: Path) -> None:
    """Swap two folders in one step, so that at no moment either name is missing.

    Raises:
        MapError: if the disk cannot do that.
        OSError: as a rename.
    """
    if _renameat2()(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0:
        return
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        raise MapError(f"the disk of {second} cannot replace a folder in one step; give a folder that does not exist")
    raise OSError(number, os.strerror(number), str(second))


@cache
def _renameat2() -> Any:
    return ctypes.CDLL(None, use_errno=True).renameat2
