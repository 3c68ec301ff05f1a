# SPDX-License-Identifier: Apache-2.0
"""One writer at a time, by locks that the system lets go of when their holder dies, however it dies."""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.durable import disk_errors, not_following

_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


class WriterLock:
    """The right to write one part of a map, held until `release`, or until the process ends.

    Args:
        path: the lock's file; it stays behind and means nothing by itself.
        what: what is written under the lock, for the message.

    Raises:
        MapError: naming the holder if there is one, or if the folder cannot be written.
    """

    def __init__(self, path: Path, what: str) -> None:
        with disk_errors("write to", path.parent):
            self._file = open(path, "a+", opener=not_following)  # noqa: SIM115 - the open file is the lock
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._holder()
            self._file.close()
            if error.errno in _TAKEN:
                raise MapError(
                    f"{what} of the map {path.parent} are being written by {holder}; stop it first"
                ) from None
            raise MapError(
                f"cannot lock {path}: {error.strerror}; put the map on a disk that has file locks"
            ) from error
        self._sign()

    def release(self) -> None:
        """Let another writer in; doing so twice is harmless."""
        if not self._file.closed:
            self._file.close()

    @property
    def is_held(self) -> bool:
        return not self._file.closed

    def _sign(self) -> None:
        """Say who holds it; on a disk that is full it is held without a word."""
        with suppress(OSError):
            os.ftruncate(self._file.fileno(), 0)
            os.write(self._file.fileno(), json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())

    def _holder(self) -> str:
        try:
            self._file.seek(0)
            holder = json.loads(self._file.read())
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"


@contextmanager
def alone_in(folder: Path, *, waits: bool) -> Iterator[None]:
    """Hold the right to change what a folder holds, for a moment.

    Args:
        folder: it must exist; nothing is left in it.
        waits: for others who hold it; else they are an error.

    Raises:
        MapError: if another process holds it.
        OSError: if the folder cannot be opened or locked.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        yield
    except BlockingIOError:
        raise MapError(f"another process is writing to {folder}; wait for it and try again") from None
    finally:
        os.close(descriptor)
