# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs edit: things of a map removed, kept alone, recoloured or moved, in a new map or PLY."""

import argparse
import re
from math import radians
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ccl_lgs_ros.commands.shared_arguments import add_config_arguments, config_of, updated_query
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.level_names import WANTED, level_of_map

if TYPE_CHECKING:
    from ccl_lgs_ros.answers import Instance
    from ccl_lgs_ros.config import MapConfig
    from ccl_lgs_ros.query.viewed_from import ViewedFrom
    from ccl_lgs_ros.structures import SemanticMap

SUMMARY = "remove, keep, recolour or move things of a map"
DESCRIPTION = """\
Make another map, or a PLY, in which the things that a text finds are changed. The map that is given stays as it is.
  which things   PROMPT, as `ccl-lgs query` understands it; or --id of an answer; or --at a point, what is nearest to
                 it; each with its rim, whatever that was given to
  --remove       they are gone; what they hid was never seen, so there may be holes
  --keep         all else is gone: one thing as a map or a PLY of its own
  --recolour     they have another colour, in their own light and shade
  --move         they stand so many metres from where they stood; --turn turns them, each about its own middle
OUTPUT that ends in .ply is a splat for any viewer; else it is a map, which can be asked, viewed, exported and edited
again. It has no keyframes: they show the things as they were. Language and ids stay what they were, too.
Exit code 0: done; 1: nothing looks enough like the prompt; 2: a mistake."""
EXAMPLES = """\
examples:
  ccl-lgs edit flat "orange box" --remove -o flat_without_box
  ccl-lgs edit flat "orange box" --keep -o box.ply
  ccl-lgs edit flat "orange box" --recolour blue -o flat_blue --picture blue.png
  ccl-lgs edit flat "the largest mug" --move 0.3 0 0 --turn 90 -o flat_moved
  ccl-lgs edit flat --at 1.2 0.4 0.8 --remove -o flat_cleared
  ccl-lgs edit flat --id 17 --recolour "#2080ff" -o flat_blue.ply
"""
COLOURS = {
    "red": "#d62020",
    "orange": "#f28c1e",
    "yellow": "#f0d020",
    "green": "#28a03c",
    "turquoise": "#20b8b0",
    "blue": "#2456d6",
    "purple": "#8030b0",
    "pink": "#f080b8",
    "brown": "#7a4a24",
    "white": "#f0f0f0",
    "grey": "#808080",
    "black": "#141414",
}


def colour_of(text: str) -> tuple[float, float, float]:
    """Red, green and blue in [0, 1] of a name or of #rrggbb.

    Raises:
        argparse.ArgumentTypeError: if it is neither.
    """
    code = COLOURS.get(text.strip().lower(), text.strip())
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", code):
        raise argparse.ArgumentTypeError(f"expected #rrggbb or one of {', '.join(COLOURS)}, got '{text}'")
    red, green, blue = (int(code[i : i + 2], 16) / 255.0 for i in (1, 3, 5))
    return red, green, blue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory")
    parser.add_argument("prompt", nargs="?", help="the things to edit, by name")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--id", type=int, help="the thing to edit, by the id that answers give it")
    which.add_argument(
        "--at", nargs=3, type=float, metavar=("X", "Y", "Z"), help="the thing to edit, by a point on it, metres"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--remove", action="store_true", help="take the things away")
    what.add_argument("--keep", action="store_true", help="take everything else away")
    what.add_argument(
        "--recolour", "--recolor", type=colour_of, metavar="COLOUR", help=f"#rrggbb, or {', '.join(COLOURS)}"
    )
    what.add_argument("--move", nargs=3, type=float, metavar=("DX", "DY", "DZ"), help="metres along the map's axes")
    parser.add_argument("--turn", type=float, metavar="DEGREES", help="with --move: counterclockwise, seen from above")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a new folder for a map, or a new .ply file")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="write before and after, from the best view")
    parser.add_argument("--threshold", type=float, help="relevancy above which a thing is meant by the prompt")
    parser.add_argument("--max-instances", type=int, help="how many things may be edited; 1 = the best match only")
    parser.add_argument("--level", choices=WANTED, help="mask level: auto, whole, part, or its name in the map")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the edited map or PLY; exit 1 if there is nothing to edit."""
    from ccl_lgs_ros.answer_pictures import write_picture
    from ccl_lgs_ros.editing_pictures import before_and_after
    from ccl_lgs_ros.rims import with_rims
    from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.storage.snapshot import load
    from ccl_lgs_ros.viewing import viewed_from

    _check(arguments)
    config = updated_query(
        config_of(arguments),
        threshold=arguments.threshold,
        max_instances=arguments.max_instances,
        level=arguments.level,
    )
    directory = MapDirectory.open(arguments.map)
    before, views = load(directory), viewed_from(KeyframeStore(directory))
    things = with_rims(before, _things(arguments, before, views, config))
    if not things:
        return 1
    after, said = _edited(arguments, before, things)
    _write(arguments, after, said)
    if arguments.picture:
        write_picture(arguments.picture, before_and_after(before, after, things, views, config, said))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raises MapError where what is asked for is contradictory, or would overwrite something."""
    if (arguments.prompt is None) == (arguments.id is None and arguments.at is None):
        raise MapError("say which things to edit: a prompt, or --id, or --at, one of them")
    if arguments.turn is not None and arguments.move is None:
        raise MapError("--turn goes with --move; to turn a thing where it stands, give --move 0 0 0")
    output, given = arguments.output.expanduser().resolve(), arguments.map.expanduser().resolve()
    if output == given or given in output.parents or output in given.parents:
        raise MapError(f"{arguments.output} and the map {arguments.map} lie in one another; give a place beside it")
    if output.is_file() or (output.is_dir() and (_is_ply(output) or any(output.iterdir()))):
        raise MapError(f"there is something at {arguments.output} already; give a new name, nothing is overwritten")


def _things(
    arguments: argparse.Namespace, semantic_map: "SemanticMap", views: "ViewedFrom", config: "MapConfig"
) -> "tuple[Instance, ...]":
    """What is to be edited; where that is nothing, why is printed."""
    from ccl_lgs_ros.asking import query_map
    from ccl_lgs_ros.clicking import thing_at
    from ccl_lgs_ros.query.by_id import thing_of_id

    if arguments.id is None:
        if arguments.prompt is not None:
            found = query_map(semantic_map, arguments.prompt, config, views=views)
        else:
            found = thing_at(semantic_map, np.array(arguments.at), config, views=views)
        if not found.instances:
            print(found.message)
        return found.instances
    thing = thing_of_id(semantic_map, arguments.id, level_of_map(semantic_map.levels, config.query.level))
    if thing is None:
        print(f"nothing found: no thing has the id {arguments.id}")
    return () if thing is None else (thing,)


def _edited(
    arguments: argparse.Namespace, before: "SemanticMap", things: "tuple[Instance, ...]"
) -> "tuple[SemanticMap, str]":
    """The map after the edit, and what was done, in words."""
    from ccl_lgs_ros.editing import alone, gaussians_of, moved, recoloured, without

    count = int(gaussians_of(before, things).sum())
    name = f'"{arguments.prompt}"' if arguments.prompt is not None else f"#{things[0].id}"
    what = f"{name}: {len(things)} thing{'s' * (len(things) != 1)}, {count} Gaussians"
    if arguments.remove:
        return without(before, things), f"{what} removed"
    if arguments.keep:
        return alone(before, things), f"{what} kept"
    if arguments.recolour is not None:
        code = "".join(f"{round(255 * value):02x}" for value in arguments.recolour)
        return recoloured(before, things, arguments.recolour), f"{what} recoloured to #{code}"
    turn = arguments.turn or 0.0
    way = ", ".join(f"{value:g}" for value in arguments.move)
    turned = f" and turned by {turn:g} degrees" if turn else ""
    return moved(before, things, np.array(arguments.move), radians(turn)), f"{what} moved by ({way}) m{turned}"


def _write(arguments: argparse.Namespace, after: "SemanticMap", said: str) -> None:
    """The PLY or the map, and what there is to say of it."""
    from dataclasses import replace

    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.storage.ply import write_splat
    from ccl_lgs_ros.storage.snapshot import publish

    output = arguments.output.expanduser()
    if _is_ply(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_splat(output, after.gaussians)
        print(f"{said}\n{arguments.output}: {len(after.gaussians)} Gaussians")
        return
    edits = after.info.get("edits")
    earlier = edits if isinstance(edits, list) else []
    publish(MapDirectory.create(output), replace(after, info={**after.info, "edits": [*earlier, said]}))
    print(f"{said}\n{arguments.output}: a map of {len(after.gaussians)} Gaussians, without keyframes")


def _is_ply(path: Path) -> bool:
    return path.suffix.lower() == ".ply"
