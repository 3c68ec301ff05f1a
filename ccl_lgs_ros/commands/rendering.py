# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs render: a map seen from given cameras."""

import argparse
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import ProgressBars, add_config_arguments, config_of

SUMMARY = "render a map from given cameras"
DESCRIPTION = """\
For each camera of a nerfstudio transforms.json write <stem>.rgb.png and <stem>.depth.png (16 bits, millimetres) and,
with a prompt, <stem>.relevancy.png (0 to 255) and <stem>.mask.png (0 or 255), at that camera's size. With
--uncertainty, <stem>.uncertainty.png is the photo beside where the map trusts its labels little, in red."""
EXAMPLES = """\
examples:
  ccl-lgs render flat flat/keyframes/transforms.json -o views
  ccl-lgs render flat room/eval/transforms.json -o views --prompt "red mug"
  ccl-lgs render flat flat/keyframes/transforms.json -o views --uncertainty
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory")
    parser.add_argument("transforms", type=Path, help="transforms.json, or the folder that holds it")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the images go")
    parser.add_argument("--prompt", help="also render the relevancy and mask of this text")
    parser.add_argument(
        "--uncertainty", action="store_true", help="also show where the map doubts its labels, if a lifter learnt that"
    )
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the images."""
    from ccl_lgs_ros.rendered_views import write_views  # imports torch

    with ProgressBars() as progress:
        count = write_views(
            arguments.map,
            arguments.transforms,
            arguments.output,
            config_of(arguments),
            arguments.prompt,
            progress,
            uncertainty=arguments.uncertainty,
        )
    print(f"{count} views in {arguments.output}")
    return 0
