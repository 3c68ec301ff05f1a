# SPDX-License-Identifier: Apache-2.0
"""How much may be under way on a link of which nothing is known. Nothing here knows ROS.

The window grows while a round trip takes hardly longer than the quickest did, and shrinks as pieces begin to queue in
the link, so that a robot's other traffic keeps its turn. A lost piece alone slows nothing down, since radio loses at
random; where more than half is lost, or all of a window, the link is overrun or broken whatever the delay said, and
the window is halved; in silence the timeout doubles too.

Source: LEDBAT (RFC 6817) for the window, without its answer to single losses; RFC 6298 for the timeout.
"""

import math

TARGET = 0.1  # seconds that pieces may queue in the link
MIN_WINDOW, FIRST_WINDOW, MAX_WINDOW = 2.0, 4.0, 128.0  # pieces
MIN_TIMEOUT, FIRST_TIMEOUT, MAX_TIMEOUT = 0.1, 1.0, 5.0  # seconds
BASE_PERIOD = 60.0  # seconds; the quickest round trip is forgotten after one to two of them
MAX_LOSS = 0.5  # share of the pieces
LOSS_MEMORY = 32  # pieces


class Pacing:
    """The window of pieces that may be under way, and the time after which one counts as lost."""

    def __init__(self) -> None:
        self.window = FIRST_WINDOW
        self.timeout = FIRST_TIMEOUT  # seconds
        self._mean = self._deviation = 0.0  # seconds, of round trips; mean 0 = none yet
        self._base, self._base_before, self._base_since = math.inf, math.inf, -math.inf
        self._loss = 0.0
        self._halved_at = -math.inf

    def confirm(self, count: int, round_trip: float, now: float) -> None:
        """So many pieces have arrived, the last of them after that time in seconds."""
        self._measure(round_trip, now)
        self._loss *= (1.0 - 1.0 / LOSS_MEMORY) ** count
        queueing = round_trip - min(self._base, self._base_before)
        room = max(1.0 - queueing / TARGET, -1.0)
        self.window = min(max(self.window + room * count / self.window, MIN_WINDOW), MAX_WINDOW)

    def lose(self, count: int, is_silent: bool, now: float) -> None:
        """So many pieces were not confirmed in time; silent: nor was anything since the first of them."""
        self._loss = 1.0 - (1.0 - self._loss) * (1.0 - 1.0 / LOSS_MEMORY) ** count
        if (is_silent or self._loss > MAX_LOSS) and now - self._halved_at > self.timeout:
            self.window, self._halved_at = max(self.window / 2.0, MIN_WINDOW), now
        if is_silent:
            self.timeout = min(2.0 * self.timeout, MAX_TIMEOUT)

    def _measure(self, round_trip: float, now: float) -> None:
        if now - self._base_since > BASE_PERIOD:
            self._base, self._base_before, self._base_since = math.inf, self._base, now
        self._base = min(self._base, round_trip)
        if self._mean == 0.0:
            self._mean, self._deviation = round_trip, round_trip / 2.0
        else:
            self._deviation += (abs(round_trip - self._mean) - self._deviation) / 4.0
            self._mean += (round_trip - self._mean) / 8.0
        self.timeout = min(max(self._mean + 4.0 * self._deviation, MIN_TIMEOUT), MAX_TIMEOUT)
