# SPDX-License-Identifier: Apache-2.0
"""All benchmarks of speed and memory within ten minutes: python benchmarks/suite.py [--quick] [NAME ...].

Each runs in a process of its own, so that its peak of memory is its own, and writes benchmarks/results/NAME.json. At
the end one table shows every figure with its bar and its floor. A figure that misses its bar is marked, with the
reason. docs/speed.md is the same as a page, made from the results.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness import HEADING, RESULTS, Figure

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "speed.md"
INTRODUCTION = """# Speed and memory

Made by `make bench` (`benchmarks/suite.py`); the figures with all details stand in `benchmarks/results/`. Ratios are of
things that were run turn by turn in one process. A floor is the time that the bytes and operations alone would take on
that machine, which no program reaches; the distance to it says what is left to win. Figures that miss their bar are in
bold, with the reason.

![What the live path takes for a keyframe while the map grows](growth.png)
"""
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
        PAGE.write_text(page())
        print(f"written to {PAGE}")
    print(f"\n{time.monotonic() - began:.0f} s" + (f"; broken: {', '.join(broken)}" if broken else ""))
    return 1 if broken else 0


def results(names: Iterable[str]) -> Iterator[tuple[str, dict, list[Figure]]]:
    """The last results that were written, by benchmark."""
    for name in names:
        path = RESULTS / f"{name}.json"
        if path.exists():
            content = json.loads(path.read_text())
            entries = ({k: v for k, v in entry.items() if k != "passes"} for entry in content["figures"])
            yield name, content, [Figure(**entry) for entry in entries]


def print_table(names: Iterable[str]) -> None:
    """Every figure, then why any of them fell short."""
    print(f"\n{HEADING}")
    missed = []
    for name, content, figures in results(names):
        print(f"-- {name}: {content['seconds']:.0f} s, {content['peak_mb']:.0f} MB at the peak")
        for figure in figures:
            print(figure.row())
        missed += [figure for figure in figures if not figure.passes]
    for figure in missed:
        print(f"missed: {figure.name}: {figure.note or 'no reason is known'}")


def page() -> str:
    """docs/speed.md: all results as tables, with the machine they were taken on."""
    parts = [INTRODUCTION]
    for name, content, figures in results(BENCHMARKS):
        machine = content["machine"]
        parts += [
            f"## {name}\n",
            f"{machine['processor']}, {machine['cores']} cores, load {machine['load']} at the end, "
            f"torch {machine['versions']['torch']}; {content['seconds']:.0f} s, "
            f"{content['peak_mb']:.0f} MB at the peak.\n",
            "| figure | measured | bar | floor (distance) |\n|---|---|---|---|",
            *(_line(figure) for figure in figures),
            "",
        ]
        of_note: dict[str, list[str]] = {}
        for figure in figures:
            of_note.setdefault(figure.note, []).append(figure.name)
        parts += [f"* {'; '.join(of)}: {note}" for note, of in of_note.items() if note]
        parts += [""] if any(of_note) else []
    return "\n".join(parts)


def _line(figure: Figure) -> str:
    bar = f"≤ {figure.at_most:g}" if figure.at_most is not None else ""
    bar = f"≥ {figure.at_least:g}" if figure.at_least is not None else bar
    value = f"{figure.value:.4g} {figure.unit}".strip()
    value = value if figure.passes else f"**{value}** (missed)"
    floor = f"{figure.floor:.3g} ({figure.value / figure.floor:.1f}x)" if figure.floor else ""
    return f"| {figure.name} | {value} | {bar} | {floor} |"


if __name__ == "__main__":
    sys.exit(main())
