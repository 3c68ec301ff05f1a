# SPDX-License-Identifier: Apache-2.0
"""A node that does one thing from beginning to end, and then ends with an exit code."""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from ccl_lgs_ros.ros.guards import log_error

LOOK = 0.05  # seconds between looks at what is waited for
REMIND = 2.0  # seconds after which a wait is told; then after twice as many, and so on
STOP_TIMEOUT = 3.0  # seconds that the work may take to notice the end


class StoppedError(Exception):
    """The node was asked to end while its work waited for something."""


class ScriptNode(Node):
    """Subclasses fill `work`, which has a thread of its own; the executor hears answers and messages meanwhile."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.exit_code = 0
        self.is_done = False
        self._stop_asked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="work", daemon=True)

    @abstractmethod
    def work(self) -> int:
        """Do it; returns the exit code."""

    def begin(self) -> None:
        """Start the work; the node is made by now."""
        self._thread.start()

    def close(self) -> None:
        """Stop the work where it waits."""
        self._stop_asked.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT)

    def sleep(self, seconds: float) -> None:
        """Wait; raises StoppedError where the node is to end."""
        if self._stop_asked.wait(max(seconds, 0.0)):
            raise StoppedError

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until something is true, saying every now and then what is waited for; its value."""
        began, patience = time.monotonic(), REMIND
        while not (value := condition()):
            if time.monotonic() - began > patience:
                patience *= 2
                self.get_logger().info(f"still waiting for {what}")
            self.sleep(LOOK)
        return value

    def _run(self) -> None:
        try:
            self.exit_code = self.work()
        except StoppedError:
            pass
        except Exception as error:
            log_error(self.get_logger(), self.get_name(), error)
            self.exit_code = 1
        self.is_done = True
