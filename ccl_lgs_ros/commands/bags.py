# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs check-bag: what is in a recording, whether it can be mapped, and how."""

import argparse
from pathlib import Path

SUMMARY = "say what is in a recording and print the command that maps it"
DESCRIPTION = "List a recording's topics, rates and poses, say whether it can be mapped, and print the command."
EXAMPLES = "examples:\n  ccl-lgs check-bag drive\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder or file")


def run(arguments: argparse.Namespace) -> int:
    """Print the report; exit 2 if the recording cannot be mapped."""
    from ccl_lgs_ros.capture import check_bag

    report = check_bag(arguments.bag)
    print(report)
    return 0 if report.can_be_mapped else 2
