# SPDX-License-Identifier: Apache-2.0
"""The parameters of the keyframe node beside those of config.py."""

from dataclasses import dataclass

from ccl_lgs_ros.options import option
from ccl_lgs_ros.ros.qos import CHOICES

DEFAULT_MAP_PATH = "~/.ros/ccl_lgs/map"
SAVE_ROOT_MEANING = "Folder that save_map and load_map may not leave; '' = the one that map_path is in, / = anywhere."
TRANSPORTS = ("shared", "topic")  # of keyframes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeNodeOptions:
    """Topics may be named without their transport: raw and compressed images are both found."""

    map_path: str = option(DEFAULT_MAP_PATH, "Map directory; made if there is none, continued if there is one.")
    camera_names: tuple[str, ...] = option(
        (), "Several cameras: each listens below its name and has parameters cameras.<name>.*; [] = one without a name."
    )
    image_topic: str = option("", "Colour images; '' = the topic 'image', or by type in a bag.")
    depth_topic: str = option("", "Depth images; '' = the topic 'depth', or by type in a bag.")
    camera_info_topic: str = option("", "Intrinsics of the colour camera; '' = camera_info beside the images.")
    depth_info_topic: str = option("", "Intrinsics of the depth camera; '' = camera_info beside the depth images.")
    pose_topic: str = option("", "Camera poses, or poses of a frame that tf leads from to the camera; '' = 'pose'.")
    label_topic: str = option("", "Label images of the colour camera, for perception.segmenter=topic; '' = none.")
    qos: str = option(
        "sensor_data",
        "QoS of images, camera_info and poses: sensor_data (best effort) fits every publisher, reliable loses nothing, "
        "system_default is the middleware's own; qos_overrides.* change single topics.",
        choices=CHOICES,
    )
    bag_path: str = option("", "A recording to map; '' = live topics.")
    bag_mode: str = option(
        "direct",
        "direct reads the recording at the speed of mapping and loses nothing; play listens to the topics of the "
        "recording while another plays it.",
        choices=("direct", "play"),
    )
    keyframe_transport: str = option(
        "shared",
        "How keyframes reach the training node: shared = it reads this map directory; topic = they are also sent to a "
        "training node on another host, which has keyframe_transport:=topic too.",
        choices=TRANSPORTS,
    )
