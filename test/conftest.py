# SPDX-License-Identifier: Apache-2.0
"""What all tests share: threads and seeds, the recordings, which tests may be left out, and the time they take."""

import importlib.util
import os
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
THREADS = str(max(1, min((os.cpu_count() or 1) // WORKERS, 4)))
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, THREADS)  # before numpy, torch and numba are first imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as ccl-lgs does: torch's idle threads must not spin beside ours
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"

import model_shim
import numpy as np
import pytest
from reliability_page import ReliabilityPage, write_figures

if TYPE_CHECKING:
    from mapped_rooms import MappedRoom

model_shim.activate()

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
BUDGETS = {"test": 1700, "test/ros": 1260, "test/build": 360}  # seconds that a folder of tests may take, all workers
SLOWEST_SHOWN = 5
# What takes longest starts first, so that workers end together; tests of one folder or file here stay with one worker.
# The whole method goes before all but the nodes: it maps the rooms that other files ask for, so none of them waits.
SLOW = ("test/ros/", "test/test_whole_method.py", "test/build/test_colcon.py", "test/test_real_bags.py", "test/build/")
MAPPING_TIME = 900  # seconds that a test may take which may have to map a room


@cache
def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@cache
def has_ros() -> bool:
    return importlib.util.find_spec("rclpy") is not None


@cache
def has_chromium() -> bool:
    return shutil.which("chromium") is not None


# What a marker asks for: whether it is here, and what to say where it is not.
NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "browser": (has_chromium, "needs chromium: sudo apt install chromium"),
    "data": (SHARED_DATA.is_dir, "needs the recordings in ../shared/data"),
    "gpu": (has_gpu, "needs an NVIDIA GPU"),
    "ros": (has_ros, "needs rclpy: run make setup"),
}
# A skip for any other reason, or although the thing is here, fails the run.
ALLOWED_SKIPS: tuple[tuple[re.Pattern[str], Callable[[], bool]], ...] = (
    (re.compile(r"shared[/ ]data"), lambda: not SHARED_DATA.is_dir()),
    (re.compile(r"GPU|CUDA|gsplat", re.IGNORECASE), lambda: not has_gpu()),
    (re.compile(r"chromium"), lambda: not has_chromium()),
    (re.compile(r"weights", re.IGNORECASE), lambda: True),
    (re.compile(r"python3\.\d+ is not on this machine"), lambda: True),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        action="append",
        default=[],
        metavar="TEXT",
        help="fail if a skip names TEXT",
    )
    parser.addoption("--reliability", metavar="PAGE", help="run the tests of reliability and write PAGE")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--reliability")
    if path is not None:
        config.pluginmanager.register(ReliabilityPage(Path(path), is_writer=not hasattr(config, "workerinput")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, (is_here, reason) in NEEDS.items():
            if item.get_closest_marker(marker) and not is_here():
                item.add_marker(pytest.mark.skip(reason=reason))
        if "mapped_room" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(MAPPING_TIME))
    items.sort(key=lambda item: start_order(item.nodeid))  # stable: otherwise the order stays


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives the workers whole groups."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return worker_group(nodeid)

    return ByGroup(config, log)


def worker_group(test: str) -> str:
    """Tests of one group run one after the other: a file's share their fixtures, those of the nodes need their time."""
    return "test/ros/" if test.startswith("test/ros/") else test.partition("::")[0]


def start_order(test: str) -> int:
    """Where a test's group comes in the order of their start."""
    return next((place for place, name in enumerate(SLOW) if test.startswith(name)), len(SLOW))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; skips the test where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the recordings in ../shared/data")
    return SHARED_DATA


@pytest.fixture(scope="session")
def mapped_room(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], "MappedRoom"]:
    """A synthetic room by name, mapped once in the whole run; see mapped_rooms.py."""
    from mapped_rooms import folder_of_run, room_in

    return cache(lambda name: room_in(folder_of_run(tmp_path_factory), name))


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """The same global random numbers in every test, whatever ran before; our own code takes generators."""
    random.seed(0)
    np.random.seed(0)


def is_allowed(reason: str, required: list[str]) -> bool:
    """Whether a test may be left out for this reason here."""
    if any(text.lower() in reason.lower() for text in required):
        return False
    return any(pattern.search(reason) and is_missing() for pattern, is_missing in ALLOWED_SKIPS)


def skip_reasons(reporter: pytest.TerminalReporter) -> dict[str, list[str]]:
    """The tests left out, by reason."""
    reasons = defaultdict(list)
    for report in reporter.getreports("skipped"):
        if hasattr(report, "wasxfail"):
            continue
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")].append(report.nodeid)
    return reasons


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    required = session.config.getoption("--require")
    if reporter is None or session.exitstatus != pytest.ExitCode.OK:
        return
    if not all(is_allowed(reason, required) for reason in skip_reasons(reporter)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    write_skips(terminalreporter, config.getoption("--require"))
    write_figures(terminalreporter)
    write_times(terminalreporter)


def write_skips(reporter: pytest.TerminalReporter, required: list[str]) -> None:
    reasons = skip_reasons(reporter)
    if reasons:
        reporter.section("tests left out")
    for reason, tests in sorted(reasons.items()):
        if is_allowed(reason, required):
            reporter.write_line(f"{len(tests)} left out: {reason}")
        else:
            reporter.write_line(f"{len(tests)} left out, which fails the run: {reason}", red=True)
        for test in tests:
            reporter.write_line(f"    {test}")


def write_times(reporter: pytest.TerminalReporter) -> None:
    """Seconds per folder of tests beside its budget, and the slowest tests."""
    of_test: dict[str, float] = defaultdict(float)
    for reports in reporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                of_test[report.nodeid] += report.duration
    of_suite: dict[str, list[float]] = defaultdict(list)
    for test, seconds in of_test.items():
        of_suite[suite(test)].append(seconds)
    reporter.section("time")
    for name, times in sorted(of_suite.items()):
        budget = BUDGETS.get(name, BUDGETS["test"])
        note = "  OVER BUDGET" if sum(times) > budget else ""
        reporter.write_line(f"{name:12} {len(times):5} tests {sum(times):7.1f} s of {budget} s{note}")
    for test, seconds in sorted(of_test.items(), key=lambda item: -item[1])[:SLOWEST_SHOWN]:
        reporter.write_line(f"    {seconds:7.1f} s {test}")


def suite(test: str) -> str:
    """The folder that a test belongs to."""
    return test.partition("::")[0].rpartition("/")[0]
