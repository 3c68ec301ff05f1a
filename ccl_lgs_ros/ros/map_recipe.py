# SPDX-License-Identifier: Apache-2.0
"""Parameters of questions that follow the map: the recipe that it was made with says how it is asked."""

from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from ccl_lgs_ros.config import MapConfig, options
from ccl_lgs_ros.recipes import QUESTIONS, asked_as
from ccl_lgs_ros.structures import SemanticMap


class MapRecipe:
    """Sets the parameters `query.*` as the recipe of a map says, but for those that somebody has chosen.

    Args:
        node: whose parameters have been declared. Those that it was given, by a recipe as well, are chosen.
        config: what the parameters are without a recipe of the map.
    """

    def __init__(self, node: Node, config: MapConfig) -> None:
        self._node, self._has_own_recipe = node, bool(config.recipe)
        self._usual = {name: value for name, _, value in options(config) if name.startswith(QUESTIONS)}
        self._chosen = set(getattr(node, "_parameter_overrides", {}))
        self._followed: tuple[object, bool] = ("", False)  # the recipe of the last map, whether that had a field
        self._is_following = False
        # Asked last by rclpy, as it was the first to be added: what others refuse is not chosen.
        node.add_on_set_parameters_callback(self._choose)

    def follow(self, semantic_map: SemanticMap) -> None:
        """The parameters for this map from now on, and one line of log where they change."""
        record = semantic_map.info.get("recipe"), semantic_map.field is not None
        if self._has_own_recipe or record == self._followed:
            return
        self._followed = record
        values = {**self._usual, **asked_as(semantic_map.info, semantic_map.field is not None)}
        changed = {name: value for name, value in values.items() if self._is_to_change(name, value)}
        if not changed:
            return
        self._is_following = True
        try:
            self._node.set_parameters([Parameter(name, value=value) for name, value in changed.items()])
        finally:
            self._is_following = False
        manner = f"recipe {record[0]}" if record[0] else "by default"
        told = ", ".join(f"{name} {value}" for name, value in changed.items())
        self._node.get_logger().info(f"asked as {manner}: {told}")

    def _is_to_change(self, name: str, value: Any) -> bool:
        return name not in self._chosen and self._node.get_parameter(name).value != value

    def _choose(self, parameters: list[Parameter]) -> SetParametersResult:
        if not self._is_following:
            self._chosen |= {parameter.name for parameter in parameters}
        return SetParametersResult(successful=True)
