# SPDX-License-Identifier: Apache-2.0
"""What is made on demand is kept within a bound."""

import pytest

from ccl_lgs_ros.recent import Recent


def test_the_last_used_are_kept_and_the_others_made_again() -> None:
    made: list[int] = []
    items = Recent(lambda: 5, lambda index: made.append(index) or index, kept=2)
    assert len(items) == 5
    assert [items[i] for i in (0, 1, 0, 2, 0, 1)] == [0, 1, 0, 2, 0, 1]
    assert made == [0, 1, 2, 1]


@pytest.mark.parametrize("size", [10, 33, 50, 400])
def test_sizes_add_up_to_no_more_than_is_kept_but_for_a_single_item(size: int) -> None:
    items = Recent(lambda: 20, lambda index: bytes(size), kept=100, size=len)
    for index in range(20):
        items[index]
        held = sum(len(item) for item in items._items.values())
        assert held <= 100 or len(items._items) == 1
    assert len(items._items) == max(100 // size, 1)
