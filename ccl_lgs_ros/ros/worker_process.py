# SPDX-License-Identifier: Apache-2.0
"""The node's end of a worker process: start, tell, listen, stop. Whatever the worker does, the node lives on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from typing import Any

from ccl_lgs_ros.ros.worker_messages import Settings, Stop

WORKER = "ccl_lgs_ros.ros.worker_main"
TERMINATE_TIMEOUT = 0.5  # seconds between asking the system to end it and killing it


class WorkerProcess:
    """A new Python process that runs the pipeline over one map directory.

    It is no child by fork, so that nothing of CUDA, threads or ROS is inherited, and it has a session of its own, so
    that Ctrl-C in a terminal reaches the node alone. It ends when the node does, however that ends.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},  # idle threads of torch must not spin beside ours
        )
        theirs.close()
        self.send(settings)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_text(self) -> str:
        """How the process ended, for a person."""
        code = self._process.poll()
        if code is None:
            return "is running"
        if code == -signal.SIGKILL:
            return "was killed by signal 9, as the system does where memory runs out"
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def send(self, message: Any) -> bool:
        """Tell the worker something; False if it is gone."""
        try:
            self._connection.send(message)
            return True
        except (OSError, ValueError):
            return False

    def received(self) -> Iterator[Any]:
        """What the worker has said since the last call; never waits."""
        try:
            while not self._connection.closed and self._connection.poll():
                yield self._connection.recv()
        except (EOFError, OSError):
            self._connection.close()

    def kill(self) -> None:
        """End the process at once; what it has published is safe."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def stop(self, timeout: float) -> bool:
        """End the process, killing it where asking does not help; whether it ended by itself."""
        ends_at = time.monotonic() + timeout
        self.send(Stop())
        is_orderly = self._wait(ends_at - time.monotonic())
        if not is_orderly:
            self._process.terminate()
            if not self._wait(TERMINATE_TIMEOUT):
                self._process.kill()
                self._process.wait()
        self._connection.close()
        return is_orderly and self._process.returncode == 0

    def _wait(self, timeout: float) -> bool:
        """Whether the process ends in time; what it still says is thrown away, lest it waits for us to listen."""
        ends_at = time.monotonic() + timeout
        while self._process.poll() is None:
            if time.monotonic() > ends_at:
                return False
            for _ in self.received():
                pass
            time.sleep(0.02)
        return True
