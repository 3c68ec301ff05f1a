# SPDX-License-Identifier: Apache-2.0
"""Finds the files that come with the package beside its code: options, launch files, RViz settings."""

from pathlib import Path

PACKAGE = "ccl_lgs_ros"


def resource(relative: str) -> Path:
    """The path of a file such as "config/default.yaml", in a source tree or below an install prefix.

    Raises:
        FileNotFoundError: naming the places that were searched.
    """
    here = Path(__file__).absolute().parent  # not resolved: a symlink install is an install space too
    searched = [here.parent] if (here.parent / "package.xml").is_file() else []
    searched += [parent / "share" / PACKAGE for parent in here.parents]
    for folder in searched:
        if (folder / relative).exists():
            return folder / relative
    raise FileNotFoundError(f"{relative} is not installed with {PACKAGE}; searched {', '.join(map(str, searched))}")
