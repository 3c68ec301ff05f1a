# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs query: what a map says to a prompt."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.commands.shared_arguments import add_config_arguments, config_of, updated_query
from ccl_lgs_ros.errors import MapError, PromptError
from ccl_lgs_ros.level_names import WANTED

if TYPE_CHECKING:
    from ccl_lgs_ros.query.viewed_from import ViewedFrom

SUMMARY = "ask a map for something by name, or for what is at a point"
DESCRIPTION = """\
Find what a text asks for: a name, or a name with a choice, a place or a part.
  names      red mug; light blue box
  choices    the largest box; second box from the left; chair closest to the window
  places     mug on the table; book next to the lamp; box between the lamp and the door; ball behind the sofa
  parts      handle of the mug; the mug's handle
A place takes all that follows it: "the book on the table next to the lamp" is on a table that is next to the lamp.
Prints how the text was read and one line per instance: its id, score, centroid and box in the map frame.
"left" and "behind" are meant as in the keyframe that shows the things best, unless --seen-from says otherwise.
Exit code 0: found; 1: nothing looks enough like it; 2: a mistake."""
EXAMPLES = """\
examples:
  ccl-lgs query flat "red mug"
  ccl-lgs query flat "red mug" --picture mug.png
  ccl-lgs query flat "red mug" --json | jq '.instances[0].centroid'
  ccl-lgs query flat "red mug" --threshold 0.6
  ccl-lgs query flat "the leftmost chair next to the table"
  ccl-lgs query flat "the leftmost chair" --seen-from-keyframe 12
  ccl-lgs query flat "nearest chair" --seen-from 1.5 -2.0 0.8 1.57
  ccl-lgs query flat "jack in the box" --plain
  ccl-lgs query flat --at 1.2 -0.4 0.8       what lies there, as after a click
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory")
    parser.add_argument("prompt", nargs="?", help="what to find")
    parser.add_argument(
        "--at",
        nargs=3,
        type=float,
        metavar=("X", "Y", "Z"),
        help="find the thing at a point instead: metres in the map frame",
    )
    viewer = parser.add_mutually_exclusive_group()
    viewer.add_argument(
        "--seen-from",
        nargs=4,
        type=float,
        metavar=("X", "Y", "Z", "YAW"),
        help="where the text is meant from: metres and radians in the map frame; yaw 0 looks along x, pi/2 along y",
    )
    viewer.add_argument("--seen-from-keyframe", type=int, metavar="N", help="the same: as the camera of that keyframe")
    parser.add_argument("--plain", action="store_true", help="take the whole text as one name")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="write the best view with mask, boxes and scores")
    parser.add_argument("--json", action="store_true", help="print the answer for programs")
    parser.add_argument("--threshold", type=float, help="relevancy above which a thing is an answer")
    parser.add_argument("--max-instances", type=int, help="how many instances to list")
    parser.add_argument("--level", choices=WANTED, help="mask level: auto, whole, part, or its name in the map")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Answer on stdout."""
    from ccl_lgs_ros.answer_pictures import best_view_picture, write_picture
    from ccl_lgs_ros.asking import query_map  # imports torch
    from ccl_lgs_ros.clicking import thing_at
    from ccl_lgs_ros.showing import answer_json, answer_text
    from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.storage.snapshot import load
    from ccl_lgs_ros.viewing import viewed_from

    if (arguments.prompt is None) == (arguments.at is None):
        raise PromptError("name what to find, or say where it is with --at X Y Z; one of the two")
    config = updated_query(
        config_of(arguments),
        threshold=arguments.threshold,
        max_instances=arguments.max_instances,
        level=arguments.level,
        grammar=False if arguments.plain else None,
    )
    directory = MapDirectory.open(arguments.map)
    semantic_map, keyframes = load(directory), KeyframeStore(directory)
    views = viewed_from(keyframes)
    if arguments.at:
        found = thing_at(semantic_map, np.array(arguments.at), config, level=arguments.level, views=views)
    else:
        seen_from = _world_from_viewer(arguments, semantic_map.map_up, views)
        found = query_map(semantic_map, arguments.prompt, config, views=views, seen_from=seen_from)
    print(json.dumps(answer_json(found)) if arguments.json else answer_text(found))
    if arguments.picture:
        write_picture(arguments.picture, best_view_picture(semantic_map, found, keyframes, config))
    return 0 if found.instances else 1


def _world_from_viewer(
    arguments: argparse.Namespace, up: tuple[float, float, float], views: "ViewedFrom"
) -> NDArray[np.float64] | None:
    """[4, 4] where the text is meant from, axes of a camera; None where nothing is said.

    Raises:
        MapError: if the map has no such keyframe.
    """
    from ccl_lgs_ros.query.viewpoint import standing_at

    if arguments.seen_from:
        *position, yaw = arguments.seen_from
        return standing_at(np.array(position), yaw, np.array(up))
    if arguments.seen_from_keyframe is None:
        return None
    if arguments.seen_from_keyframe not in views.keyframe_ids:
        known = f"{views.keyframe_ids.min()} to {views.keyframe_ids.max()}" if len(views) else "none"
        raise MapError(f"the map has no keyframe {arguments.seen_from_keyframe}; it has: {known}")
    return views.pose_of(arguments.seen_from_keyframe)
