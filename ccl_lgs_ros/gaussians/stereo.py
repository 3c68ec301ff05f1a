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
from ccl_lgs_ros.gaussians.triangulate import MIN_MATCHES, Features, features_of, matched, triangulate
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
        self.around: Around | None = None
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
class Around:
    """What a view's features tell of its neighbours and of itself."""

    neighbours: list[int]  # indices
    neighbour_from_view: list[NDArray[np.float64]]  # [4, 4] each
    points: NDArray[np.float64]  # [n, 3] pixel x, y and depth of what triangulates
    near_far: tuple[float, float] | None  # metres; None where too little triangulates to tell


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raw:
    """The depth of a view before others have confirmed it."""

    depth: NDArray[np.float32]  # [h, w] metres, at the size of the sweep
    margin: NDArray[np.float32]  # [h, w]
    neighbours: list[int]  # the indices of those swept
    neighbour_from_view: list[NDArray[np.float64]]  # [4, 4] each


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


def look_around(view: View, others: Sequence[View]) -> Around:
    """Which of the others help, where they are, and what triangulates with them."""
    apart = [invert_rigid(other.world_from_camera) @ view.world_from_camera for other in others]
    near = [k for k, pose in enumerate(apart) if np.linalg.norm(pose[:3, 3]) > 0 and rotation_angle(pose) < MAX_TURN]
    matches = [matched(view.camera, view.features, others[k].camera, others[k].features, apart[k]) for k in near]
    found = triangulate(view.camera, view.features, matches)
    poses, errors = found.neighbour_from_camera, found.errors_px
    is_lost = [
        len(match.feature) >= MIN_MATCHES and error > MAX_POSE_ERROR_PX
        for match, error in zip(matches, errors, strict=True)
    ]
    is_known = np.isfinite(found.depth)
    points = np.column_stack([view.features.pixels, found.depth])[is_known]
    near_far = None
    if len(points) >= MIN_POINTS:
        low, high = np.percentile(points[:, 2], [2, 98])
        near_far = float(NEAR_SHARE * low), float(FAR_SHARE * high)
    return Around(
        neighbours=[others[k].index for k, lost in zip(near, is_lost, strict=True) if not lost],
        neighbour_from_view=[pose for pose, lost in zip(poses, is_lost, strict=True) if not lost],
        points=points,
        near_far=near_far,
    )


def raw_depth(view: View, others: Mapping[int, View]) -> Raw | None:
    """Depth of a view from those around it; None where none of them helps.

    Args:
        view: that has looked around.
        others: by index; where too little triangulates, those that have looked around tell the range of depths.
    """
    around = view.around
    if around is None or not around.neighbours:
        return None
    near, far = _range(around, [others[index].around for index in around.neighbours])
    typical = float(np.median(around.points[:, 2])) if around.near_far else float(np.sqrt(near * far))
    chosen = _chosen(around.neighbour_from_view, typical)
    if not chosen:
        return None
    neighbours = [around.neighbours[c] for c in chosen]
    poses = [around.neighbour_from_view[c] for c in chosen]
    sights = [
        Sight(camera=others[index].small, neighbour_from_camera=pose, appearance=others[index].appearance)
        for index, pose in zip(neighbours, poses, strict=True)
    ]
    swept = sweep(view.small, view.image, view.appearance, sights, np.linspace(1.0 / far, 1.0 / near, NUM_PLANES))
    return Raw(depth=swept.depth, margin=swept.margin, neighbours=neighbours, neighbour_from_view=poses)


def confirmed(view: View, others: Mapping[int, View]) -> Confirmed:
    """What the raw depths of a view's neighbours say of its own.

    Args:
        view: that has looked around, with raw depth; without it only its points are known.
        others: by index; those with raw depth can confirm.
    """
    raw = view.raw
    triangulated = (view.around.points if view.around is not None else np.zeros((0, 3))).astype(np.float32)
    if raw is None:
        nothing = np.full((view.small.height, view.small.width), np.nan, np.float16)
        return Confirmed(depth=nothing, points=triangulated)
    points, times = view.small.unproject(raw.depth), np.zeros(raw.depth.shape, np.int32)
    for index, pose in zip(raw.neighbours, raw.neighbour_from_view, strict=True):
        other = others.get(index)
        if other is not None and other.raw is not None:
            times += _agrees(transform_points(pose, points), other.small, other.raw.depth)
    is_kept = (times >= 2) | ((times >= 1) & (raw.margin > MIN_MARGIN))
    return Confirmed(depth=np.where(is_kept, raw.depth, np.nan).astype(np.float16), points=triangulated)


def _range(around: Around, known: Sequence[Around | None]) -> tuple[float, float]:
    """The nearest and the farthest depth to look at, in metres."""
    if around.near_far is not None:
        return around.near_far
    ranges = np.array([other.near_far for other in known if other is not None and other.near_far is not None])
    if len(ranges):
        return float(ranges[:, 0].min()), float(ranges[:, 1].max())
    baseline = max(float(np.linalg.norm(pose[:3, 3])) for pose in around.neighbour_from_view)
    return NEAR_BASELINES * baseline, FAR_BASELINES * baseline


def _chosen(poses: Sequence[NDArray[np.float64]], depth: float) -> list[int]:
    """The neighbours that tell most of the depth of what lies that far ahead."""
    middle, scores = np.array([0.0, 0.0, depth]), []
    for k, pose in enumerate(poses):
        there = middle + pose[:3, :3].T @ pose[:3, 3]  # from the neighbour
        angle = float(np.arctan2(np.linalg.norm(np.cross(middle, there)), middle @ there))
        along = float(np.arctan2(np.linalg.norm(pose[:3, 3]), 2.0 * depth))  # straight ahead, seen off the middle
        angle = max(angle, along)
        if angle > MIN_SIGHT_ANGLE:
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
