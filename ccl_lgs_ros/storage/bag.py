# SPDX-License-Identifier: Apache-2.0
"""rosbag2 recordings read without ROS: MCAP or sqlite3, plain, compressed or split, with or without metadata.yaml.

Messages are read with the standard definitions of their types, which have not changed since Humble, so that recordings
without embedded definitions, or with broken ones of other topics, are read as well.
"""

import heapq
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ccl_lgs_ros.errors import BagError

STORAGE_SUFFIXES = (".mcap", ".db3")
NO_DATA = "SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index')"  # views and triggers
MCAP_MAGIC = b"\x89MCAP0\r\n"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic of a recording."""

    name: str
    type: str  # as in "sensor_msgs/msg/Image"
    count: int  # messages


class Bag:
    """A recording that is open for reading; use it in a `with` statement.

    Raises:
        BagError: if the recording is missing, damaged or of a kind that is not read, naming the fix.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._readers: list[Reader] = []
        self._stack = ExitStack()

    def __enter__(self) -> "Bag":
        for path in _storage_paths(self.path):
            _guarded(self.path, lambda path=path: _check_files(path))
            reader = _guarded(self.path, lambda path=path: Reader(path))
            _guarded(self.path, reader.open)
            self._stack.callback(reader.close)
            self._readers.append(reader)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def topics(self) -> dict[str, Topic]:
        """The topics that hold messages, by name."""
        counts: dict[tuple[str, str], int] = {}
        for connection in self._connections:
            key = (connection.topic, connection.msgtype)
            counts[key] = counts.get(key, 0) + connection.msgcount
        return {name: Topic(name=name, type=kind, count=n) for (name, kind), n in sorted(counts.items()) if n}

    @property
    def span_ns(self) -> tuple[int, int]:
        """Time of the first and the last message."""
        return min(r.start_time for r in self._readers), max(r.end_time for r in self._readers) - 1

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """Topic, time of recording in ns and message, in the order of recording."""
        for connection, time_ns, data in self._merged(topics):
            yield connection.topic, time_ns, self._deserialised(connection, data)

    def raw_messages(self, topics: Collection[str], begin_ns: int = 0) -> Iterator[tuple[str, int, bytes]]:
        """Topic, time of recording in ns and CDR bytes from a time on, in the order of recording."""
        for connection, time_ns, data in self._merged(topics):
            if time_ns >= begin_ns:
                yield connection.topic, time_ns, bytes(data)

    def _merged(self, topics: Collection[str]) -> Iterator[tuple[Connection, int, bytes]]:
        wanted = set(topics)
        streams = []
        for reader in self._readers:
            connections = [c for c in reader.connections if c.topic in wanted and c.msgcount]
            if connections:
                streams.append(self._raw(reader, connections))
        return heapq.merge(*streams, key=lambda item: item[1])

    @property
    def _connections(self) -> list[Connection]:
        return [connection for reader in self._readers for connection in reader.connections]

    def _raw(self, reader: Reader, connections: list[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        messages = reader.messages(connections)
        while True:
            message = _guarded(self.path, lambda: next(messages, None))
            if message is None:
                return
            yield message

    def _deserialised(self, connection: Connection, data: bytes) -> Any:
        try:
            return _typestore().deserialize_cdr(data, connection.msgtype)
        except Exception as error:  # damaged bytes make the parser raise of every kind
            raise BagError(
                f"cannot read a {connection.msgtype} of topic {connection.topic} in {self.path}: {error}; "
                "the recording is damaged or holds another version of that type: record it again"
            ) from error


@cache
def _typestore() -> Typestore:
    return get_typestore(Stores.ROS2_JAZZY)


def _storage_paths(path: Path) -> list[Path]:
    """What the reader is given: the folder, or its files where it has no metadata.yaml."""
    if not path.exists():
        raise BagError(f"there is no recording at {path}; check the path")
    if path.suffix == ".bag":
        raise BagError(f"{path} is a ROS 1 recording; convert it: rosbags-convert --src {path} --dst {path.stem}")
    if path.is_file() and path.suffix not in STORAGE_SUFFIXES:
        raise BagError(f"{path} is no recording; give a rosbag2 folder, an .mcap or a .db3 file")
    if path.is_file() or (path / "metadata.yaml").exists():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in STORAGE_SUFFIXES)
    if not files:
        raise BagError(f"{path} holds no recording (no metadata.yaml, no .mcap, no .db3); give a rosbag2 folder")
    return files


def _check_files(path: Path) -> None:
    """Raise BagError where opening a recording would wait for ever, or run what a database brings along."""
    for file in path.iterdir() if path.is_dir() else [path]:
        if not file.is_file() and not file.is_dir():
            raise BagError(f"{file} is no plain file; remove it from the recording")
        if file.suffix == ".db3":
            with closing(sqlite3.connect(f"file:{quote(str(file))}?immutable=1", uri=True)) as database:
                found = database.execute(NO_DATA).fetchone()
            if found is not None:
                raise BagError(f"{file} computes {found[0]!r}, which no recorder writes; record it again")


def _guarded(path: Path, read: Callable[[], Result]) -> Result:
    """The result of reading; whatever the storage layer raises becomes one sentence."""
    try:
        return read()
    except BagError:
        raise
    except FileNotFoundError as error:
        raise BagError(f"there is no recording at {path}: {error.strerror or error}; check the path") from error
    except Exception as error:  # a damaged file makes readers, decompressors and databases raise of every kind
        raise BagError(_damage(path, error)) from error


def _damage(path: Path, error: Exception) -> str:
    files = [path] if path.is_file() else sorted(path.glob("*.mcap"))
    for file in files:
        if file.suffix == ".mcap" and not _ends_properly(file):
            return (
                f"{file} is cut off, as when recording was interrupted; repair it: "
                f"mcap recover {file} -o {file.stem}_recovered.mcap"
            )
    folder = path if path.is_dir() else path.parent
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"cannot read {path}: {reason}; repair it with: ros2 bag reindex {folder}"


def _ends_properly(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(stream.tell() - len(MCAP_MAGIC), 0))
        return stream.read() == MCAP_MAGIC
