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
        kept: how much stays in memory: how many, or the most that their sizes add up to; one is always kept.
        size: of an item.
    """

    def __init__(
        self,
        length: Callable[[], int],
        make: Callable[[int], Item],
        kept: int,
        size: Callable[[Item], int] = lambda item: 1,
    ) -> None:
        self._length, self._make, self._kept, self._size = length, make, kept, size
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        return self._length()

    def __getitem__(self, index: int, /) -> Item:
        if index not in self._items:
            item = self._items[index] = self._make(index)
            self._held += self._size(item)
            while self._held > self._kept and len(self._items) > 1:
                _, oldest = self._items.popitem(last=False)
                self._held -= self._size(oldest)
        self._items.move_to_end(index)
        return self._items[index]
