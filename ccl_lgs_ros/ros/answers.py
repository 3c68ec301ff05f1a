# SPDX-License-Identifier: Apache-2.0
"""An answer of the map as messages: instances, the cloud of what matched, markers for RViz."""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Pose, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.colours import base_colors
from ccl_lgs_ros.geometry import quat_from_rotation, rigid, transform_points
from ccl_lgs_ros.msg import SemanticInstance
from ccl_lgs_ros.ros.clouds import cloud_message, packed_rgb
from ccl_lgs_ros.ros.conversions import header_message, point_message, quaternion_message, vector_message
from ccl_lgs_ros.ros.questions import Reply
from ccl_lgs_ros.ros.requests import MOST_APPROACHES
from ccl_lgs_ros.srv import SemanticQuery
from ccl_lgs_ros.structures import NONE, Gaussians

BOX_ALPHA = 0.3
TEXT_HEIGHT = 0.08  # metres
CENTROID_SIZE = 0.04  # metres
ARROW_LENGTH, ARROW_WIDTH = 0.3, 0.06  # metres
MOST_KEYFRAMES = 5  # in a message
DIGITS = 4  # of metres: more would only lengthen what a terminal prints
TURN_DIGITS = 6  # of a quaternion


def instance_messages(
    instances: Sequence[Instance],
    answer_from_world: NDArray[np.float64],
    listed: Sequence[Instance] | None = None,
    poses: Sequence[Sequence[NDArray[np.float64]]] | None = None,
) -> list[SemanticInstance]:
    """The instances in the frame of the answer; index_offset counts the Gaussians that are listed, in this order.

    Args:
        listed: the same instances with the Gaussians that are listed; all if not given.
        poses: world_from_base [4, 4] to drive to for each instance; none if not given.
    """
    messages, offset = [], 0
    listed, poses = instances if listed is None else listed, [()] * len(instances) if poses is None else poses
    for instance, shown, to_drive_to in zip(instances, listed, poses, strict=True):
        point, normal = instance.surface_point, instance.surface_normal
        world_from_box = rigid(instance.box.rotation, instance.box.center)
        messages.append(
            SemanticInstance(
                id=instance.id,
                level=instance.level,
                score=float(instance.score),
                centroid=_short_point(transform_points(answer_from_world, instance.centroid)),
                box_pose=_short_pose(answer_from_world @ world_from_box),
                box_size=vector_message(instance.box.size.round(DIGITS)),
                surface_point=[] if point is None else [_short_point(transform_points(answer_from_world, point))],
                surface_normal=[] if normal is None else [_short_turned(answer_from_world, normal)],
                approach_poses=[_short_pose(answer_from_world @ pose) for pose in to_drive_to],
                keyframe_ids=list(instance.keyframe_ids[:MOST_KEYFRAMES]),
                num_gaussians=len(instance.gaussian_ids),
                index_offset=offset,
                entry=int(instance.entry if instance.entry is not None else NONE),
                uncertainty=[] if instance.uncertainty is None else [instance.uncertainty],
            )
        )
        offset += len(shown.gaussian_ids)
    return messages


def _short_point(point: NDArray[np.floating]) -> Point:
    return point_message(point.round(DIGITS))


def _short_turned(target_from_source: NDArray[np.floating], direction: NDArray[np.floating]) -> Vector3:
    return vector_message((target_from_source[:3, :3] @ direction).round(DIGITS))


def _short_pose(transform: NDArray[np.floating]) -> Pose:
    quat = quat_from_rotation(transform[:3, :3]).round(TURN_DIGITS)
    return Pose(position=_short_point(transform[:3, 3]), orientation=quaternion_message(quat + 0.0))  # no -0.0


def fill_response(response: SemanticQuery.Response, reply: Reply, stamp_ns: int) -> None:
    """What a response says of the answer as a whole."""
    answer = reply.answer
    response.success, response.error_code, response.message = True, response.OK, reply.message
    response.understood = answer.reading.sentence if answer.reading else ""
    response.unknown_words = list(answer.prompt.unknown_words)
    response.best_score, response.threshold = float(answer.best_score), float(answer.threshold)
    response.map_id, response.map_version = reply.semantic_map.map_id, reply.semantic_map.version
    response.header = header_message(stamp_ns, reply.frame_id)


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
        text = _marker("names", index, Marker.TEXT_VIEW_FACING, header, ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0))
        text.pose.position = instance.centroid
        text.scale.z = TEXT_HEIGHT
        text.text = f"{prompt} {instance.id}: {instance.score:.2f}"
        markers += [box, centroid, text, *_arrows(instance, index, header)]
    return MarkerArray(markers=markers)


def _arrows(instance: SemanticInstance, index: int, header: Header) -> list[Marker]:
    """The poses to drive to."""
    arrows = []
    for place, pose in enumerate(instance.approach_poses):
        number = index * MOST_APPROACHES + place
        arrow = _marker("approaches", number, Marker.ARROW, header, _color(index, 1.0))
        arrow.pose = pose
        arrow.scale.x, arrow.scale.y, arrow.scale.z = ARROW_LENGTH, ARROW_WIDTH, ARROW_WIDTH
        arrows.append(arrow)
    return arrows


def _marker(namespace: str, index: int, kind: int, header: Header, color: ColorRGBA) -> Marker:
    marker = Marker(header=header, ns=namespace, id=index, type=kind, action=Marker.ADD, color=color)
    marker.pose.orientation.w = 1.0
    return marker


def _color(index: int, alpha: float) -> ColorRGBA:
    """The best instance green, the others orange."""
    return ColorRGBA(r=0.1, g=0.9, b=0.2, a=alpha) if index == 0 else ColorRGBA(r=1.0, g=0.6, b=0.1, a=alpha)
