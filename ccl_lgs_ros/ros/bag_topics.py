# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording the nodes should listen to while it is played."""

from dataclasses import replace
from pathlib import Path

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.recording import open_recording
from ccl_lgs_ros.ros.keyframe_options import KeyframeNodeOptions
from ccl_lgs_ros.storage.bag import Bag


def of_played_bag(options: KeyframeNodeOptions, config: MapConfig) -> KeyframeNodeOptions:
    """Options that listen to a recording that another plays; the same options where none is to be played.

    Several cameras have topics that nobody can guess: they keep those that were named.

    Raises:
        BagError: if the recording cannot be mapped, naming the fix.
    """
    if not options.bag_path or options.bag_mode != "play":
        return options
    found = {}
    if not options.camera_names:
        named = ("image_topic", "depth_topic", "camera_info_topic", "pose_topic", "label_topic")
        found = topics_of_bag(options.bag_path, config, **{name: getattr(options, name) for name in named})
        found["depth_info_topic"] = options.depth_info_topic or found["depth_info_topic"]
    return replace(options, bag_path="", **found)


def topics_of_bag(path: Path | str, config: MapConfig, **named: str) -> dict[str, str]:
    """The keyframe node's topic parameters for a recording; those that are named stay, the others are found by type.

    Raises:
        BagError: if the recording cannot be mapped, naming the fix.
    """
    with Bag(Path(path).expanduser()) as bag:
        topics = open_recording(bag, config, **named).topics
    return {
        "image_topic": topics.image,
        "depth_topic": topics.depth,
        "camera_info_topic": topics.camera_info,
        "depth_info_topic": topics.depth_info,
        "pose_topic": topics.pose,
        "label_topic": topics.label,
    }
