# SPDX-License-Identifier: Apache-2.0
"""How much of other maps' keyframes a map has taken over, kept beside them through power cuts. No torch."""

import json

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.durable import disk_errors, replace_file
from ccl_lgs_ros.storage.map_directory import MapDirectory

KEPT_SOURCES = 100  # maps; the ones that were heard of last


class ReceivedLines:
    """Lines of other maps' keyframe journals that are stored here, by map id, in keyframes/received.json.

    What was stored just before a power cut may be asked for once more: storing it again changes nothing.

    Raises:
        MapError: if the file is damaged.
    """

    def __init__(self, directory: MapDirectory) -> None:
        self._path = directory.keyframes_path / "received.json"
        self._lines: dict[str, int] = {}
        if self._path.exists():
            self._read()

    def __getitem__(self, source: str) -> int:
        return self._lines.get(source, 0)

    def put(self, source: str, lines: int) -> None:
        """Remember that so many lines of a map are stored; raises MapError if the disk does not take it."""
        known = {other: count for other, count in self._lines.items() if other != source}
        known[source] = lines
        self._lines = dict(list(known.items())[-KEPT_SOURCES:])
        with disk_errors("write", self._path):
            replace_file(self._path, json.dumps(self._lines).encode())

    def _read(self) -> None:
        try:
            with disk_errors("read", self._path):
                lines = json.loads(self._path.read_bytes())
            self._lines = {str(source): int(count) for source, count in lines.items()}
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            raise MapError(f"{self._path} is damaged; remove it: the keyframes are then sent again") from error
