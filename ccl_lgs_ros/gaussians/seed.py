# SPDX-License-Identifier: Apache-2.0
"""New Gaussians where a keyframe's depth shows a surface that the map does not explain yet."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.surface import closed, normals_of, spacing_of, without_flying_pixels
from ccl_lgs_ros.geometry import transform_points
from ccl_lgs_ros.structures import Gaussians, Rendering

BEHIND = 0.05  # of the depth; a map that far behind the measured surface does not explain it
LAYER = 0.08  # of the depth; what lies that far behind the nearest in its cell is another surface
SIGMA = 0.55  # of the distance between seeds; neighbours at this size overlap without holes
FLATNESS = 0.3  # thickness along the normal, of the size along the surface
MAX_STRETCH = 3.0  # times longer along a slope than across it, at most
OPACITY = 0.8
SH_C0 = 0.28209479177387814  # the constant basis function of spherical harmonics


def seed_gaussians(
    keyframe: Keyframe,
    rendering: Rendering | None,
    *,
    seed_stride: int = 3,
    seed_alpha: float = 0.5,
    sh_degree: int = 0,
) -> Gaussians:
    """Gaussians on the measured surface, one per cell of the image that the map leaves unexplained.

    Args:
        keyframe: with depth; without it there is nothing to seed from.
        rendering: the map so far as this keyframe's camera sees it; None for an empty map.
        seed_stride: side of the cells in pixels.
        seed_alpha: a pixel is unexplained where less than this is rendered, or where what is rendered lies
            clearly behind the surface.
        sh_degree: of the colours; all but the constant part are zero.

    Returns:
        Gaussians as wide as their cell, flat where the normal is known; none where the depth is unknown.
    """
    if keyframe.depth is None:
        return Gaussians.empty(sh_degree)
    spacing = spacing_of(keyframe.depth)
    measured = without_flying_pixels(keyframe.depth, spacing)
    surface = closed(measured, spacing)
    wanted = np.isfinite(surface) & _unexplained(surface, rendering, seed_alpha)
    rows, columns = _one_per_cell(wanted, surface, np.isfinite(measured), seed_stride)
    if not len(rows):
        return Gaussians.empty(sh_degree)
    points = keyframe.camera.unproject(surface)
    normals = normals_of(points, max(spacing, seed_stride // 2, 1))
    return _gaussians(
        keyframe, points[rows, columns], normals[rows, columns], _colors(keyframe, rows, columns, seed_stride),
        seed_stride, sh_degree,
    )  # fmt: skip


def _unexplained(surface: NDArray[np.float32], rendering: Rendering | None, seed_alpha: float) -> NDArray[np.bool_]:
    if rendering is None:
        return np.ones(surface.shape, bool)
    alpha, depth = rendering.alpha.detach().cpu().numpy(), rendering.depth.detach().cpu().numpy()
    with np.errstate(invalid="ignore"):
        return (alpha < seed_alpha) | (depth > (1.0 + BEHIND) * surface)


def _one_per_cell(
    wanted: NDArray[np.bool_], surface: NDArray[np.float32], measured: NDArray[np.bool_], stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns [n] of one wanted pixel of each cell, and of a second where two surfaces meet in it.

    A measured pixel comes before one that was filled in, then the one next to the middle.
    """
    rows, columns = np.nonzero(wanted)
    cells = (rows // stride) * (wanted.shape[1] // stride + 1) + columns // stride
    depth, nearest = surface[rows, columns], np.full(cells.max(initial=0) + 1, np.inf)
    np.minimum.at(nearest, cells, depth)
    places = 2 * cells + (depth > (1.0 + LAYER) * nearest[cells])
    middle = (stride - 1) / 2.0
    off = np.abs(rows % stride - middle) + np.abs(columns % stride - middle)
    off += np.where(measured[rows, columns], 0.0, 2.0 * stride)
    order = np.lexsort((off, places))
    _, first = np.unique(places[order], return_index=True)
    chosen = order[first]
    return rows[chosen], columns[chosen]


def _colors(
    keyframe: Keyframe, rows: NDArray[np.int64], columns: NDArray[np.int64], stride: int
) -> NDArray[np.float32]:
    """The mean colour [n, 3], 0 to 1, of what each seed stands for."""
    blurred = cv2.blur(keyframe.image, (stride, stride)) if stride > 1 else keyframe.image
    return (blurred[rows, columns] / 255.0).astype(np.float32)


def _gaussians(
    keyframe: Keyframe,
    points: NDArray[np.float32],  # [n, 3] camera
    normals: NDArray[np.float32],  # [n, 3] camera, NaN where unclear
    colors: NDArray[np.float32],  # [n, 3]
    stride: int,
    sh_degree: int,
) -> Gaussians:
    camera, n = keyframe.camera, len(points)
    size = SIGMA * stride * points[:, 2] / np.sqrt(camera.fx * camera.fy)
    axes, scales = _ellipsoids(points, normals, size)
    world_axes = keyframe.world_from_camera[:3, :3] @ axes
    quats = np.roll(Rotation.from_matrix(world_axes).as_quat(), 1, axis=1)
    sh = torch.zeros(n, (sh_degree + 1) ** 2, 3)
    sh[:, 0] = torch.from_numpy((colors - 0.5) / SH_C0)
    return Gaussians(
        means=torch.from_numpy(transform_points(keyframe.world_from_camera, points).astype(np.float32)),
        quats=torch.from_numpy(quats.astype(np.float32)),
        log_scales=torch.from_numpy(np.log(scales).astype(np.float32)),
        logit_opacities=torch.full((n,), float(np.log(OPACITY / (1.0 - OPACITY)))),
        sh=sh,
    )


def _ellipsoids(
    points: NDArray[np.float32], normals: NDArray[np.float32], size: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Axes [n, 3, 3] as columns (down the slope, across it, along the normal) and sizes [n, 3] along them.

    A surface that is seen at a slant fills more metres per pixel down the slope. Balls where the normal is unclear.
    """
    ray = points / np.linalg.norm(points, axis=1, keepdims=True)
    has_normal = np.isfinite(normals.sum(axis=1))
    normal = np.where(has_normal[:, None], normals, -ray).astype(np.float64)
    cosine = np.abs((normal * ray).sum(axis=1))
    slope = ray - (ray * normal).sum(axis=1, keepdims=True) * normal
    other = np.where(np.abs(normal[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    is_frontal = np.linalg.norm(slope, axis=1, keepdims=True) < 1e-3
    slope = np.where(is_frontal, np.cross(normal, other), slope)
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    axes = np.stack([slope, np.cross(normal, slope), normal], axis=2)
    stretch = np.where(has_normal, np.minimum(1.0 / cosine, MAX_STRETCH), 1.0)
    thickness = np.where(has_normal, FLATNESS, 1.0)
    sizes = size[:, None] * np.stack([stretch, np.ones_like(stretch), thickness], axis=1)
    return axes.astype(np.float64), sizes.astype(np.float64)
