# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs approach: where a robot stands well to deal with a thing."""

import argparse
import json
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import add_config_arguments, config_of, updated_query

SUMMARY = "say where a robot should stand to deal with a thing"
DESCRIPTION = """\
Find what a text asks for, and places at the standoff from it where the robot faces it, fits in, can go and sees it.
Unknown is not free. The robot is described by the options navigation.*, see `ccl-lgs options`.
Exit code 0: there is a pose; 1: nothing found, or no pose for it; 2: a mistake."""
EXAMPLES = """\
examples:
  ccl-lgs approach flat "red mug"
  ccl-lgs approach flat "red mug" --near 0 0 --picture plan.png
  ccl-lgs approach flat "red mug" --json | jq '.instances[0].approaches[0]'
  ccl-lgs approach flat "sofa" --set navigation.standoff=0.5 --set navigation.robot_radius=0.3
  ccl-lgs approach flat "sofa" --costmap nav2_map.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory")
    parser.add_argument("prompt", help="what to go to")
    parser.add_argument(
        "--near",
        nargs="+",
        type=float,
        metavar="X",
        help="where the robot is: x y or x y z in the map frame; it must get there from here",
    )
    parser.add_argument("--costmap", type=Path, metavar="YAML", help="a map of map_server in which the robot must stay")
    parser.add_argument("--max-instances", type=int, help="for how many things")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="write a floor plan with the poses")
    parser.add_argument("--json", action="store_true", help="print the poses for programs")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Poses on stdout."""
    import numpy as np

    from ccl_lgs_ros.answer_pictures import write_picture
    from ccl_lgs_ros.asking import query_map  # imports torch
    from ccl_lgs_ros.errors import ConfigError
    from ccl_lgs_ros.geometry import level_axes
    from ccl_lgs_ros.navigating import find_approaches, surroundings
    from ccl_lgs_ros.showing_approaches import approaches_json, approaches_picture, approaches_text
    from ccl_lgs_ros.storage.grid_files import read_grid
    from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.storage.snapshot import load
    from ccl_lgs_ros.viewing import viewed_from

    if arguments.near is not None and len(arguments.near) not in (2, 3):
        raise ConfigError(f"--near takes x y or x y z; got {len(arguments.near)} numbers")
    near = None if arguments.near is None else np.array([*arguments.near, 0.0][:3])
    config = updated_query(config_of(arguments), max_instances=arguments.max_instances)
    directory = MapDirectory.open(arguments.map)
    semantic_map, keyframes = load(directory), KeyframeStore(directory)
    found = query_map(semantic_map, arguments.prompt, config, views=viewed_from(keyframes))
    around = surroundings(semantic_map, config)
    if arguments.costmap:
        around = around.with_costmap(read_grid(arguments.costmap))
    stands = [find_approaches(item, around, config, near) for item in found.instances]
    axes = level_axes(np.array(semantic_map.map_up))
    shown = approaches_json(found, stands, axes) if arguments.json else approaches_text(found, stands, axes)
    print(json.dumps(shown) if arguments.json else shown)
    if arguments.picture:
        cameras = np.array([entry.world_from_camera for entry in keyframes.entries]).reshape(-1, 4, 4)
        write_picture(arguments.picture, approaches_picture(found, stands, around, cameras))
    return 0 if any(stand.poses for stand in stands) else 1
