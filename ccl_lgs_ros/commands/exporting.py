# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs export: a map, or what a prompt finds in it, as a PLY for other tools."""

import argparse
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import add_config_arguments, config_of

SUMMARY = "write a map, or one found thing, as a PLY that any splat viewer opens"
DESCRIPTION = "Write the Gaussians as a standard 3DGS PLY; with --prompt only those that the prompt finds."
EXAMPLES = """\
examples:
  ccl-lgs export flat -o flat.ply
  ccl-lgs export flat -o mug.ply --prompt "red mug"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PLY", help="the file to write")
    parser.add_argument("--prompt", help="only what this text finds")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file; exit 1 if the prompt found nothing."""
    import torch

    from ccl_lgs_ros.asking import query_map
    from ccl_lgs_ros.errors import MapError
    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.storage.ply import write_splat
    from ccl_lgs_ros.storage.snapshot import load

    semantic_map = load(MapDirectory.open(arguments.map))
    gaussians = semantic_map.gaussians
    if arguments.prompt is not None:
        found = query_map(semantic_map, arguments.prompt, config_of(arguments))
        if not found.instances:
            print(found.message)
            return 1
        gaussians = gaussians.select(torch.cat([item.gaussian_ids for item in found.instances]).unique())
    if arguments.output.is_dir():
        raise MapError(f"{arguments.output} is a folder; name a file, for instance {arguments.output / 'map.ply'}")
    write_splat(arguments.output, gaussians)
    print(f"{arguments.output}: {len(gaussians)} Gaussians")
    return 0
