# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs report: a map as one page to look at."""

import argparse
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import ProgressBars, add_config_arguments, config_of

SUMMARY = "write a page about a map, with pictures"
DESCRIPTION = """\
Write one HTML page that shows a map: its figures and how it was made, a plan from above, answers to prompts,
renderings beside photos, codes and tracks, what was dropped and why, time and memory. The page needs no network and
no other file; it reads well on a phone and on paper."""
EXAMPLES = """\
examples:
  ccl-lgs report flat -o flat.html
  ccl-lgs report flat -o flat.html --prompts "red mug" "the sofa next to the lamp"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="HTML", help="default: report.html"
    )
    parser.add_argument("--prompts", nargs="+", default=[], metavar="TEXT", help="what to ask; some are chosen if none")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    from ccl_lgs_ros.report.page import write_report  # imports torch

    with ProgressBars() as progress:
        size = write_report(arguments.map, arguments.output, config_of(arguments), arguments.prompts, progress)
    print(f"{arguments.output}: {size / 1e6:.1f} MB")
    return 0
