# SPDX-License-Identifier: Apache-2.0
"""The parameters for questions follow the recipe of the map, but for those that somebody has chosen."""

from collections.abc import Callable
from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from rclpy.node import Node
from rclpy.parameter import Parameter
from ros.small_map import small_map

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.recipes import recipe
from ccl_lgs_ros.ros.map_recipe import MapRecipe
from ccl_lgs_ros.ros.parameters import declare_options, on_change
from ccl_lgs_ros.structures import SemanticField, SemanticMap

OF_PAPER = recipe("ccl_lgs").query.threshold
FIELD = SemanticField(features={}, decoders={})


class Asked:
    """A node's options for questions, and how they follow maps."""

    def __init__(self, node: Node) -> None:
        self.node, self.config = node, declare_options(node, MapConfig(), changeable=("query.",))
        self._recipe = MapRecipe(node, self.config)
        on_change(node, lambda: self.config, lambda config: setattr(self, "config", config))

    def on(self, semantic_map: SemanticMap) -> tuple[float, str]:
        """Threshold and view for a map; the parameters say the same."""
        self._recipe.follow(semantic_map)
        query = self.config.query
        assert query.threshold == self.node.get_parameter("query.threshold").value
        assert query.view == self.node.get_parameter("query.view").value
        return query.threshold, query.view

    def set(self, name: str, value: object) -> bool:
        return self.node.set_parameters([Parameter(name, value=value)])[0].successful


@pytest.fixture
def asked(make_node) -> Callable[..., Asked]:
    return lambda *arguments: Asked(make_node(*arguments))


def made_with(name: str, field: SemanticField | None = FIELD) -> SemanticMap:
    return replace(small_map(0.05), info={"recipe": name}, field=field)


def test_the_parameters_are_those_of_the_recipe_of_whichever_map_is_asked(asked, capfd) -> None:
    node = asked()
    assert node.on(made_with("")) == (0.0, "votes")
    assert node.on(made_with("langsplat")) == (0.0, "field")
    assert node.on(made_with("ccl_lgs")) == (OF_PAPER, "votes")
    assert node.on(made_with("from_tomorrow")) == (0.0, "votes")
    assert node.config == MapConfig(), "nothing but questions follows the map"
    log = capfd.readouterr().err
    assert log.count("asked as recipe langsplat: query.view field") == 1
    assert "asked as recipe ccl_lgs: query.threshold 0.5, query.view votes" in log


def test_the_field_is_looked_at_once_there_is_one(asked) -> None:
    node = asked()
    assert node.on(made_with("langsplat", field=None)) == (0.0, "votes")
    assert node.on(made_with("langsplat")) == (0.0, "field")


def test_what_the_node_was_given_wins_the_default_value_as_well(asked) -> None:
    assert asked("-p", "query.view:=votes").on(made_with("langsplat")) == (0.0, "votes")
    node = asked("-p", "query.threshold:=0.3")
    assert [node.on(made_with(name)) for name in ("ccl_lgs", "langsplat")] == [(0.3, "votes"), (0.3, "field")]
    assert asked("-p", "recipe:=dr_splat").on(made_with("langsplat")) == (0.0, "votes"), "its own recipe is a choice"


def test_what_is_set_later_wins_from_then_on_and_what_is_refused_does_not(asked) -> None:
    node = asked()
    assert node.on(made_with("langsplat")) == (0.0, "field")
    assert node.set("query.view", "votes") and not node.set("query.threshold", 7.0)
    assert node.on(made_with("ccl_lgs")) == (OF_PAPER, "votes")
    assert node.on(made_with("langsplat")) == (0.0, "votes")
