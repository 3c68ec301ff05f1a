# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs export: a map, or what a prompt finds in it, as a PLY for other tools, or as a grid for planners."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ccl_lgs_ros.commands.shared_arguments import add_config_arguments, config_of

if TYPE_CHECKING:
    from ccl_lgs_ros.structures import SemanticMap

SUMMARY = "write a map as a PLY that any splat viewer opens, or as a grid for planners"
DESCRIPTION = """\
Write the Gaussians as a standard 3DGS PLY; with --prompt only those that the prompt finds.
Or write the free, occupied and unknown floor as YAML and PGM for map_server; with --keep-out, in the same cells, a
mask for nav2's keepout filter that holds what the text finds and a margin around it. Options: navigation.*"""
EXAMPLES = """\
examples:
  ccl-lgs export flat -o flat.ply
  ccl-lgs export flat -o mug.ply --prompt "red mug"
  ccl-lgs export flat --grid flat.yaml
  ccl-lgs export flat --grid keep_out.yaml --keep-out "glass door" --set navigation.keep_out_margin=0.5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory")
    output = parser.add_mutually_exclusive_group(required=True)
    output.add_argument("-o", "--output", type=Path, metavar="PLY", help="the file to write")
    output.add_argument("--grid", type=Path, metavar="YAML", help="write a grid: this file and a PGM of the same name")
    parser.add_argument("--prompt", help="with -o: only what this text finds")
    parser.add_argument("--keep-out", metavar="PROMPT", help="with --grid: a mask that holds only what this text finds")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file; exit 1 if the prompt found nothing."""
    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.storage.snapshot import load

    semantic_map = load(MapDirectory.open(arguments.map))
    return _write_grid(arguments, semantic_map) if arguments.grid else _write_splat(arguments, semantic_map)


def _write_splat(arguments: argparse.Namespace, semantic_map: "SemanticMap") -> int:
    import torch

    from ccl_lgs_ros.asking import query_map
    from ccl_lgs_ros.errors import MapError
    from ccl_lgs_ros.storage.ply import write_splat

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


def _write_grid(arguments: argparse.Namespace, semantic_map: "SemanticMap") -> int:
    from ccl_lgs_ros.asking import query_map
    from ccl_lgs_ros.grid import FREE, OCCUPIED
    from ccl_lgs_ros.navigating import keep_out_grid, map_grid
    from ccl_lgs_ros.storage.grid_files import write_grid

    config = config_of(arguments)
    grid = map_grid(semantic_map, config)
    if arguments.keep_out is not None:
        found = query_map(semantic_map, arguments.keep_out, config)
        if not found.instances:
            print(found.message)
            return 1
        grid = keep_out_grid(semantic_map, found.instances, grid, config)
    picture = write_grid(arguments.grid, grid)
    rows, columns = grid.cells.shape
    free, occupied = (int((grid.cells == value).sum()) * grid.resolution**2 for value in (FREE, OCCUPIED))
    size = f"{columns} x {rows} cells of {grid.resolution:g} m"
    print(f"{arguments.grid} and {picture}: {size}, {free:.1f} m2 free, {occupied:.1f} m2 occupied")
    return 0
