# SPDX-License-Identifier: Apache-2.0
"""`colcon build` makes an install space whose nodes and messages import together, copied and symlinked alike."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PREFIX = Path(sys.prefix)
PYTHON_FOLDER = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
EXECUTABLES = ("bag_player", "ccl-lgs", "demo_camera", "keyframe_node", "query_node", "training_node")
SOURCES = ("action", "ccl_lgs_ros", "config", "foxglove", "launch", "msg", "rviz", "scripts", "srv")
PROGRAM = """
import sys
from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.msg import Keyframe, MapStatus, SemanticGaussians, SemanticInstance
from ccl_lgs_ros.srv import SemanticQuery
from ccl_lgs_ros.ros import bag_player, demo_camera, keyframe_node, query_node, training_node
from ccl_lgs_ros.resources import resource
from rclpy.serialization import deserialize_message, serialize_message
answer = SemanticQuery.Response(instances=[SemanticInstance(id=7, level="wp")])
again = deserialize_message(serialize_message(answer), SemanticQuery.Response)
assert again == answer, again
for module in (BuildMap, Keyframe, SemanticQuery, keyframe_node, query_node, training_node, resource):
    file = sys.modules[getattr(module, "__module__", module.__name__)].__file__
    assert file.startswith(sys.argv[1] + "/ccl_lgs_ros/"), file
print(resource("config/default.yaml"))
"""

pytestmark = [pytest.mark.build, pytest.mark.ros, pytest.mark.timeout(600)]


def environment(install: Path | None = None) -> dict[str, str]:
    """The wheels as the underlay and, once built, the install space over it; nothing of the source tree."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CMAKE_PREFIX_PATH")}
    kept |= {"PATH": f"{PREFIX / 'bin'}:{os.environ['PATH']}", "AMENT_PREFIX_PATH": str(PREFIX)}
    if install:
        kept["PYTHONPATH"] = str(install / PYTHON_FOLDER)
        kept["AMENT_PREFIX_PATH"] = f"{install}:{PREFIX}"
        kept["LD_LIBRARY_PATH"] = f"{install / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    return kept


def run(command: list, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colcon workspace with what is ours in it."""
    folder = tmp_path_factory.mktemp("workspace")
    source = folder / "src" / "ccl_lgs_ros"
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CMakeLists.txt", "package.xml", "setup.py"):
        shutil.copy(ROOT / name, source)
    return folder


@pytest.fixture(scope="module", params=["copied", "symlinked"])
def install_space(request: pytest.FixtureRequest, workspace: Path) -> Path:
    """The package built by colcon; the second time with the objects of the first, which are the same."""
    options = ["--symlink-install"] if request.param == "symlinked" else []
    options += ["--install-base", request.param, "--cmake-force-configure"]
    shutil.rmtree(workspace / "build" / "ccl_lgs_ros" / "ament_cmake_python", ignore_errors=True)  # copies, then links
    command = [sys.executable, "-m", "colcon", "build", *options, "--cmake-args", "-G", "Ninja", "-DBUILD_TESTING=OFF"]
    done = run(command, workspace, environment())
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return workspace / request.param / "ccl_lgs_ros"


def test_row_38_nodes_and_messages_import_together_from_the_install_space(install_space: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, install_space / PYTHON_FOLDER]
    done = run(command, install_space, environment(install_space))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(install_space / "share" / "ccl_lgs_ros" / "config" / "default.yaml")


def test_executables_are_where_ros2_run_looks_and_the_cli_starts(install_space: Path) -> None:
    folder = install_space / "lib" / "ccl_lgs_ros"
    assert sorted(p.name for p in folder.iterdir()) == sorted(EXECUTABLES)
    done = run([folder / "ccl-lgs", "--help"], install_space, environment(install_space))
    assert done.returncode == 0, done.stderr
    assert "usage: ccl-lgs" in done.stdout


def test_launch_and_option_files_are_shared(install_space: Path) -> None:
    for name in ("config", "foxglove", "launch", "rviz"):
        theirs = {p.name for p in (install_space / "share" / "ccl_lgs_ros" / name).iterdir()}
        assert theirs == {p.name for p in (ROOT / name).iterdir() if p.name != "__pycache__"}
