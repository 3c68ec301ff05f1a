# SPDX-License-Identifier: Apache-2.0
"""An installed executable whose Python lacks torch, as the system's does where the packages are in an environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import MapStatus
from ros.harness import LATCHED, ROOT

# What Python itself says where a package is not installed.
HIDES_TORCH = """
import sys

class Hides:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hides())
"""
ADVICE = "needs the Python package torch"


@pytest.fixture
def without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDES_TORCH)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}")


@pytest.mark.parametrize("name", ["query_node", "ccl-lgs"])
def test_row_37_an_executable_that_needs_torch_says_what_to_install(name: str, without_torch, tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / name, *(["demo"] if name == "ccl-lgs" else [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert ADVICE in line and f"{sys.executable} -m pip install -r requirements.txt" in line


def test_row_37_the_training_node_lives_without_torch_and_tells_what_to_install(
    without_torch, client, start, tmp_path: Path
) -> None:
    statuses = client.collect(MapStatus, "status", LATCHED)
    node = start("training_node", map_path=tmp_path / "map")
    client.until(lambda: statuses and statuses[-1].state == MapStatus.STATE_ERROR, 90, "an error in the status")
    assert ADVICE in statuses[-1].message and "pip install -r requirements.txt" in statuses[-1].message
    assert "Traceback" not in node.output
    assert node.interrupt() == 0


def test_row_37_the_keyframe_node_does_not_need_torch(without_torch, client, start, tmp_path: Path) -> None:
    statuses = client.collect(MapStatus, "status", LATCHED)
    start("keyframe_node", map_path=tmp_path / "map")
    client.until(lambda: statuses and statuses[-1].state == MapStatus.STATE_WAITING_FOR_DATA, 90, "a node at work")
