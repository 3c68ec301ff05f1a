# SPDX-License-Identifier: Apache-2.0
"""Requests wait for their turn: taken as they come, answered one after the other, refused before they wait too long.

A service answers within the executor's thread, and a middleware that holds more requests than the node takes drops
some without a word. So requests are taken first, all that there are, and their waiting is counted from then on.
"""

import time
import types
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from rclpy.node import Node

from ccl_lgs_ros.errors import CclLgsError
from ccl_lgs_ros.ros.loading import Loading
from ccl_lgs_ros.ros.query_options import QueryNodeOptions

LOADING = "the models are being loaded, or a picture drawn"
LOADING_NAP = 0.005  # seconds that the node sleeps between looks for a model that is being loaded


T = TypeVar("T")


class BusyError(CclLgsError):
    """There is no time for a request now."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ticket:
    """A request that waits."""

    is_ready: Callable[[], bool]


class Turns:
    """Who is next.

    Args:
        node: whose executor runs the services, which must be coroutines in a reentrant group.
        options: gives max_queue and max_wait as they are now.
    """

    def __init__(self, node: Node, options: Callable[[], QueryNodeOptions]) -> None:
        self._node, self._options = node, options
        self._waiting: list[_Ticket] = []
        self._admitted = 0
        self._work: Loading[Any] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request waits."""
        return not self._waiting

    async def refusal(self, is_ready: Callable[[], bool], patience: float = 0.0) -> BusyError | None:
        """Returns when it is the caller's turn, or at once or in time with the reason why there will be none.

        Args:
            is_ready: whether what the answer needs is loaded; while it is not, others go first.
            patience: seconds to wait at least; max_wait holds otherwise.
        """
        options = self._options()
        if len(self._waiting) >= options.max_queue:
            return BusyError(f"busy: {len(self._waiting)} requests wait already; ask again in a second")
        ticket, began = _Ticket(is_ready), time.monotonic()
        self._waiting.append(ticket)
        self._admitted += 1
        try:
            admitted_before = -1
            while not self._may_go(ticket, admitted_before):
                if time.monotonic() - began > max(options.max_wait, patience):
                    why = (
                        f"{len(self._waiting)} requests wait"
                        if is_ready()
                        else "the models are being loaded, or a picture drawn"
                    )
                    return BusyError(f"busy: {why}; ask again in a few seconds")
                admitted_before = self._admitted
                self._wake()
                await _next_pass()
            return None
        finally:
            self._waiting.remove(ticket)

    async def result_of(self, work: Callable[[], T]) -> T:
        """What work returns or raises; a thread does it, one at a time, and others are answered meanwhile."""
        self._work = loading = Loading(work, self._wake)
        while not loading.is_done:
            await _next_pass()
        return loading.result()

    @property
    def is_working(self) -> bool:
        """Whether a thread is at such work."""
        return self._work is not None and not self._work.is_done

    def _wake(self) -> None:
        """Let the executor not wait for messages now."""
        executor = self._node.executor
        if executor is not None:
            with suppress(RuntimeError):  # from a thread that outlives the node
                executor.wake()

    def _may_go(self, ticket: _Ticket, admitted_before: int) -> bool:
        """Whether a request is the first that can be answered, and none has come since it last looked."""
        first = next((other for other in self._waiting if other.is_ready()), None)
        if first is None and ticket is self._waiting[0]:
            time.sleep(LOADING_NAP)
        return first is ticket and self._admitted == admitted_before


@types.coroutine
def _next_pass() -> Generator[None, Any, None]:
    """Until the executor has looked for messages once more."""
    yield
