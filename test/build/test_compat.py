# SPDX-License-Identifier: Apache-2.0
"""What reads messages also works with the numpy that ROS distributions ship, and on a newer Python."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENTS = ROOT / ".venv-compat"
TESTS = ("test_images.py", "test_depth.py", "test_rectify.py", "test_transforms.py")
ALWAYS = ("pytest", "pytest-timeout", "pyyaml", "scipy<1.15")
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
CASES = {
    "numpy-1.26": (THIS_PYTHON, ("numpy==1.26.4", "opencv-python-headless==4.11.0.86")),
    "python-3.12": ("3.12", ("numpy==2.2.6", "opencv-python-headless==4.12.0.88")),
}

pytestmark = [pytest.mark.build, pytest.mark.timeout(240)]


def interpreter(version: str) -> Path | None:
    """A Python of this version: the running one, one on the path, or one that pyenv has."""
    if version == THIS_PYTHON:
        return Path(sys.executable)
    on_path = [shutil.which(f"python{version}")]
    found = [Path(p) for p in [*on_path, *pyenv_versions(version)] if p]
    return next((p for p in found if answers(p, version)), None)


def pyenv_versions(version: str) -> list[Path]:
    if not shutil.which("pyenv"):
        return []
    root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False).stdout.strip()
    return sorted(Path(root, "versions").glob(f"{version}.*/bin/python{version}"), reverse=True)


def answers(python: Path, version: str) -> bool:
    """Whether it starts and is what its name says; the shim of a version manager may not."""
    question = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", question], capture_output=True, text=True, check=False, env=clean())
    return done.stdout.strip() == version


def clean() -> dict[str, str]:
    """The variables without those that point into this environment's ROS."""
    return {n: v for n, v in os.environ.items() if n not in ("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHON")}


def environment(name: str, version: str, packages: tuple[str, ...]) -> Path:
    """The Python of a virtual environment with these packages, made once and kept."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"python{version} is not on this machine")
    folder, wanted = ENVIRONMENTS / name, "\n".join((version, *ALWAYS, *packages))
    stamp = folder / "packages.txt"
    if not stamp.is_file() or stamp.read_text() != wanted:
        check([python, "-m", "venv", "--clear", folder])
        check([folder / "bin" / "python", "-m", "pip", "install", "-q", *ALWAYS, *packages])
        stamp.write_text(wanted)
    return folder / "bin" / "python"


def check(command: list) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=clean(), cwd=ROOT)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.mark.parametrize("name", CASES)
def test_row_36_messages_decode_the_same_with_other_versions(name: str) -> None:
    version, packages = CASES[name]
    python = environment(name, version, packages)
    files = [Path("test", test) for test in TESTS]
    output = check([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files])
    assert re.search(r"\d{2,} passed", output) and "skipped" not in output, output
