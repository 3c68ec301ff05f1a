# SPDX-License-Identifier: Apache-2.0
"""The parameters of the keyframe node beside those of config.py."""

from dataclasses import dataclass

from ccl_lgs_ros.options import option

DEFAULT_MAP_PATH = "~/.ros/ccl_lgs/map"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeNodeOptions:
    """Topics may be named without their transport: raw and compressed images are both found."""

    map_path: str = option(DEFAULT_MAP_PATH, "Map directory; made if there is none, continued if there is one.")
    image_topic: str = option("", "Colour images; '' = the topic 'image', or by type in a bag.")
    depth_topic: str = option("", "Depth images; '' = the topic 'depth', or by type in a bag.")
    camera_info_topic: str = option("", "Intrinsics of the colour camera; '' = camera_info beside the images.")
    depth_info_topic: str = option("", "Intrinsics of the depth camera; '' = camera_info beside the depth images.")
    pose_topic: str = option("", "Camera poses, or poses of a frame that tf leads from to the camera; '' = 'pose'.")
    label_topic: str = option("", "Label images of the colour camera, for perception.segmenter=topic; '' = none.")
    qos: str = option(
        "sensor_data",
        "QoS of images and camera_info: sensor_data (best effort) fits every publisher, reliable loses nothing.",
        choices=("sensor_data", "reliable"),
    )
    bag_path: str = option("", "A recording that is read directly instead of live topics; '' = live.")
