# SPDX-License-Identifier: Apache-2.0
"""Starts a program of the package, and says what to install where the Python in use lacks something that it needs."""

import os
import sys
from importlib import import_module


def start(module: str) -> int | str:
    """Run main() of a module; returns its exit status, or one sentence of advice where an import is missing.

    An installed executable takes the first python3 on the path, which need not be the one with the packages.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read with torch: its idle threads must not spin beside ours
    try:
        return import_module(module).main() or 0
    except ModuleNotFoundError as error:
        return advice(module, error)


def advice(module: str, error: ModuleNotFoundError) -> str:
    """One sentence: which package a module needs and how to get it; raises the error where it is none of others."""
    missing = (error.name or "").partition(".")[0]
    if missing in ("", "ccl_lgs_ros"):
        raise error
    return (
        f"{module} needs the Python package {missing}, which {sys.executable} does not have; activate the "
        f"environment that has it, or install the list with: {sys.executable} -m pip install -r requirements.txt"
    )
