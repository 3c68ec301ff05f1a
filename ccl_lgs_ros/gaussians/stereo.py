# SPDX-License-Identifier: Apache-2.0
"""Depth for keyframes that have none, from their neighbours' images and poses: what triangulates, then what sweeps.

A depth that no neighbour's own depth confirms stays unknown: plain walls look alike at every depth.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.gaussians.sweep import Sight, appearance_of, sweep
from ccl_lgs_ros.gaussians.triangulate import MIN_MATCHES, Features, Matches, features_of, matched, triangulate
from ccl_lgs_ros.geometry import invert_rigid, rotation_angle, transform_points

logger = logging.getLogger(__name__)

SWEPT_SHARE = 2  # the sweep's pixels are this many of the image's wide; seeds stand farther apart than that
NUM_SWEPT = 4  # neighbours that are swept
NUM_PLANES = 96
MAX_TURN = np.radians(40.0)  # between a keyframe and a neighbour
BEST_ANGLE = np.radians(5.0)  # between the rays of two neighbours to what they both see
MIN_SIGHT_ANGLE = np.radians(0.75)  # less tells no depth
TURN_COST = 1.0 / np.radians(30.0)  # what a turn costs a neighbour, against an e-fold of the angle
MAX_POSE_ERROR_PX = 1.5  # median over its matches, above which a neighbour is not where its pose says
MIN_POINTS = 20  # triangulated points that tell the range of depths
NEAR_SHARE, FAR_SHARE = 0.6, 1.6  # of the nearest and the farthest of them (2 % off either end)
NEAR_BASELINES, FAR_BASELINES = 0.7, 30.0  # range in baselines where too few points tell
TOLERANCE = 0.04  # of the depth; two keyframes that differ by less confirm each other
MIN_MARGIN = 50.0  # cost by which one confirmation suffices; two always do


class View:
    """A keyframe as its neighbours need it: what is costly is made on demand, once.

    Args:
        keyframe: at the size that the depth is wanted at.
        index: by which others name it.
    """

    def __init__(self, keyframe: Keyframe, index: int) -> None:
        self.index = index
        self.camera: Camera = keyframe.camera
        self.world_from_camera = keyframe.world_from_camera
        self._image = keyframe.image
        height, width = keyframe.image.shape[:2]
        self.small = keyframe.camera.resized(max(width // SWEPT_SHARE, 1), max(height // SWEPT_SHARE, 1))
        self.raw: Raw | None = None

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """At the size of the sweep."""
        size = (self.small.width, self.small.height)
        return np.asarray(cv2.resize(self._image, size, interpolation=cv2.INTER_AREA), np.uint8)

    @cached_property
    def appearance(self) -> NDArray[np.uint8]:
        """What the sweep compares."""
        return appearance_of(self.image)

    @cached_property
    def features(self) -> Features:
        """Of the image at its full size."""
        return features_of(self._image)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raw:
    """The depth of a view before others have confirmed it."""

    depth: NDArray[np.float32]  # [h, w] metres, at the size of the sweep
    margin: NDArray[np.float32]  # [h, w]
    points: NDArray[np.float64]  # [n, 3] pixel x, y and depth of what was triangulated
    neighbours: list[int]  # the indices of those swept
    neighbour_from_view: list[NDArray[np.float64]]  # [4, 4] each
    near_far: tuple[float, float]  # metres


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confirmed:
    """The depth of a view as it is kept: small."""

    depth: NDArray[np.float16]  # [h, w] metres, at the size of the sweep
    points: NDArray[np.float32]  # [n, 3] pixel x, y and depth

    def image(self, camera: Camera) -> NDArray[np.float32]:
        """The depth [H, W] for the camera of the view, NaN where unknown."""
        depth = _enlarged(self.depth.astype(np.float32), camera.width, camera.height)
        columns, rows = np.floor(self.points[:, :2]).astype(np.int64).T
        depth[rows.clip(0, camera.height - 1), columns.clip(0, camera.width - 1)] = self.points[:, 2]
        return depth


def raw_depth(view: View, others: Sequence[View]) -> Raw | None:
    """Depth of a view from other ones near it; None where none of them helps."""
    apart = [invert_rigid(other.world_from_camera) @ view.world_from_camera for other in others]
    near = [k for k, pose in enumerate(apart) if np.linalg.norm(pose[:3, 3]) > 0 and rotation_angle(pose) < MAX_TURN]
    if not near:
        return None
    matches = [matched(view.camera, view.features, others[k].camera, others[k].features, apart[k]) for k in near]
    found = triangulate(view.camera, view.features, matches)
    is_known = np.isfinite(found.depth)
    baseline = max(float(np.linalg.norm(pose[:3, 3])) for pose in found.neighbour_from_camera)
    near_far = _range(found.depth[is_known], baseline, [others[k].raw for k in near])
    poses = found.neighbour_from_camera
    typical = float(np.median(found.depth[is_known])) if is_known.sum() >= MIN_POINTS else np.sqrt(np.prod(near_far))
    chosen = _chosen(poses, matches, found.errors_px, float(typical))
    if not chosen:
        return None
    neighbours = [others[near[c]] for c in chosen]
    sights = [
        Sight(camera=other.small, neighbour_from_camera=poses[c], appearance=other.appearance)
        for c, other in zip(chosen, neighbours, strict=True)
    ]
    inverse_depths = np.linspace(1.0 / near_far[1], 1.0 / near_far[0], NUM_PLANES)
    swept = sweep(view.small, view.image, view.appearance, sights, inverse_depths)
    return Raw(
        depth=swept.depth,
        margin=swept.margin,
        points=np.column_stack([view.features.pixels, found.depth])[is_known],
        neighbours=[other.index for other in neighbours],
        neighbour_from_view=[poses[c] for c in chosen],
        near_far=near_far,
    )


def confirmed(view: View, others: Mapping[int, View]) -> Confirmed:
    """What the raw depths of a view's neighbours say of its own.

    Args:
        view: with raw depth; without it nothing is known.
        others: by index; those with raw depth can confirm.
    """
    raw = view.raw
    if raw is None:
        nothing = np.full((view.small.height, view.small.width), np.nan, np.float16)
        return Confirmed(depth=nothing, points=np.zeros((0, 3), np.float32))
    points, times = view.small.unproject(raw.depth), np.zeros(raw.depth.shape, np.int32)
    for index, pose in zip(raw.neighbours, raw.neighbour_from_view, strict=True):
        other = others.get(index)
        if other is not None and other.raw is not None:
            times += _agrees(transform_points(pose, points), other.small, other.raw.depth)
    is_kept = (times >= 2) | ((times >= 1) & (raw.margin > MIN_MARGIN))
    return Confirmed(
        depth=np.where(is_kept, raw.depth, np.nan).astype(np.float16), points=raw.points.astype(np.float32)
    )


def _range(depth: NDArray[np.float64], baseline: float, known: Sequence[Raw | None]) -> tuple[float, float]:
    """The nearest and the farthest depth to look at, in metres."""
    if len(depth) >= MIN_POINTS:
        low, high = np.percentile(depth, [2, 98])
        return float(NEAR_SHARE * low), float(FAR_SHARE * high)
    ranges = np.array([raw.near_far for raw in known if raw is not None])
    if len(ranges):
        return float(ranges[:, 0].min()), float(ranges[:, 1].max())
    return NEAR_BASELINES * baseline, FAR_BASELINES * baseline


def _chosen(
    poses: Sequence[NDArray[np.float64]], matches: Sequence[Matches], errors: Sequence[float], depth: float
) -> list[int]:
    """The neighbours that tell most of the depth of what lies that far ahead."""
    middle, scores = np.array([0.0, 0.0, depth]), []
    for k, pose in enumerate(poses):
        there = middle + pose[:3, :3].T @ pose[:3, 3]  # from the neighbour
        angle = np.arctan2(np.linalg.norm(np.cross(middle, there)), middle @ there)
        along = np.arctan2(np.linalg.norm(pose[:3, 3]), 2.0 * depth)  # straight ahead, seen off the middle
        angle = max(float(angle), float(along))
        is_lost = len(matches[k].feature) >= MIN_MATCHES and errors[k] > MAX_POSE_ERROR_PX
        if angle > MIN_SIGHT_ANGLE and not is_lost:
            scores.append((abs(np.log(angle / BEST_ANGLE)) + TURN_COST * rotation_angle(pose), k))
    return [k for _, k in sorted(scores)[:NUM_SWEPT]]


def _agrees(points: NDArray[np.floating], camera: Camera, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which points [h, w, 3] of a camera's frame lie on the surface that its depth shows."""
    pixels = np.nan_to_num(camera.project(points), nan=-1.0)
    columns, rows = np.floor(pixels[..., 0]).astype(np.int64), np.floor(pixels[..., 1]).astype(np.int64)
    is_inside = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    there = depth[rows.clip(0, camera.height - 1), columns.clip(0, camera.width - 1)]
    return is_inside & (np.abs(there - points[..., 2]) < TOLERANCE * points[..., 2])


def _enlarged(depth: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Depth at the image's size: between its pixels where they lie on one surface, else the nearest of them."""
    known = np.isfinite(depth)
    size = (width, height)
    nearest = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
    weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    between = cv2.resize(np.where(known, depth, 0.0).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    with np.errstate(invalid="ignore"):
        is_one_surface = (weight > 0.999) & (np.abs(between - nearest) < TOLERANCE * nearest)
    return np.where(is_one_surface, between, nearest).astype(np.float32)
