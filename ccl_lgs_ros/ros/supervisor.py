# SPDX-License-Identifier: Apache-2.0
"""Keeps a worker process running over a map, hands it jobs and hears of their ends, a crash among them."""

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ccl_lgs_ros.ros.worker_messages import Build, Cancel, Finished, Log, Report, Reset, Save, Settings
from ccl_lgs_ros.ros.worker_process import WorkerProcess

FIRST_BACKOFF = 1.0  # seconds before a worker that ended is started again
MAX_BACKOFF = 60.0  # seconds
CANCEL_TIMEOUT = 3.5  # seconds that the worker may take to come to a safe point and publish
STEADY = 60.0  # seconds of life after which a worker counts as sound again


class Supervisor:
    """One worker at a time; `tick` must be called often and never blocks.

    Args:
        settings: for the worker.
        log: called with the level and text of each of its log lines.
    """

    def __init__(self, settings: Settings, log: Callable[[int, str], None]) -> None:
        self.settings = settings
        self.report = Report(state="starting", message="the worker is starting")
        self._log = log
        self._numbers = itertools.count(1)
        self._ends: dict[int, Callable[[Finished], None]] = {}
        self._cancel_by: dict[int, float] = {}  # job -> time.monotonic by which it must have stopped
        self._backoff, self._restart_at = FIRST_BACKOFF, 0.0
        self._begin()

    @property
    def pid(self) -> int:
        """Of the worker; 0 where there is none."""
        return self._worker.pid if self._worker else 0

    def ask(self, job: Build | Save | Reset, ended: Callable[[Finished], None]) -> int:
        """Hand over a job and return its number.

        Args:
            job: its own number does not matter.
            ended: called once, from `tick`, when the job ends or its worker does.
        """
        number = next(self._numbers)
        self._ends[number] = ended
        if self._worker is None:
            self._begin()
        assert self._worker is not None
        self._worker.send(replace(job, job=number))
        return number

    def change(self, settings: Settings) -> None:
        """Other settings for the worker that runs and for those that come after it."""
        self.settings = settings
        if self._worker is not None:
            self._worker.send(settings)

    def cancel(self, number: int) -> None:
        """Stop a job at its next safe point; its end is told as any other.

        Where none comes in time, as in the middle of somebody else's code, the worker is ended and a new one begun.
        """
        if self._worker is None or number not in self._ends:
            return
        self._worker.send(Cancel(job=number))
        if number == min(self._ends):
            self._cancel_by[number] = time.monotonic() + CANCEL_TIMEOUT
        else:  # the worker is at another job, which must not suffer
            self._ends.pop(number)(self._early_end(number, "CANCELED", "canceled before it began"))

    def tick(self) -> None:
        """Hear what the worker said; see to it that there is one."""
        if self._worker is None:
            if time.monotonic() >= self._restart_at:
                self._begin()
            return
        is_alive = self._worker.is_alive
        for message in self._worker.received():
            self._hear(message)
        if not is_alive:
            self._lost()
        elif any(time.monotonic() > ends_at for ends_at in self._cancel_by.values()):
            self._end_cancelled()
        elif time.monotonic() - self._began_at > STEADY:
            self._backoff = FIRST_BACKOFF

    def stop(self, timeout: float) -> bool:
        """End the worker; whether it saved in time. What was on the disk before is safe either way."""
        is_orderly = True
        if self._worker is not None:
            is_orderly = self._worker.stop(timeout)
            self._worker = None
        self._fail_all("the node stops")
        return is_orderly

    def _begin(self) -> None:
        self._worker: WorkerProcess | None = WorkerProcess(self.settings)
        self._began_at = time.monotonic()

    def _hear(self, message: Any) -> None:
        if isinstance(message, Log):
            self._log(message.level, message.text)
        elif isinstance(message, Report):
            self.report = message
        elif isinstance(message, Finished) and message.job in self._ends:
            self._cancel_by.pop(message.job, None)
            self._ends.pop(message.job)(message)

    def _end_cancelled(self) -> None:
        assert self._worker is not None
        self._log(logging.WARNING, "the worker came to no safe point in time and is ended; the published map is safe")
        self._worker.kill()
        cancelled, self._cancel_by = set(self._cancel_by), {}
        for number in cancelled:
            self._ends.pop(number)(self._early_end(number, "CANCELED", "canceled in the middle of a stage"))
        self._fail_all("the worker was ended because another job was canceled; ask again")
        self.report = replace(self.report, stage="", job=0)
        self._begin()

    def _lost(self) -> None:
        assert self._worker is not None
        text = f"the worker {self._worker.exit_text}"
        if self.report.state == "error" and self.report.message:
            text = self.report.message  # it said why
        self._log(logging.ERROR, f"{text}; the map is safe, trying again in {self._backoff:.0f} s")
        self.report = replace(self.report, state="error", message=text, stage="")
        self._worker = None
        self._restart_at = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, MAX_BACKOFF)
        self._fail_all(text)

    def _fail_all(self, text: str) -> None:
        ends, self._ends, self._cancel_by = self._ends, {}, {}
        for number, ended in ends.items():
            ended(self._early_end(number, "INTERNAL", text))

    def _early_end(self, number: int, error_code: str, text: str) -> Finished:
        """The end of a job whose worker cannot tell it any more."""
        report, version = self.report, self.report.map_version
        fields = {"map_version": version, "map_path": self.settings.map_path}
        if version:
            text = f"{text}; there is version {version} of the map"
            fields.update(num_keyframes=report.num_published, peak_memory=report.memory)
        return Finished(job=number, error_code=error_code, message=text, partial=version > 0, fields=fields)
