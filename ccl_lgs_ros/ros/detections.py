# SPDX-License-Identifier: Apache-2.0
"""Answers as vision_msgs has them, where that package is present; without it nothing else is missing."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from geometry_msgs.msg import Pose, PoseWithCovariance
from std_msgs.msg import Header

from ccl_lgs_ros.msg import SemanticInstance


def vision_messages() -> Any | None:
    """The module vision_msgs.msg; None where it is not installed."""
    try:
        module = import_module("vision_msgs.msg")
    except ImportError:
        return None
    return module if hasattr(module, "Detection3DArray") else None


def detections_message(vision: Any, instances: Sequence[SemanticInstance], prompt: str, header: Header) -> Any:
    """The instances of an answer as a Detection3DArray: the prompt is their class."""
    return vision.Detection3DArray(header=header, detections=[_detection(vision, i, prompt, header) for i in instances])


def label_info_message(vision: Any, names: Sequence[str], threshold: float, header: Header) -> Any:
    """A LabelInfo of names, numbered from 1; 0 is what looks like none of them."""
    classes = [vision.VisionClass(class_id=number, class_name=name) for number, name in enumerate(("", *names))]
    return vision.LabelInfo(header=header, class_map=classes, threshold=threshold)


def _detection(vision: Any, instance: SemanticInstance, prompt: str, header: Header) -> Any:
    centroid = Pose(position=instance.centroid, orientation=instance.box_pose.orientation)
    result = vision.ObjectHypothesisWithPose(
        hypothesis=vision.ObjectHypothesis(class_id=prompt, score=float(instance.score)),
        pose=PoseWithCovariance(pose=centroid),
    )
    box = vision.BoundingBox3D(center=instance.box_pose, size=instance.box_size)
    return vision.Detection3D(header=header, results=[result], bbox=box, id=str(instance.id))
