# SPDX-License-Identifier: Apache-2.0
"""Something that takes seconds to make, made by a thread of its own, so that a node can answer meanwhile."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Loading(Generic[T]):
    """A value on its way.

    Args:
        make: makes it; the thread does not hold up the end of the process.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._value: T | None = None
        self.error: Exception | None = None
        self.done_at = 0.0  # by time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(make,), daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether it is there, or will never be."""
        return not self._thread.is_alive()

    def result(self) -> T:
        """The value, waited for; raises what making it raised."""
        self._thread.join()
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]

    def _run(self, make: Callable[[], T]) -> None:
        try:
            self._value = make()
        except Exception as error:
            self.error = error
        self.done_at = time.monotonic()
