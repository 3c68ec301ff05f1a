# SPDX-License-Identifier: Apache-2.0
"""All benchmarks of speed and memory within ten minutes: python benchmarks/suite.py [--quick] [NAME ...].

Each runs in a process of its own, so that its peak of memory is its own, and writes benchmarks/results/NAME.json. At
the end one table shows every figure with its bar and its floor. A figure that misses its bar is marked, with the
reason.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from harness import HEADING, RESULTS, Figure

HERE = Path(__file__).parent
BENCHMARKS = ("rasterizer", "registration", "growth", "optimize", "query", "memory", "seeding", "gpu")


def main() -> int:
    """Run them, then print the table; returns 1 if one of them broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(BENCHMARKS)}; all if none")
    parser.add_argument("--quick", action="store_true", help="small sizes: try the scripts, not the machine")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    broken = []
    began = time.monotonic()
    names = arguments.names or BENCHMARKS
    for place, name in enumerate(names, start=1):
        print(f"\n== {name} ({place} of {len(names)}, {time.monotonic() - began:.0f} s so far)", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), *(["--quick"] if arguments.quick else [])]
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # as the package's programs set it
        if subprocess.run(command, check=False, env=environment).returncode != 0:
            broken.append(name)
    if not arguments.quick:
        print_table(names)
    print(f"\n{time.monotonic() - began:.0f} s" + (f"; broken: {', '.join(broken)}" if broken else ""))
    return 1 if broken else 0


def print_table(names: tuple[str, ...] | list[str]) -> None:
    """Every figure of the last results, then why any of them fell short."""
    print(f"\n{HEADING}")
    missed = []
    for name in names:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        content = json.loads(path.read_text())
        print(f"-- {name}: {content['seconds']:.0f} s, {content['peak_mb']:.0f} MB at the peak")
        for entry in content["figures"]:
            figure = Figure(**{key: value for key, value in entry.items() if key != "passes"})
            print(figure.row())
            if not figure.passes:
                missed.append(figure)
    for figure in missed:
        print(f"missed: {figure.name}: {figure.note or 'no reason is known'}")


if __name__ == "__main__":
    sys.exit(main())
