# SPDX-License-Identifier: Apache-2.0
"""What every benchmark shares: pairing in one run, bars and floors, the machine's name, JSON and a table.

A benchmark is a script `benchmarks/NAME.py [--quick]` that fills a `Report` and saves it. A figure is held against its
bar (what we set out to reach) and, where one is known, against its floor: the time that the bytes and operations alone
would take on this machine. `python benchmarks/suite.py` runs them all, each in a process of its own.
"""

import gc
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "numpy", "numba", "scipy", "opencv-python-headless", "gsplat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    unit: str
    at_most: float | None = None  # the bar, from above
    at_least: float | None = None  # the bar, from below
    floor: float | None = None  # in the same unit: what bytes and operations alone would take
    note: str = ""  # what the floor counts, or why the bar was missed and what could be tried next

    @property
    def passes(self) -> bool:
        """Whether every bar is met; a figure without one does."""
        below = self.at_most is None or self.value <= self.at_most
        return below and (self.at_least is None or self.value >= self.at_least)

    def row(self) -> str:
        """The figure as a line of the table."""
        bar = f"<= {self.at_most:g}" if self.at_most is not None else ""
        bar = f">= {self.at_least:g}" if self.at_least is not None else bar
        verdict = ("ok" if self.passes else "MISSED") if bar else ""
        floor = f"{self.floor:.3g} ({self.value / self.floor:.1f}x)" if self.floor else ""
        return f"{self.name:<58} {self.value:>10.4g} {self.unit:<6} {bar:>10} {verdict:<7} {floor}"


HEADING = f"{'figure':<58} {'measured':>10} {'unit':<6} {'bar':>10} {'':<7} floor (distance)"


@dataclass(slots=True)
class Report:
    """The figures of one benchmark, with the machine that they were taken on."""

    benchmark: str
    quick: bool = False
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)  # anything else worth keeping, as JSON
    began: float = field(default_factory=time.perf_counter)

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        floor: float | None = None,
        note: str = "",
    ) -> None:
        """Note a figure and print it."""
        found = Figure(
            name=name, value=float(value), unit=unit, at_most=at_most, at_least=at_least, floor=floor, note=note
        )
        if not self.figures:
            print(HEADING, flush=True)
        self.figures.append(found)
        print(found.row(), flush=True)

    def save(self, folder: Path = RESULTS) -> Path | None:
        """Write NAME.json; a quick run, which tries the script and not the machine, writes nothing."""
        if self.quick:
            return None
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.benchmark}.json"
        content = {
            "benchmark": self.benchmark,
            "machine": machine(),
            "seconds": round(time.perf_counter() - self.began, 1),
            "peak_mb": round(peak_mb(), 1),
            "figures": [asdict(found) | {"passes": found.passes} for found in self.figures],
            "details": self.details,
        }
        path.write_text(json.dumps(content, indent=2) + "\n")
        print(f"written to {path}", flush=True)
        return path


def paired(*work: Callable[[], object], rounds: int = 5, warm: int = 1) -> list[list[float]]:
    """The seconds of each piece of work in every round, taken turn by turn, so that other load hits all alike."""
    for _ in range(warm):
        for each in work:
            each()
    taken: list[list[float]] = [[] for _ in work]
    gc.collect()
    for _ in range(rounds):
        for each, seconds in zip(work, taken, strict=True):
            began = time.perf_counter()
            each()
            seconds.append(time.perf_counter() - began)
    return taken


def best(seconds: Sequence[float]) -> float:
    """The least, which other work on the machine disturbs least."""
    return min(seconds)


def p50(seconds: Sequence[float]) -> float:
    """The median."""
    return statistics.median(seconds)


def copy_bytes_per_s(size: int = 256 << 20) -> float:
    """Bytes read and written a second by one large copy: the memory's speed, for floors."""
    source = np.ones(size // 8)
    target = np.empty_like(source)
    (seconds,) = paired(lambda: np.copyto(target, source), rounds=5)
    return 2 * size / best(seconds)


def resident_mb() -> float:
    """Memory that this process holds now; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0.0
    return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6


def peak_mb() -> float:
    """The most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss begins with what the parent held
        held = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(held.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def machine() -> dict[str, object]:
    """What the figures were taken on; a load above the number of cores says that others used it too."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
