# SPDX-License-Identifier: Apache-2.0
"""Options by dotted name: YAML key, ROS parameter and `--set` share it. Unknown names are errors that name the nearest
valid one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.options import MapConfig

__all__ = ["MapConfig", "checked", "flattened", "load_config", "options", "parse_assignment", "read_options", "updated"]


def options(config: Any, prefix: str = "") -> Iterator[tuple[str, Field, Any]]:
    """Every option as (dotted name, dataclass field, value)."""
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            yield from options(value, f"{prefix}{f.name}.")
        else:
            yield f"{prefix}{f.name}", f, value


def load_config(path: Path | str, base: MapConfig | None = None) -> MapConfig:
    """The options of a YAML file on those of a base; `recipes.configured` takes the recipe that a file names as well.

    Raises:
        ConfigError: if the file is missing, is no YAML mapping, or has an option that does not exist.
    """
    return updated(base or MapConfig(), read_options(path))


def read_options(path: Path | str) -> dict[str, Any]:
    """By dotted name what a YAML file holds: plain nested keys, or a ROS parameter file (`/**: ros__parameters:`).

    Raises:
        ConfigError: if the file is missing or is no YAML mapping.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise ConfigError(f"cannot read the options file {path}: {error.strerror}; check the path") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of options, got {type(content).__name__}")
    if "/**" in content:
        content = content["/**"].get("ros__parameters", {})
    return dict(flattened(content))


def flattened(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings under dotted names."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def updated(config: MapConfig, changes: Mapping[str, Any]) -> MapConfig:
    """The config with options changed by dotted name; text is read as YAML where the option is no text.

    Raises:
        ConfigError: naming the option, and the nearest valid one, or what it would accept.
    """
    known = {name: (f, value) for name, f, value in options(config)}
    for name, value in changes.items():
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"there is no option '{name}'{hint}")
        config = _replaced(config, name.split("."), checked(name, known[name][0], known[name][1], value))
    return config


def parse_assignment(text: str) -> tuple[str, str]:
    """The two sides of `name=value`."""
    name, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"expected NAME=VALUE, got '{text}'")
    return name.strip(), value.strip()


def checked(name: str, f: Field, current: Any, value: Any) -> Any:
    """The value in the option's type, within its range and choices; raises ConfigError otherwise."""
    value = _converted(name, current, value)
    low, high, choices = f.metadata["low"], f.metadata["high"], f.metadata["choices"]
    if choices and value not in choices:
        raise ConfigError(f"option '{name}' must be one of {', '.join(choices)}; got '{value}'")
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"at most {high}" if low is None else f"from {low} to {high}"
        raise ConfigError(f"option '{name}' must be {span}; got {value}")
    return value


def _converted(name: str, current: Any, value: Any) -> Any:
    kind = type(current)
    if isinstance(value, str) and kind is not str:
        value = yaml.safe_load(value)
    try:
        if kind is float and isinstance(value, str):
            value = float(value)  # YAML reads 1e-3 as text
        if kind is bool and not isinstance(value, bool):
            raise ValueError
        if kind is int and (isinstance(value, bool) or int(value) != value):
            raise ValueError
        if kind is float and isinstance(value, bool):
            raise ValueError
        if kind is str and isinstance(value, Sequence | Mapping) and not isinstance(value, str):
            raise ValueError
        if kind is tuple:
            items: Any = value
            if not current or isinstance(current[0], str):
                return _texts(items)
            numbers = tuple(float(x) for x in items)
            if len(numbers) != len(current):
                raise ValueError
            return numbers
        converted = kind(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"option '{name}' must be {_described(current)}; got '{value}'") from error
    if kind is float and converted != converted:
        raise ConfigError(f"option '{name}' must be a number; got NaN")
    return converted


def _texts(items: Any) -> tuple[str, ...]:
    if isinstance(items, str) or not all(isinstance(item, str) for item in items):
        raise ValueError
    return tuple(items)


def _described(current: Any) -> str:
    if isinstance(current, tuple) and (not current or isinstance(current[0], str)):
        return "a list of texts"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(type(current), f"a list of {len(current) if isinstance(current, tuple) else 0} numbers")


def _replaced(config: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = _replaced(getattr(config, path[0]), path[1:], value)
    return replace(config, **{path[0]: value})
