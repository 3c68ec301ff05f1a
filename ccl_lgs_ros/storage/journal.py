# SPDX-License-Identifier: Apache-2.0
"""Lines of JSON that are appended durably; one that a crash tore counts as never written. No torch."""

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.durable import disk_errors, sync_file

logger = logging.getLogger(__name__)

MAX_LINE = 1 << 26  # bytes; corrections of a hundred thousand poses take half of it


class Journal:
    """A file of lines that one process appends to and others read.

    Args:
        path: the file; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._num_lines = 0
        self._end = 0  # bytes that hold whole lines, all of them read

    def append(self, line: dict) -> None:
        """Write a line; when this returns it survives a power cut, when it raises OSError it was never there."""
        content = (json.dumps(line) + "\n").encode()
        try:
            with self.path.open("r+b") as file:
                file.seek(self._end)
                file.truncate()  # what an append that failed could not take back
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(self.path, self._end)
                sync_file(self.path)
            raise
        self._num_lines += 1
        self._end += len(content)

    def new_lines(self) -> list[dict]:
        """The whole lines after those that were read or written here.

        Raises:
            MapError: if the file cannot be read, or a line before the last is damaged; as a power cut leaves it, the
                last one may be.
        """
        found: list[dict] = []
        try:
            with self.path.open("rb") as file:
                file.seek(self._end)
                while (line := file.readline(MAX_LINE)).endswith(b"\n"):
                    parsed = _parsed(line)
                    if parsed is None:
                        self._refuse_unless_last(file, len(found))
                        break
                    found.append(parsed)
                    self._end += len(line)
                if len(line) == MAX_LINE:
                    self._refuse_unless_last(file, len(found))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise MapError(f"cannot read {self.path}: {error.strerror}; check who may read it") from error
        self._num_lines += len(found)
        return found

    def repair(self) -> None:
        """Cut off the line that a crash left unfinished: it was never acknowledged."""
        with disk_errors("repair", self.path):
            surplus = self.path.stat().st_size - self._end
            if surplus:
                logger.warning("%s ends in %s bytes of an unfinished keyframe; they are removed", self.path, surplus)
                os.truncate(self.path, self._end)
                sync_file(self.path)

    def _refuse_unless_last(self, file: BinaryIO, num_read: int) -> None:
        if file.read(1):
            where = f"line {self._num_lines + num_read + 1} of {self.path}"
            raise MapError(f"{where} is damaged; restore it from a copy, or capture the map again")


def _parsed(line: bytes) -> dict | None:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
