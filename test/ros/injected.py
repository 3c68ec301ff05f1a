# SPDX-License-Identifier: Apache-2.0
"""Code of a test put into the worker processes of its nodes, to make happen there what cannot be had otherwise."""

import os
from pathlib import Path

import pytest
from ros.harness import ROOT

PREAMBLE = """import sys
if any(argument.endswith({module!r}) for argument in sys.orig_argv):
    sys.path.insert(0, {root!r})
"""


def inject(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str, module: str = "worker_main") -> None:
    """Run `source` at the start of every process of a module that begins from now on."""
    folder.mkdir(exist_ok=True)
    body = "".join(f"    {line}\n" for line in source.strip().splitlines())
    preamble = PREAMBLE.format(module=module, root=str(ROOT))
    (folder / "sitecustomize.py").write_text(preamble + body)
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{known}" if known else str(folder))
