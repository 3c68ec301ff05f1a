# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs map: a recording becomes a map directory."""

import argparse
import time
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import ProgressBars, add_config_arguments, config_of, seconds_of
from ccl_lgs_ros.config import updated

SUMMARY = "turn a recording into a map"
DESCRIPTION = """\
Read a rosbag2 recording (MCAP or sqlite3) directly, without ROS and losing nothing, and build a map directory:
keyframes, 3D Gaussians, and the language on them. A map that exists is extended with what is new in the recording.
A folder of posed images is mapped as well: images/ with COLMAP's sparse/0, or nerfstudio's transforms.json."""
EXAMPLES = """\
examples:
  ccl-lgs check-bag drive                    first see what is in it
  ccl-lgs map drive -o flat
  ccl-lgs map drive -o flat --budget 5m      the best map that five minutes of optimising allow
  ccl-lgs map drive -o flat --set keyframes.min_translation=0.05 --set gaussians.iterations=1000
  ccl-lgs map room -o flat                   room/ made by `ccl-lgs make-scene`
  ccl-lgs map lerf_ovs/ramen -o maps/ramen   posed images
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("recording", type=Path, help="rosbag2 folder or file, make-scene folder, or posed images")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MAP", help="the map directory")
    for name, what in (
        ("image", "colour images"),
        ("depth", "depth images"),
        ("camera-info", "intrinsics of the colour camera"),
        ("pose", "camera poses"),
    ):
        parser.add_argument(f"--{name}-topic", default="", metavar="TOPIC", help=f"{what}; found by type if not given")
    parser.add_argument(
        "--label-topic",
        default="",
        metavar="TOPIC",
        help="label images for perception.segmenter=topic",
    )
    parser.add_argument(
        "--budget",
        type=seconds_of,
        metavar="TIME",
        help="time for optimising, as 90, 60s, 5m or 1h: the best map that it allows (sets gaussians.budget)",
    )
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Capture, build, say what came out."""
    from ccl_lgs_ros.offline import map_recording  # imports torch

    began, config = time.monotonic(), config_of(arguments)
    if arguments.budget is not None:
        config = updated(config, {"gaussians.budget": arguments.budget})
    with ProgressBars() as progress:
        report, semantic_map = map_recording(
            arguments.recording,
            arguments.output,
            config,
            progress,
            image_topic=arguments.image_topic,
            depth_topic=arguments.depth_topic,
            camera_info_topic=arguments.camera_info_topic,
            pose_topic=arguments.pose_topic,
            label_topic=arguments.label_topic,
        )
    print(report)
    held_out = semantic_map.info.get("held_out")
    quality = f", held-out PSNR {held_out['psnr']:.1f} dB" if isinstance(held_out, dict) else ""
    print(
        f"map {arguments.output}: version {semantic_map.version}, {semantic_map.info['keyframes']} keyframes, "
        f"{len(semantic_map.gaussians)} Gaussians{quality}, {time.monotonic() - began:.0f} s"
    )
    print(f'ask it:  ccl-lgs query {arguments.output} "red mug"')
    return 0
