# SPDX-License-Identifier: Apache-2.0
"""Where a thing can be touched and from where it was seen: surface points, normals, best views of instances."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import expit

from ccl_lgs_ros.answers import Answer, Instance
from ccl_lgs_ros.query.boxes import is_inside
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.structures import Gaussians

MOST_LOOKED_AT = 4096  # Gaussians of a thing, evenly spread
LEAST_OPACITY = 0.3  # of what counts as surface
PATCH = 0.04  # metres around the surface point, over which the normal is taken
BEST_VIEWS = 5


def answer_seen(
    found: Answer, gaussians: Gaussians, views: ViewedFrom, near: NDArray[np.floating] | None = None
) -> Answer:
    """An answer whose instances tell their nearest surface point, its normal, and the keyframes that show them best.

    Args:
        gaussians: of the map that answered.
        near: [3] metres, world, to which the surface point is the nearest; None = the camera of the best view.
    """
    return replace(found, instances=tuple(instance_seen(item, gaussians, views, near) for item in found.instances))


def instance_seen(
    instance: Instance,
    gaussians: Gaussians,
    views: ViewedFrom,
    near: NDArray[np.floating] | None = None,
    most_views: int = BEST_VIEWS,
) -> Instance:
    """An instance with what `answer_seen` tells; as it was where no view shows it."""
    if len(views) == 0:
        return instance
    points, normals = _surface(instance, gaussians, views)
    ids = views.best(points, normals, most_views)
    if len(ids) == 0:
        return instance
    eye = views.pose_of(int(ids[0]))[:3, 3] if near is None else np.asarray(near, np.float64)
    point, normal = _nearest(points, normals, eye)
    return replace(
        instance, surface_point=point, surface_normal=normal, keyframe_ids=tuple(int(number) for number in ids)
    )


def _surface(
    instance: Instance, gaussians: Gaussians, views: ViewedFrom
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points [n, 3] of a thing's surface and their unit normals, each towards the camera nearest to it."""
    ids = instance.gaussian_ids
    ids = ids[torch.linspace(0, len(ids) - 1, min(len(ids), MOST_LOOKED_AT)).long()]
    points = gaussians.means[ids].numpy(force=True).astype(np.float64)
    opacity = expit(gaussians.logit_opacities[ids].numpy(force=True))
    is_surface = is_inside(instance.box, points) & (opacity >= min(LEAST_OPACITY, float(opacity.max())))
    if not is_surface.any():
        is_surface = np.ones(len(points), bool)
    normals = _shortest_axes(gaussians, ids)
    points, normals = points[is_surface], normals[is_surface]
    viewer = views.positions[KDTree(views.positions).query(points)[1]]
    side = ((viewer - points) * normals).sum(axis=1, keepdims=True)
    return points, np.where(side < 0.0, -normals, normals)


def _shortest_axes(gaussians: Gaussians, ids: torch.Tensor) -> NDArray[np.float64]:
    """The unit direction [n, 3] in which each Gaussian is thinnest."""
    quats = gaussians.quats[ids].numpy(force=True).astype(np.float64)
    w, x, y, z = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).T
    columns = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)],
            [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)],
            [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    thinnest = gaussians.log_scales[ids].numpy(force=True).argmin(axis=1)
    return columns[thinnest, :, np.arange(len(thinnest))]


def _nearest(
    points: NDArray[np.float64], normals: NDArray[np.float64], eye: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The point of a surface that is nearest to an eye, and the unit normal of the patch around it."""
    towards = eye - points
    distance = np.linalg.norm(towards, axis=1)
    is_facing = (towards * normals).sum(axis=1) > 0.0
    chosen = int(np.where(is_facing, distance, np.inf).argmin()) if is_facing.any() else int(distance.argmin())
    patch = np.linalg.norm(points - points[chosen], axis=1) <= PATCH
    normal = normals[patch].sum(axis=0)
    length = float(np.linalg.norm(normal))
    return points[chosen], normal / length if length > 0.0 else normals[chosen]
