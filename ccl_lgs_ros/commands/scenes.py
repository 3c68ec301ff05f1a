# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs make-scene: a synthetic room with exact ground truth."""

import argparse
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import ProgressBars

SUMMARY = "render a synthetic room into a recording and an evaluation set"
DESCRIPTION = """\
Furnish a room from a seed, drive a robot's camera through it, and write DIR/bag (a rosbag2 recording) and DIR/eval
(labelled views, absent prompts, 3D truth). The same seed gives the same room."""
EXAMPLES = """\
examples:
  ccl-lgs make-scene --seed 3 -o room
  ccl-lgs map room -o map && ccl-lgs evaluate map room/eval
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--seed", type=int, default=0, help="which room (default 0)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where it goes")
    parser.add_argument("--frames", type=int, default=80, help="images of the recording (default 80)")
    parser.add_argument("--size", default="320x240", metavar="WxH", help="image size (default 320x240)")
    parser.add_argument("--path", choices=("drive", "orbit"), default="drive", help="how the camera moves")
    parser.add_argument("--touching", action="store_true", help="two objects of one kind stand against each other")
    parser.add_argument("--two-tone", action="store_true", help="parts (handles, lids, cushions) have another colour")


def run(arguments: argparse.Namespace) -> int:
    """Write the scene."""
    from ccl_lgs_ros.errors import ConfigError
    from ccl_lgs_ros.scenes import make_scene

    try:
        width, height = (int(text) for text in arguments.size.lower().split("x"))
    except ValueError:
        raise ConfigError(f"--size must look like 320x240; got '{arguments.size}'") from None
    if min(width, height) < 32 or arguments.frames < 2 or arguments.seed < 0:
        raise ConfigError("a scene needs at least 2 frames of 32x32 pixels and a seed of 0 or more")
    with ProgressBars() as progress:
        report = make_scene(
            arguments.seed,
            arguments.output,
            num_frames=arguments.frames,
            width=width,
            height=height,
            path=arguments.path,
            twins_touch=arguments.touching,
            two_tone=arguments.two_tone,
            progress=progress,
        )
    print(report)
    print(f"map it:  ccl-lgs map {arguments.output} -o MAP")
    return 0
