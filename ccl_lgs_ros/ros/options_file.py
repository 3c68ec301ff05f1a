# SPDX-License-Identifier: Apache-2.0
"""config/default.yaml, written from the options: a ROS parameter file that the command line reads too."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

from ccl_lgs_ros.config import MapConfig, options

WIDTH = 110
HEAD = """\
# SPDX-License-Identifier: Apache-2.0
# Every option with its default. For the nodes: params_file:=FILE (launch) or --ros-args --params-file FILE;
# for the command line: ccl-lgs map BAG -o MAP --config FILE. Copy it, keep the lines you change.
# This file is written from ccl_lgs_ros/options.py, where the options are defined.
/**:
  ros__parameters:
"""


def options_file(config: MapConfig) -> str:
    """The text of an options file with every option of a config."""
    return HEAD + "\n".join(_lines(config, "    ")) + "\n"


def _lines(config: Any, indent: str) -> Iterator[str]:
    names = [name for name, _, _ in options(config) if "." not in name]
    plain = [name for name in names if not is_dataclass(getattr(config, name))]
    for name in plain:
        f = next(f for key, f, _ in options(config) if key == name)
        yield from textwrap.wrap(
            f.metadata["doc"] + limits(f.metadata), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        yield f"{indent}{name}: {_yaml(getattr(config, name))}"
    for name in config.__dataclass_fields__:
        if is_dataclass(getattr(config, name)):
            yield f"{indent}{name}:"
            yield from _lines(getattr(config, name), f"{indent}  ")


def limits(metadata: Any) -> str:
    """The choices or the range of an option in brackets; empty where it has none."""
    low, high, choices = metadata["low"], metadata["high"], metadata["choices"]
    if choices:
        return f" [{', '.join(choices)}]"
    if low is None and high is None:
        return ""
    return f" [{'any' if low is None else low} to {'any' if high is None else high}]"


def _yaml(value: Any) -> str:
    """JSON is YAML, and ROS's parser reads it: floats keep their point, texts their quotes."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)
