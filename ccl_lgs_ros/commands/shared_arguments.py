# SPDX-License-Identifier: Apache-2.0
"""Arguments and outputs that several commands have."""

import argparse
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from ccl_lgs_ros.config import MapConfig, options, updated
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.recipes import asked_as, configured


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """--recipe, --config and --set, each over the one before it."""
    parser.add_argument("--recipe", metavar="NAME", default="", help="named choice of parts; see `ccl-lgs recipes`")
    parser.add_argument("--config", metavar="FILE", help="YAML file of options (plain, or a ROS parameter file)")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="change one option, for instance --set keyframes.min_translation=0.05; `ccl-lgs options` lists them",
    )


def config_of(arguments: argparse.Namespace, map_path: Path | None = None) -> MapConfig:
    """The options that the command line asks for; where it names no recipe, a map is asked as its own recipe says.

    Args:
        map_path: the map that is to be asked; None = the one that the command line names, if any.
    """
    given = arguments.recipe, arguments.config or "", arguments.assignments
    config, path = configured(*given), map_path or getattr(arguments, "map", None)
    if config.recipe or path is None:
        return config
    name, said = _said_by_map(path)
    by_argument = {f"query.{key}" for key, value in vars(arguments).items() if value is not None}
    asked = configured(*given, {key: value for key, value in said.items() if key not in by_argument})
    before = {key: value for key, _, value in options(config)}
    took = [f"{key} {value}" for key, _, value in options(asked) if value != before[key]]
    if took:
        print(f"asked as recipe {name}: {', '.join(took)}", file=sys.stderr)
    return asked


def _said_by_map(path: Path) -> tuple[object, dict[str, Any]]:
    """The recipe that a map was made with, and what it says of questions; nothing where no map can be read."""
    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.storage.snapshot import recorded  # imports torch

    try:
        info, has_field = recorded(MapDirectory.open(path))
    except MapError:  # whoever asks the map says what is wrong with it
        return "", {}
    return info.get("recipe"), asked_as(info, has_field)


def seconds_of(text: str) -> float:
    """The seconds of a duration: 90, 60s, 5m, 1.5h or 1h30m.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    number = r"(\d+\.?\d*|\.\d+)"
    found = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s?)?", text.strip())
    hours, minutes, rest = (float(part or 0.0) for part in found.groups()) if found else (0.0, 0.0, 0.0)
    seconds = 3600.0 * hours + 60.0 * minutes + rest
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"expected a time such as 60s, 5m or 1h30m, got '{text}'")
    return seconds


def updated_query(config: MapConfig, **given: object) -> MapConfig:
    """The config with those query options that were given on the command line."""
    return updated(config, {f"query.{name}": value for name, value in given.items() if value is not None})


class ProgressBars:
    """One tqdm bar per stage on stderr, with the latest figures; silent when stderr is no terminal and quiet."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._stage = ""

    def __enter__(self) -> "ProgressBars":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
        if stage != self._stage or self._bar is None:
            self.close()
            self._stage = stage
            interval = 0.2 if sys.stderr.isatty() else 10.0
            self._bar = tqdm(total=total, desc=f"{stage:>10}", mininterval=interval, file=sys.stderr)
        self._bar.total = total
        self._bar.n = done
        if figures:
            self._bar.set_postfix({k: f"{v:.4g}" for k, v in figures.items()}, refresh=False)
        self._bar.update(0)

    def close(self) -> None:
        """End the current bar."""
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
            self._bar = None
