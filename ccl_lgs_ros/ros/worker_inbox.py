# SPDX-License-Identifier: Apache-2.0
"""The worker's ears and its voice: commands are heard while it works, and its log lines go to the node."""

import logging
import threading
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection

from ccl_lgs_ros.ros.log_bridge import text_of
from ccl_lgs_ros.ros.worker_messages import Build, Cancel, Log, Reset, Save, Settings, Stop


class Inbox:
    """Commands from the node, read by a thread of its own; the node's end counts as a command to stop.

    Args:
        connection: to the node.
        settings: what it has said already.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self.settings = settings  # the newest
        self.is_stopped = False
        self._connection = connection
        self._jobs: deque[Build | Save | Reset] = deque()
        self._cancelled: set[int] = set()
        self._something = threading.Event()
        threading.Thread(target=self._listen, name="inbox", daemon=True).start()

    @property
    def has_job(self) -> bool:
        """Whether something was asked for that is not begun."""
        return bool(self._jobs)

    def is_cancelled(self, job: int) -> bool:
        """Whether a job is wanted no more."""
        return job in self._cancelled

    def next_job(self, timeout: float) -> Build | Save | Reset | None:
        """The next job, None if none comes in time or the worker is to stop."""
        self._something.wait(timeout)
        self._something.clear()
        return self._jobs.popleft() if self._jobs and not self.is_stopped else None

    def _listen(self) -> None:
        try:
            while not self.is_stopped:
                self._take(self._connection.recv())
        except (EOFError, OSError):
            self._take(Stop())

    def _take(self, message: object) -> None:
        if isinstance(message, Stop):
            self.is_stopped = True
        elif isinstance(message, Settings):
            self.settings = message
        elif isinstance(message, Cancel):
            self._cancelled.add(message.job)
        elif isinstance(message, (Build, Save, Reset)):
            self._jobs.append(message)
        self._something.set()


class Outbox:
    """Messages to the node, from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._guard = threading.Lock()

    def send(self, message: object) -> None:
        """Send one message; raises OSError where the node is gone."""
        with self._guard:
            self._connection.send(message)


class SendingHandler(logging.Handler):
    """Log records as messages to the node."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; nobody is left to hear it when the node is gone."""
        with suppress(OSError, ValueError):
            self._outbox.send(Log(level=record.levelno, text=text_of(record)))
