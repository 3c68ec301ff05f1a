# SPDX-License-Identifier: Apache-2.0
"""The options of config.py as ROS parameters: the same dotted names, descriptions, ranges and checks."""

import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from ccl_lgs_ros.config import MapConfig, checked, options, updated
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.recipes import recipe

RECIPE = "recipe"  # the option that others begin from
INT_MAX = 2**63 - 1
FOREIGN = ("use_sim_time", "qos_overrides.", "start_type_description_service")  # parameters of rclpy itself

Options = TypeVar("Options")


def declare_options(
    node: Node, defaults: Options, changeable: Sequence[str] = (), groups: Sequence[str] = (), prefix: str = ""
) -> Options:
    """Declare the options of a config dataclass and return it with the values that the node was given.

    Args:
        node: declares the parameters.
        defaults: MapConfig, or a dataclass made with config.option.
        changeable: names, or groups ending with a dot, that may be set while the node runs.
        groups: the beginnings of the names that concern this node; all if empty.
        prefix: stands before the names of the parameters.

    Raises:
        ConfigError: naming the parameter and what it accepts.
    """
    base: Any = defaults
    if isinstance(base, MapConfig):  # what the node was not given is as its recipe says
        f, default = next((f, default) for name, f, default in options(base) if name == RECIPE)
        base = recipe(_declared(node, RECIPE, f, default, False), base)
    values = {
        name: _declared(node, prefix + name, f, default, _is_among(name, changeable))
        for name, f, default in options(base)
        if name != RECIPE and (not groups or _is_among(name, groups))
    }
    return with_values(base, values)


def _declared(node: Node, name: str, f: Any, default: Any, is_changeable: bool) -> Any:
    """The value of a parameter that is declared with this."""
    try:
        parameter = node.declare_parameter(name, _ros_value(default), descriptor(f, default, is_changeable))
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"parameter '{name}': {said}; {f.metadata['doc']}") from error
    return default if parameter.value is None else parameter.value  # as rcl reads an empty list


def descriptor(f: Any, default: Any, is_changeable: bool) -> ParameterDescriptor:
    """What `ros2 param describe` shows of an option."""
    low, high, choices = f.metadata["low"], f.metadata["high"], f.metadata["choices"]
    result = ParameterDescriptor(
        name=f.name,
        description=f.metadata["doc"],
        read_only=not is_changeable,
        # A number without a point is welcome where metres are asked for, and any number where a text is (a folder 2024,
        # a height 0.5); `checked` turns it into the option's type.
        dynamic_typing=isinstance(default, (float, str, tuple)),
        additional_constraints=f"one of: {', '.join(choices)}" if choices else "",
    )
    has_range = low is not None or high is not None
    if has_range and isinstance(default, float):
        smallest, greatest = -sys.float_info.max if low is None else low, sys.float_info.max if high is None else high
        result.floating_point_range = [FloatingPointRange(from_value=float(smallest), to_value=float(greatest))]
    elif has_range and isinstance(default, int) and not isinstance(default, bool):
        smallest, greatest = -INT_MAX if low is None else int(low), INT_MAX if high is None else int(high)
        result.integer_range = [IntegerRange(from_value=smallest, to_value=greatest, step=1)]
    return result


def with_values(config: Options, values: dict[str, Any]) -> Options:
    """A config dataclass with options changed by name; raises ConfigError naming one that does not fit."""
    if isinstance(config, MapConfig):
        return updated(config, values)
    known = {name: (f, value) for name, f, value in options(config)}
    return type(config)(**{name: checked(name, *known[name], value) for name, value in values.items()})


def on_change(node: Node, get: Callable[[], Any], put: Callable[[Any], None]) -> None:
    """Check parameters that are set while the node runs, and hand over the config that results.

    Args:
        node: whose parameters.
        get: the present config.
        put: takes the new one; not called when a value is refused.
    """

    def check(parameters: list[Parameter]) -> SetParametersResult:
        names = {name for name, _, _ in options(get())}
        values = {p.name: p.value for p in parameters if p.name in names}
        try:
            if values:
                put(with_values(get(), values))
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)


def warn_of_unknown(node: Node, known: Iterable[str]) -> None:
    """Name the parameters that the node was given and has no use for: rclpy passes over them silently."""
    known = {*known, *(name for name, _, _ in options(MapConfig()))}
    for name in getattr(node, "_parameter_overrides", {}):
        if name not in known and not name.startswith(FOREIGN):
            near = get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            node.get_logger().warning(f"there is no parameter '{name}'{hint}")


def _is_among(name: str, others: Iterable[str]) -> bool:
    return any(name == other or (other.endswith(".") and name.startswith(other)) for other in others)


def _ros_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
