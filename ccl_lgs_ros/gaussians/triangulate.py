# SPDX-License-Identifier: Apache-2.0
"""Points of one image from what its posed neighbours show of them: features matched, triangulated, checked.

The poses are taken as they are while the matches agree with them. Where they do not (localisation is rarely good to a
pixel), the neighbours' poses give way, within what localisation may be wrong by, together with the points' depths.
numpy and OpenCV.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import rigid

MAX_FEATURES = 1000
MIN_CONTRAST = 0.02  # of SIFT; half of what Lowe takes, for rooms with plain walls
MAX_RATIO = 0.8  # of the distances to the best and the second match; Lowe, 2004
MAX_EPIPOLAR_PX = 10.0  # pixels from the epipolar line beyond which a match is wrong, whatever the poses' errors
TRUSTED_PX = 0.5  # median error in pixels up to which the poses are taken as they are
MIN_MATCHES = 30  # with a neighbour; fewer say nothing about its pose
ROTATION_SIGMA = np.radians(0.25)  # how wrong a neighbour's rotation may be
TRANSLATION_SIGMA = 0.03  # of the longest baseline; likewise
OUTLIER_PX = 1.0  # where an error turns from square to straight
MAX_ERROR_PX = 1.0  # of a point in all images that show it
MIN_ANGLE = np.radians(1.0)  # between the rays to a point; less tells no depth
ITERATIONS = 12
MIN_INVERSE_DEPTH = 1e-4  # of the inverse of the longest baseline: what is farther is at infinity

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Distinct places of one image."""

    pixels: Floats  # [n, 2] x, y
    descriptors: NDArray[np.float32]  # [n, 128] unit rows

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matches:
    """What a neighbour shows of an image's features."""

    camera: Camera  # of the neighbour
    neighbour_from_camera: Floats  # [4, 4]
    feature: NDArray[np.int64]  # [m] of the image
    pixels: Floats  # [m, 2] in the neighbour


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Triangulated:
    """The depth of an image's features, and where its neighbours turned out to be."""

    depth: Floats  # [n] metres along z, NaN where unknown
    neighbour_from_camera: list[Floats]  # [4, 4] each
    errors_px: list[float]  # of each neighbour, the median over its matches; NaN if there are none


def features_of(image: NDArray[np.uint8]) -> Features:
    """SIFT features of an image [H, W, 3]; descriptors as RootSIFT (Arandjelovic and Zisserman, 2012)."""
    finder = cv2.SIFT.create(MAX_FEATURES, contrastThreshold=MIN_CONTRAST)
    points, found = finder.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    if found is None or not len(points):
        return Features(pixels=np.zeros((0, 2)), descriptors=np.zeros((0, 128), np.float32))
    rows = np.sqrt(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-9))
    pixels = np.array([point.pt for point in points]) + 0.5  # OpenCV counts from the centre of the first pixel
    return Features(pixels=pixels, descriptors=rows.astype(np.float32))


def matched(
    camera: Camera, features: Features, other: Camera, others: Features, neighbour_from_camera: Floats
) -> Matches:
    """The features of an image that its neighbour shows too: each other's best, clearly, near the epipolar line."""
    if len(features) < 2 or len(others) < 2:
        none = np.zeros(0, np.int64)
        return Matches(camera=other, neighbour_from_camera=neighbour_from_camera, feature=none, pixels=np.zeros((0, 2)))
    cosine = features.descriptors @ others.descriptors.T
    best = cosine.argmax(axis=1)
    first = np.arange(len(features))
    top = cosine[first, best]
    is_mutual = cosine.argmax(axis=0)[best] == first
    cosine[first, best] = -1.0
    is_clear = (1.0 - top) < MAX_RATIO**2 * (1.0 - cosine.max(axis=1))  # squared distances of unit rows
    chosen = np.nonzero(is_mutual & is_clear)[0]
    pixels = others.pixels[best[chosen]]
    off = epipolar_error(
        rays(camera, features.pixels[chosen]), rays(other, pixels), neighbour_from_camera, _focal(camera)
    )
    is_near = np.abs(off) < MAX_EPIPOLAR_PX
    return Matches(
        camera=other, neighbour_from_camera=neighbour_from_camera, feature=chosen[is_near], pixels=pixels[is_near]
    )


def rays(camera: Camera, pixels: Floats) -> Floats:
    """The directions [n, 3] of pixels [n, 2], with z = 1."""
    x = (pixels[:, 0] - camera.cx) / camera.fx
    y = (pixels[:, 1] - camera.cy) / camera.fy
    return np.stack([x, y, np.ones_like(x)], axis=1)


def epipolar_error(first: Floats, second: Floats, second_from_first: Floats, focal: float) -> Floats:
    """How many pixels [n] matched rays [n, 3] are from meeting (Sampson, signed)."""
    x, y, z = second_from_first[:3, 3]
    essential = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) @ second_from_first[:3, :3]
    lines, back = first @ essential.T, second @ essential
    length = np.sqrt((lines[:, :2] ** 2).sum(axis=1) + (back[:, :2] ** 2).sum(axis=1))
    return focal * (lines * second).sum(axis=1) / np.maximum(length, 1e-12)


def triangulate(camera: Camera, features: Features, matches: Sequence[Matches]) -> Triangulated:
    """The depths of features from matches with one or more neighbours.

    Bundle adjustment of the neighbours' poses, with what localisation says as prior, and of one inverse depth per
    feature (Civera et al., 2008); the poses stay as they are where the matches agree with them.

    Args:
        camera: of the image that the depths are wanted in.
        features: of that image.
        matches: with each neighbour.
    """
    problem = _Bundle(camera, features, matches)
    problem.solve_depths()
    sizes = [size for size in problem.errors() if len(size)]
    if sizes and np.median(np.concatenate(sizes)) > TRUSTED_PX:
        problem.solve()
    return Triangulated(
        depth=problem.checked_depth(),
        neighbour_from_camera=[pose.copy() for pose in problem.poses],
        errors_px=[float(np.median(size)) if len(size) else float("nan") for size in problem.errors()],
    )


class _Bundle:
    """The unknowns of `triangulate`: a pose per neighbour, an inverse depth per feature."""

    def __init__(self, camera: Camera, features: Features, matches: Sequence[Matches]) -> None:
        self.poses = [match.neighbour_from_camera.copy() for match in matches]
        self._priors = [match.neighbour_from_camera for match in matches]
        self._matches = matches
        self._rays = rays(camera, features.pixels)
        self._count = len(features)
        baselines = [float(np.linalg.norm(pose[:3, 3])) for pose in self.poses]
        self._baseline = max(baselines, default=0.0)
        self._floor = MIN_INVERSE_DEPTH / max(self._baseline, 1e-9)
        self.inverse_depth = np.full(self._count, self._floor)

    def solve_depths(self) -> None:
        """The inverse depths that fit the poses as they are: linear, then a few steps on the pixels' errors."""
        above, below = np.zeros(self._count), np.zeros(self._count)
        for match, pose in zip(self._matches, self.poses, strict=True):
            seen, turned = rays(match.camera, match.pixels), self._rays[match.feature] @ pose[:3, :3].T
            constant = turned[:, :2] - seen[:, :2] * turned[:, 2:]
            slope = pose[:2, 3] - seen[:, :2] * pose[2, 3]
            above -= np.bincount(match.feature, (constant * slope).sum(axis=1), self._count)
            below += np.bincount(match.feature, (slope**2).sum(axis=1), self._count)
        self.inverse_depth = np.maximum(above / np.maximum(below, 1e-12), self._floor)
        for _ in range(ITERATIONS // 2):
            self._step(moves_poses=False)

    def solve(self) -> None:
        """Poses and inverse depths together."""
        for _ in range(ITERATIONS):
            self._step(moves_poses=True)

    def errors(self) -> list[Floats]:
        """Pixels [m], of each neighbour's matches."""
        return [np.linalg.norm(self._linearised(k)[0], axis=1) for k in range(len(self._matches))]

    def checked_depth(self) -> Floats:
        """[n] metres; NaN where a match contradicts, or the rays are nearly parallel."""
        worst, widest = np.full(self._count, -np.inf), np.zeros(self._count)
        for match, pose, error in zip(self._matches, self.poses, self.errors(), strict=True):
            np.maximum.at(worst, match.feature, error)
            points = self._rays[match.feature] / self.inverse_depth[match.feature, None]
            center = -pose[:3, :3].T @ pose[:3, 3]
            np.maximum.at(widest, match.feature, _angle(points, points - center))
        is_good = (worst >= 0) & (worst < MAX_ERROR_PX) & (widest > MIN_ANGLE) & (self.inverse_depth > self._floor)
        return np.where(is_good, 1.0 / self.inverse_depth, np.nan)

    def _step(self, *, moves_poses: bool) -> None:
        """One Gauss-Newton step, the inverse depths eliminated (their block is diagonal)."""
        size = 6 * len(self.poses)
        hessian, gradient = np.zeros((size, size)), np.zeros(size)
        depth_hessian, depth_gradient = np.full(self._count, 1e-9), np.zeros(self._count)
        coupling = np.zeros((self._count, size))
        for k, match in enumerate(self._matches):
            error, by_pose, by_depth = self._linearised(k)
            weight = 1.0 / np.maximum(np.linalg.norm(error, axis=1) / OUTLIER_PX, 1.0)
            depth_hessian += np.bincount(match.feature, weight * (by_depth**2).sum(axis=1), self._count)
            depth_gradient += np.bincount(match.feature, weight * (by_depth * error).sum(axis=1), self._count)
            at = slice(6 * k, 6 * k + 6)
            weighted = weight[:, None, None] * by_pose
            hessian[at, at] = np.einsum("mij,mik->jk", weighted, by_pose)
            gradient[at] = np.einsum("mij,mi->j", weighted, error)
            coupling[match.feature, at] += np.einsum("mij,mi->mj", weighted, by_depth)
        change = np.zeros(size)
        if moves_poses and self._baseline > 0:
            self._add_priors(hessian, gradient)
            share = coupling / depth_hessian[:, None]
            change = -np.linalg.solve(hessian - coupling.T @ share, gradient - share.T @ depth_gradient)
            self.poses = [_moved(pose, change[6 * k : 6 * k + 6]) for k, pose in enumerate(self.poses)]
        self.inverse_depth = self.inverse_depth - (depth_gradient + coupling @ change) / depth_hessian
        self.inverse_depth = np.maximum(self.inverse_depth, self._floor)

    def _add_priors(self, hessian: Floats, gradient: Floats) -> None:
        tightness = np.repeat([ROTATION_SIGMA, TRANSLATION_SIGMA * self._baseline], 3) ** -2.0
        for k, (pose, prior) in enumerate(zip(self.poses, self._priors, strict=True)):
            turn = Rotation.from_matrix(pose[:3, :3] @ prior[:3, :3].T).as_rotvec()
            off = np.concatenate([turn, pose[:3, 3] - prior[:3, 3]])
            # A neighbour with few matches keeps its pose: they are too few to tell.
            scale = 1.0 if len(self._matches[k].feature) >= MIN_MATCHES else 1e6
            at = np.arange(6 * k, 6 * k + 6)
            hessian[at, at] += scale * tightness
            gradient[at] += scale * tightness * off

    def _linearised(self, k: int) -> tuple[Floats, Floats, Floats]:
        """Errors [m, 2] in pixels of a neighbour's matches, and their derivatives by its pose [m, 2, 6] (rotation,
        translation) and by the inverse depth [m, 2]."""
        match, pose = self._matches[k], self.poses[k]
        rho = self.inverse_depth[match.feature]
        turned = self._rays[match.feature] @ pose[:3, :3].T
        point = turned + rho[:, None] * pose[:3, 3]
        z = np.maximum(point[:, 2], 1e-6)
        camera = match.camera
        shown = np.stack([camera.fx * point[:, 0] / z + camera.cx, camera.fy * point[:, 1] / z + camera.cy], axis=1)
        by_point = np.zeros((len(z), 2, 3))
        by_point[:, 0, 0], by_point[:, 0, 2] = camera.fx / z, -camera.fx * point[:, 0] / z**2
        by_point[:, 1, 1], by_point[:, 1, 2] = camera.fy / z, -camera.fy * point[:, 1] / z**2
        by_rotation = by_point @ _minus_cross(turned)
        by_pose = np.concatenate([by_rotation, by_point * rho[:, None, None]], axis=2)
        return shown - match.pixels, by_pose, by_point @ pose[:3, 3]


def _moved(pose: Floats, change: Floats) -> Floats:
    """A pose [4, 4] after a small rotation and translation [6]."""
    return rigid(Rotation.from_rotvec(change[:3]).as_matrix() @ pose[:3, :3], pose[:3, 3] + change[3:])


def _minus_cross(vectors: Floats) -> Floats:
    """[m, 3, 3] that turn a small rotation into the motion of the vectors [m, 3]."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    rows = [np.stack(row, axis=1) for row in ((zero, z, -y), (-z, zero, x), (y, -x, zero))]
    return np.stack(rows, axis=1)


def _angle(first: Floats, second: Floats) -> Floats:
    """Between vectors [n, 3], in radians."""
    across = np.linalg.norm(np.cross(first, second), axis=1)
    return np.arctan2(across, (first * second).sum(axis=1))


def _focal(camera: Camera) -> float:
    return float(np.sqrt(camera.fx * camera.fy))
