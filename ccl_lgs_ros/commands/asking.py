# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs query: what a map says to a prompt."""

import argparse
import json
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import add_config_arguments, config_of, updated_query

SUMMARY = "ask a map for something by name"
DESCRIPTION = """\
Find what a text names. Prints one line per instance: its id, score, centroid and box in the map frame.
Exit code 0: found; 1: nothing looks enough like it; 2: a mistake."""
EXAMPLES = """\
examples:
  ccl-lgs query flat "red mug"
  ccl-lgs query flat "red mug" --picture mug.png
  ccl-lgs query flat "red mug" --json | jq '.instances[0].centroid'
  ccl-lgs query flat "red mug" --threshold 0.6
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory")
    parser.add_argument("prompt", help="what to find")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="write the best view with mask, boxes and scores")
    parser.add_argument("--json", action="store_true", help="print the answer for programs")
    parser.add_argument("--threshold", type=float, help="relevancy above which a thing is an answer")
    parser.add_argument("--max-instances", type=int, help="how many instances to list")
    parser.add_argument("--level", choices=("auto", "wp", "sp"), help="mask level: whole-part, subpart-part")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Answer on stdout."""
    from ccl_lgs_ros.answer_pictures import best_view_picture, write_picture
    from ccl_lgs_ros.asking import query_map  # imports torch
    from ccl_lgs_ros.showing import answer_json, answer_text
    from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.storage.snapshot import load

    config = updated_query(
        config_of(arguments),
        threshold=arguments.threshold,
        max_instances=arguments.max_instances,
        level=arguments.level,
    )
    directory = MapDirectory.open(arguments.map)
    semantic_map = load(directory)
    found = query_map(semantic_map, arguments.prompt, config)
    print(json.dumps(answer_json(found)) if arguments.json else answer_text(found))
    if arguments.picture:
        write_picture(arguments.picture, best_view_picture(semantic_map, found, KeyframeStore(directory), config))
    return 0 if found.instances else 1
