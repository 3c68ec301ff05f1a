# SPDX-License-Identifier: Apache-2.0
"""The set-up names what a machine lacks and does nothing twice."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def set_up(tmp_path: Path) -> ModuleType:
    """The script as a module of a project that lies in an empty folder."""
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "set_up.py", tmp_path / "scripts")
    spec = importlib.util.spec_from_file_location("set_up_script", script)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepared(set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    """Files for the steps to depend on, and steps that only note that they ran."""
    for folder in ("msg", "srv", "action"):
        (set_up.ROOT / folder).mkdir()
    for name in ("setup.py", "requirements.txt", "constraints.txt", "CMakeLists.txt", "package.xml", "msg/A.msg"):
        (set_up.ROOT / name).write_text(name)
    for step in ("install_packages", "patch_cmake_files", "build_tf2_msgs", "build_stand_ins", "build_interfaces"):
        monkeypatch.setattr(set_up, step, lambda step=step: log.append(step))
    monkeypatch.setattr(set_up, "make_environment", lambda rebuild: set_up.VENV.mkdir(exist_ok=True))


def test_everything_that_is_missing_is_named_at_once_with_one_line_that_installs_it(set_up, monkeypatch) -> None:
    monkeypatch.setattr(set_up.shutil, "which", lambda name: None)
    with pytest.raises(set_up.SetUpError) as error:
        set_up.check_tools()
    text = str(error.value)
    assert all(
        word in text for word in ("a C++ compiler", "a C compiler", "cmake 3.22", "sudo apt install g++ gcc cmake")
    )
    assert "\n" not in text


def test_an_old_cmake_is_as_good_as_none(set_up, monkeypatch) -> None:
    monkeypatch.setattr(set_up, "cmake_version", lambda: (3, 16))
    with pytest.raises(set_up.SetUpError, match=r"cmake 3\.22 or newer missing; install with: sudo apt install cmake"):
        set_up.check_tools()


def test_a_second_run_does_only_what_changed(set_up, monkeypatch) -> None:
    log: list[str] = []
    prepared(set_up, monkeypatch, log)
    assert set_up.set_up(False) and len(log) == 5
    assert not set_up.set_up(False) and len(log) == 5
    (set_up.ROOT / "msg" / "A.msg").write_text("uint8 more")
    assert set_up.set_up(False) and log[5:] == ["build_interfaces"]
    (set_up.ROOT / "constraints.txt").write_text("numpy==9")
    assert set_up.set_up(False) and len(log) == 11


def test_an_interrupted_step_is_done_again_though_nothing_changed_since(set_up, monkeypatch) -> None:
    log: list[str] = []
    prepared(set_up, monkeypatch, log)
    set_up.set_up(False)
    monkeypatch.setattr(set_up, "install_packages", interrupted)
    (set_up.ROOT / "requirements.txt").write_text("changed")
    with pytest.raises(KeyboardInterrupt):
        set_up.set_up(False)
    (set_up.ROOT / "requirements.txt").write_text("requirements.txt")
    monkeypatch.setattr(set_up, "install_packages", lambda: log.append("again"))
    assert set_up.set_up(False) and log[5:] == ["again"]


def interrupted() -> None:
    raise KeyboardInterrupt


def test_a_failing_command_shows_the_end_of_its_log_and_a_hint(set_up) -> None:
    set_up.WORK.mkdir(parents=True)
    command = [sys.executable, "-c", "import sys; print('disk is full'); sys.exit(3)"]
    with pytest.raises(set_up.SetUpError, match=r"make room[\s\S]*log\.txt[\s\S]*disk is full"):
        set_up.run(command, "make room")


def test_torch_comes_from_the_index_that_the_user_names(set_up, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_INDEX", "https://example.org/simple")
    assert set_up.torch_index() == ["--index-url", "https://example.org/simple"]


def test_a_python_that_is_not_supported_is_refused_in_one_line() -> None:
    variables = {**os.environ, "PYTHON": "no-such-python"}
    command = ["sh", ROOT / "scripts" / "set_up.sh"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "PYTHON=no-such-python is no Python 3.10 to 3.13" in done.stderr


def test_a_new_set_up_of_a_finished_project_is_silent_and_quick() -> None:
    if not (ROOT / ".venv" / "set-up" / "interfaces").is_file():
        return  # the tests run from another environment
    variables = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    begun = time.monotonic()
    done = subprocess.run(
        ["sh", ROOT / "scripts" / "set_up.sh"], env=variables, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - begun < 10
