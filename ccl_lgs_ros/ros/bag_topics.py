# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording the nodes should listen to while it is played."""

from pathlib import Path

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.recording import open_recording
from ccl_lgs_ros.storage.bag import Bag


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
