# SPDX-License-Identifier: Apache-2.0
"""One direction of a link between two hosts, as bad as it is told to be; the time is given by the caller."""

import heapq
import itertools
import random
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Link:
    """Messages that were sent and have not arrived yet.

    Args:
        random: decides on loss and delay.
        loss: share of messages that is lost.
        repeats: share that arrives twice.
        delay: seconds.
        jitter: seconds, at most, that are added at random.
        rate: bytes per second.
        room: bytes that may queue; more are lost.
    """

    random: random.Random
    loss: float = 0.0
    repeats: float = 0.0
    delay: float = 0.01
    jitter: float = 0.0
    rate: float = 1e9
    room: float = 1e9
    sent: int = 0  # bytes
    num_sent: int = 0  # messages
    num_lost: int = 0
    queue: float = 0.0  # seconds, the longest
    _free_at: float = 0.0
    _messages: list[Any] = field(default_factory=list)
    _order: Any = field(default_factory=itertools.count)

    def send(self, message: Any, size: int, now: float) -> None:
        """A message of so many bytes goes out, or is lost."""
        self.sent += size
        self.num_sent += 1
        waits = max(self._free_at - now, 0.0)
        if waits * self.rate > self.room:
            self.num_lost += 1
            return
        self._free_at = now + waits + size / self.rate
        self.queue = max(self.queue, waits)
        if self.random.random() < self.loss:
            self.num_lost += 1
            return
        for _ in range(1 + (self.random.random() < self.repeats)):
            at = self._free_at + self.delay + self.random.random() * self.jitter
            heapq.heappush(self._messages, (at, next(self._order), message))

    def arrived(self, now: float) -> list[Any]:
        """The messages that have come by now."""
        found = []
        while self._messages and self._messages[0][0] <= now:
            found.append(heapq.heappop(self._messages)[2])
        return found
