# SPDX-License-Identifier: Apache-2.0
"""An answer of the map as messages: instances, the cloud of what matched, markers for RViz."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.colours import base_colors
from ccl_lgs_ros.geometry import rigid, transform_points
from ccl_lgs_ros.msg import SemanticInstance
from ccl_lgs_ros.ros.clouds import cloud_message, packed_rgb
from ccl_lgs_ros.ros.conversions import point_message, pose_message, vector_message
from ccl_lgs_ros.structures import NONE, Gaussians

BOX_ALPHA = 0.3
TEXT_HEIGHT = 0.08  # metres
CENTROID_SIZE = 0.04  # metres


def instance_messages(
    instances: Sequence[Instance],
    answer_from_world: NDArray[np.float64],
    listed: Sequence[Instance] | None = None,
) -> list[SemanticInstance]:
    """The instances in the frame of the answer; index_offset counts the Gaussians that are listed, in this order.

    Args:
        listed: the same instances with the Gaussians that are listed; all if not given.
    """
    messages, offset = [], 0
    for instance, shown in zip(instances, instances if listed is None else listed, strict=True):
        world_from_box = rigid(instance.box.rotation, instance.box.center)
        messages.append(
            SemanticInstance(
                id=instance.id,
                level=instance.level,
                score=float(instance.score),
                centroid=point_message(transform_points(answer_from_world, instance.centroid)),
                box_pose=pose_message(answer_from_world @ world_from_box),
                box_size=vector_message(instance.box.size),
                num_gaussians=len(instance.gaussian_ids),
                index_offset=offset,
                entry=int(instance.entry if instance.entry is not None else NONE),
            )
        )
        offset += len(shown.gaussian_ids)
    return messages


def gaussian_indices(instances: Sequence[Instance]) -> NDArray[np.uint32]:
    """The Gaussians of all instances, one after the other."""
    ids = [instance.gaussian_ids.numpy() for instance in instances]
    return np.concatenate(ids).astype(np.uint32) if ids else np.zeros(0, np.uint32)


def answer_cloud(
    instances: Sequence[Instance], gaussians: Gaussians, answer_from_world: NDArray[np.float64], header: Header
) -> PointCloud2:
    """The matched Gaussians' centres with colour, score, instance and Gaussian id."""
    ids = gaussian_indices(instances).astype(np.int64)
    counts = [len(instance.gaussian_ids) for instance in instances]
    points = transform_points(answer_from_world, gaussians.means[ids].numpy()).astype(np.float32)
    colors = base_colors(gaussians.sh[ids])
    return cloud_message(
        {
            "x": points[:, 0],
            "y": points[:, 1],
            "z": points[:, 2],
            "rgb": packed_rgb(colors),
            "score": np.repeat(np.array([i.score for i in instances], np.float32), counts),
            "instance": np.repeat(np.array([i.id for i in instances], np.uint32), counts),
            "id": ids.astype(np.uint32),
        },
        header,
    )


def answer_markers(messages: Sequence[SemanticInstance], prompt: str, header: Header) -> MarkerArray:
    """A box, its centroid and a text per instance, after one marker that removes those of the last answer."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for index, instance in enumerate(messages):
        box = _marker("boxes", index, Marker.CUBE, header, _color(index, BOX_ALPHA))
        box.pose, box.scale = instance.box_pose, instance.box_size
        centroid = _marker("centroids", index, Marker.SPHERE, header, _color(index, 1.0))
        centroid.pose.position = instance.centroid
        centroid.scale.x = centroid.scale.y = centroid.scale.z = CENTROID_SIZE
        text = _marker("texts", index, Marker.TEXT_VIEW_FACING, header, ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0))
        text.pose.position = instance.centroid
        text.scale.z = TEXT_HEIGHT
        text.text = f"{prompt} {instance.score:.2f}"
        markers += [box, centroid, text]
    return MarkerArray(markers=markers)


def _marker(namespace: str, index: int, kind: int, header: Header, color: ColorRGBA) -> Marker:
    marker = Marker(header=header, ns=namespace, id=index, type=kind, action=Marker.ADD, color=color)
    marker.pose.orientation.w = 1.0
    return marker


def _color(index: int, alpha: float) -> ColorRGBA:
    """The best instance green, the others orange."""
    return ColorRGBA(r=0.1, g=0.9, b=0.2, a=alpha) if index == 0 else ColorRGBA(r=1.0, g=0.6, b=0.1, a=alpha)
