# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs recipes: the named choices of parts."""

import argparse
import json
import textwrap

from ccl_lgs_ros.config import MapConfig, options
from ccl_lgs_ros.map_record import changed_options
from ccl_lgs_ros.recipes import RECIPES, Recipe, recipe, recipe_path

SUMMARY = "list the recipes: named choices of parts, each after a publication"
DESCRIPTION = """\
List the recipes with their source, what each gives and what differs from the publication; or the options of one
against the default. A recipe is taken by --recipe NAME and as launch argument recipe:=NAME."""
EXAMPLES = """\
examples:
  ccl-lgs recipes
  ccl-lgs recipes ccl_lgs
  ccl-lgs map drive -o flat --recipe ccl_lgs --set field.iterations=500
"""
WIDTH = 100
INDENT = " " * 11


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("name", nargs="?", default="", help="show the options of this one")


def run(arguments: argparse.Namespace) -> int:
    """Print the list, or one with its options."""
    if not arguments.name:
        print("\n\n".join(_described(entry) for entry in RECIPES))
        return 0
    path = recipe_path(arguments.name)
    default = {name: value for name, _, value in options(MapConfig())}
    print(next(_described(entry) for entry in RECIPES if entry.name == arguments.name))
    print(f"\nAgainst the default ({path} says why):\n")
    for name, value in changed_options(recipe(arguments.name)).items():
        if name != "recipe":
            print(f"  {name} = {json.dumps(value)}  # default {json.dumps(default[name])}")
    return 0


def _described(entry: Recipe) -> str:
    lines = [f"{entry.name}: {entry.source}"]
    for title, text in (("gives", entry.gives), ("differs", entry.differs)):
        first = f"  {title}:".ljust(len(INDENT))
        lines += textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=INDENT)
    return "\n".join(lines)
