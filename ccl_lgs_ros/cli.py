# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs: map a recording, ask the map in words, see and score the answer.

Exit codes: 0 done (query: found), 1 nothing found, 2 a mistake that the message says how to put right.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from ccl_lgs_ros.errors import Cancelled, CclLgsError

COMMANDS = {
    "map": "mapping",
    "query": "asking",
    "render": "rendering",
    "evaluate": "scoring",
    "export": "exporting",
    "edit": "editing",
    "make-scene": "scenes",
    "demo": "demo",
    "view": "view",
    "approach": "approaching",
    "report": "report",
    "check-bag": "bags",
    "doctor": "doctor",
    "options": "options",
    "recipes": "recipes",
}

EXAMPLES = """\
start here:
  ccl-lgs demo -o demo                      a synthetic room, mapped and asked, with pictures
  ccl-lgs check-bag BAG                     what is in a recording, and the command to map it
  ccl-lgs map BAG -o MAP                    a recording becomes a map
  ccl-lgs query MAP "red mug"               the map answers
  ccl-lgs query MAP "red mug" --picture mug.png
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read with torch: its idle threads must not spin beside ours
    arguments = parser().parse_args(argv)
    logging.basicConfig(
        level=[logging.WARNING, logging.INFO, logging.DEBUG][min(arguments.verbose, 2)],
        format="%(levelname)s %(name)s: %(message)s",
    )
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except CclLgsError as error:
        print(f"ccl-lgs: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Cancelled):
        print("ccl-lgs: stopped; what was finished is saved", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """The command line, with every subcommand."""
    top = argparse.ArgumentParser(
        prog="ccl-lgs",
        description="Turn posed camera images into a 3D map of Gaussians that answers to words.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module_name in COMMANDS.items():
        module = import_module(f"ccl_lgs_ros.commands.{module_name}")
        sub = subparsers.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("-v", "--verbose", action="count", default=0, help="say more (-vv: everything)")
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return top


if __name__ == "__main__":
    sys.exit(main())
