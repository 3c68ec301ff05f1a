# SPDX-License-Identifier: Apache-2.0
"""What each stage of a work took, in time and memory, told from the calls of its progress callback."""

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from ccl_lgs_ros.protocols import Progress, no_progress

BYTES_PER_MAXRSS = 1024  # ru_maxrss counts kilobytes on Linux
SAMPLE_PERIOD = 0.05  # seconds between looks at the memory within a stage


@dataclass(slots=True)
class Stage:
    """What a stage took so far."""

    seconds: float = 0.0
    count: int = 0  # the steps that it had
    peak_bytes: int = 0  # the most that the process held meanwhile, all that was there before included


class StageClock:
    """A progress callback that passes on what it is told, and keeps the time since the call before for the stage.

    Args:
        progress: who is told; what it does, as waiting while work is paused, is not counted.
    """

    def __init__(self, progress: Progress = no_progress) -> None:
        self._progress = progress
        self._stages: dict[str, Stage] = {}
        self._newest = ""
        self._high_water = _most_resident()
        self._sampled_at = float("-inf")
        self._since = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
        self.lap(stage, done)
        self._progress(stage, done, total, **figures)
        self.begin()

    def begin(self) -> None:
        """Work begins now; what passed since the last call was none."""
        self._since = time.monotonic()

    def lap(self, name: str, done: int = 0) -> None:
        """What passed since the last call was work of a stage.

        Args:
            done: its steps so far; 0 = one more than before.
        """
        now = time.monotonic()
        stage = self._stages.setdefault(name, Stage())
        stage.seconds += now - self._since
        stage.count = max(stage.count, done) if done else stage.count + 1
        stage.peak_bytes = max(stage.peak_bytes, self._held(now, is_new=name != self._newest))
        self._newest, self._since = name, now

    @property
    def record(self) -> dict[str, dict[str, float]]:
        """Each stage, in the order in which they began, as JSON has it."""
        return {
            name: {"seconds": round(stage.seconds, 3), "count": stage.count, "peak_bytes": stage.peak_bytes}
            for name, stage in self._stages.items()
        }

    def _held(self, now: float, is_new: bool) -> int:
        """The most bytes known to be held since the last look; 0 where it is too early for another."""
        if not is_new and now - self._sampled_at < SAMPLE_PERIOD:
            return 0
        self._sampled_at = now
        before, self._high_water = self._high_water, _most_resident()
        return self._high_water if self._high_water > before else _resident()


def _resident() -> int:
    """The bytes of memory that this process holds now; the most that it held where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return _most_resident()


def _most_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_MAXRSS
