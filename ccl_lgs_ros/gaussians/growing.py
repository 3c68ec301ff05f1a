# SPDX-License-Identifier: Apache-2.0
"""Tables that are appended to and changed row by row, at a cost that does not grow with how many rows there are."""

from dataclasses import fields
from typing import Generic, TypeVar

from torch import Tensor

Table = TypeVar("Table")  # a dataclass whose fields are tensors with equally many rows


class Growing(Generic[Table]):
    """A table in buffers with room to spare, which double when they are full.

    Args:
        table: what it begins with; copied, never changed.
    """

    def __init__(self, table: Table) -> None:
        self._kind = type(table)
        self._buffers: dict[str, Tensor] = {f.name: getattr(table, f.name).clone() for f in fields(table)}  # type: ignore[arg-type]
        self._count = _rows_of(self._buffers)

    def __len__(self) -> int:
        return self._count

    @property
    def table(self) -> Table:
        """All rows, without a copy: rows that are appended later are not in it, rows that are put later change it."""
        return self._kind(**{name: buffer[: self._count] for name, buffer in self._buffers.items()})

    @property
    def num_bytes(self) -> int:
        """What the buffers hold, room to spare included."""
        return sum(buffer.numel() * buffer.element_size() for buffer in self._buffers.values())

    def append(self, table: Table) -> None:
        """Rows behind the others."""
        new = {name: getattr(table, name) for name in self._buffers}
        count = self._count + _rows_of(new)
        for name, rows in new.items():
            buffer = self._buffers[name]
            if count > buffer.shape[0]:
                buffer = buffer.new_empty(max(count, 2 * buffer.shape[0]), *buffer.shape[1:])
                buffer[: self._count] = self._buffers[name][: self._count]
                self._buffers[name] = buffer
            buffer[self._count : count] = rows
        self._count = count

    def rows(self, which: Tensor) -> Table:
        """A copy of the rows [n] int64, in that order."""
        return self._kind(**{name: buffer[which] for name, buffer in self._buffers.items()})

    def put(self, which: Tensor, table: Table) -> None:
        """Replaces the rows [n] int64, each named once."""
        for name, buffer in self._buffers.items():
            buffer[which] = getattr(table, name)


def _rows_of(tensors: dict[str, Tensor]) -> int:
    return next(iter(tensors.values())).shape[0]
