# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs options: every option with its default, range and meaning."""

import argparse
from collections.abc import Mapping

from ccl_lgs_ros.commands.shared_arguments import add_config_arguments, config_of
from ccl_lgs_ros.config import options

SUMMARY = "list every option with its value, range and meaning"
DESCRIPTION = "List every option. The same names work in --set, in a YAML file and as ROS parameters."
EXAMPLES = "examples:\n  ccl-lgs options\n  ccl-lgs options query\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("filter", nargs="?", default="", help="only options whose name holds this text")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    for name, field, value in options(config_of(arguments)):
        if arguments.filter in name:
            print(f"{name} = {value}")
            print(f"    {field.metadata['doc']}{_limits(field.metadata)}")
    return 0


def _limits(metadata: Mapping) -> str:
    if metadata["choices"]:
        return f" [{', '.join(metadata['choices'])}]"
    low, high = metadata["low"], metadata["high"]
    if low is None and high is None:
        return ""
    return f" [{'' if low is None else low} to {'' if high is None else high}]"
