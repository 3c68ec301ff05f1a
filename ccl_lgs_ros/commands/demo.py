# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs demo: a synthetic room mapped, asked three things and scored, with pictures."""

import argparse
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import ProgressBars, add_config_arguments, config_of

SUMMARY = "map a synthetic room and ask it three things, with pictures"
DESCRIPTION = """\
Make a synthetic room, map its recording, ask for two things that are there and one that is not, and score the map.
Needs no data, no GPU, no model weights and no ROS."""
EXAMPLES = "examples:\n  ccl-lgs demo -o demo\n  ccl-lgs demo --seed 5 -o other\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    parser.add_argument("--seed", type=int, default=1, help="which room (default 1)")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make, map, ask, score; the table comes last."""
    from ccl_lgs_ros.demonstration import demonstrate

    with ProgressBars() as progress:
        text = demonstrate(arguments.output, arguments.seed, config_of(arguments), progress)
    print(text)
    return 0
