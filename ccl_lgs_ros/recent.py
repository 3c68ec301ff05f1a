# SPDX-License-Identifier: Apache-2.0
"""A sequence that is made on demand and keeps what was used last."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Recent(Generic[Item]):
    """Items by position: made when asked for, the last used ones kept in memory.

    Args:
        length: how many there are.
        make: gives the item at a position.
        kept: how many stay in memory.
    """

    def __init__(self, length: Callable[[], int], make: Callable[[int], Item], kept: int) -> None:
        self._length, self._make, self._kept = length, make, kept
        self._items: OrderedDict[int, Item] = OrderedDict()

    def __len__(self) -> int:
        return self._length()

    def __getitem__(self, index: int, /) -> Item:
        if index not in self._items:
            self._items[index] = self._make(index)
            if len(self._items) > self._kept:
                self._items.popitem(last=False)
        self._items.move_to_end(index)
        return self._items[index]
