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
        when_done: called by that thread once the value is there.
    """

    def __init__(self, make: Callable[[], T], when_done: Callable[[], object] = lambda: None) -> None:
        self._value: T | None = None
        self.error: Exception | None = None
        self.done_at = 0.0  # by time.monotonic()
        self._done = threading.Event()
        threading.Thread(target=self._run, args=(make, when_done), daemon=True).start()

    @property
    def is_done(self) -> bool:
        """Whether it is there, or will never be."""
        return self._done.is_set()

    def result(self) -> T:
        """The value, waited for; raises what making it raised."""
        self._done.wait()
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]

    def _run(self, make: Callable[[], T], when_done: Callable[[], object]) -> None:
        try:
            self._value = make()
        except Exception as error:
            self.error = error
        self.done_at = time.monotonic()
        self._done.set()
        when_done()
