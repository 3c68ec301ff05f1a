# SPDX-License-Identifier: Apache-2.0
"""The cameras that a keyframe node listens to: one without a name, or several with names and topics of their own."""

import re
from dataclasses import dataclass, fields

from rclpy.node import Node

from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.options import option
from ccl_lgs_ros.ros.keyframe_options import KeyframeNodeOptions
from ccl_lgs_ros.ros.parameters import declare_options

NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")  # fits a topic and a parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraOptions:
    """Parameters `cameras.<name>.*` of a camera among several."""

    image_topic: str = option("", "Colour images of this camera; '' = <name>/image.")
    depth_topic: str = option("", "Depth images of this camera; '' = <name>/depth.")
    camera_info_topic: str = option("", "Intrinsics of this colour camera; '' = camera_info beside the images.")
    depth_info_topic: str = option("", "Intrinsics of this depth camera; '' = camera_info beside the depth images.")
    pose_topic: str = option("", "Poses of this camera; '' = tf, or the pose topic that all cameras share.")
    label_topic: str = option("", "Label images of this camera; '' = none.")
    camera_frame: str = option("", "Optical frame of this camera, for drivers that leave frame_id empty or wrong.")


def declare_cameras(node: Node, options: KeyframeNodeOptions, camera_frame: str) -> dict[str, CameraOptions]:
    """The cameras by name; a single one has the name '' and the topics of the node's own options.

    Args:
        node: declares the parameters of named cameras.
        options: of the node.
        camera_frame: of a single camera, as frames.camera_frame has it.

    Raises:
        ConfigError: naming the parameter and what it accepts.
    """
    given = {f.name: getattr(options, f.name) for f in fields(CameraOptions) if f.name != "camera_frame"}
    if not options.camera_names:
        return {"": CameraOptions(**given, camera_frame=camera_frame)}
    _check_names(options.camera_names)
    given = {**given, "pose_topic": "", "frames.camera_frame": camera_frame}
    for name, value in given.items():
        if value:
            own = f"cameras.{options.camera_names[0]}.{name.removeprefix('frames.')}"
            raise ConfigError(f"'{name}' is of a single camera; with camera_names set {own}, and so on")
    cameras = {n: declare_options(node, CameraOptions(), prefix=f"cameras.{n}.") for n in options.camera_names}
    with_labels = [name for name, camera in cameras.items() if camera.label_topic]
    without = sorted(set(cameras) - set(with_labels))
    if with_labels and without:
        raise ConfigError(f"'{with_labels[0]}' has a label_topic and '{without[0]}' has none; give one to all, or none")
    return cameras


def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            raise ConfigError(f"camera_names: '{name}' is no name of letters, digits and _ that begins with a letter")
        if names.count(name) > 1:
            raise ConfigError(f"camera_names: '{name}' stands there twice")
