# SPDX-License-Identifier: Apache-2.0
"""Small maps whose floor, walls and blocks are covered with flat Gaussians: exact, made without any camera."""

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box, Instance
from ccl_lgs_ros.structures import Gaussians, SemanticMap

SPACING = 0.02  # metres between Gaussians
TILTED = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
TILTED *= np.linalg.det(TILTED)  # some rotation


def face(low: tuple[float, float, float], high: tuple[float, float, float]) -> NDArray[np.float64]:
    """Points [n, 3] of an upright or level rectangle, which two corners span."""
    axes = [np.arange(a + SPACING / 2, b, SPACING) if b > a else [a] for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def block(low: tuple[float, float, float], high: tuple[float, float, float]) -> list[NDArray[np.float64]]:
    """The four sides and the top of a block."""
    (x, y, z), (X, Y, Z) = low, high
    return [
        face((x, y, z), (x, Y, Z)),
        face((X, y, z), (X, Y, Z)),
        face((x, y, z), (X, y, Z)),
        face((x, Y, z), (X, Y, Z)),
        face((x, y, Z), (X, Y, Z)),
    ]


def splat_map(faces: list[NDArray[np.float64]], world_from_room: NDArray[np.float64] | None = None) -> SemanticMap:
    """A map of points, each a disc in its face; the room's z axis is up."""
    means, quats = [], []
    quat_of = {0: (0.5**0.5, 0.0, 0.5**0.5, 0.0), 1: (0.5**0.5, 0.5**0.5, 0.0, 0.0), 2: (1.0, 0.0, 0.0, 0.0)}
    turn = np.eye(3) if world_from_room is None else world_from_room
    w, x, y, z = np.roll(_quat(turn), 1)
    for points in faces:
        axis = int(np.ptp(points, axis=0).argmin())
        a, b, c, d = quat_of[axis]
        product = (
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        )
        means.append(points @ turn.T)
        quats.append(np.tile(product, (len(points), 1)))
    count = sum(len(points) for points in faces)
    gaussians = Gaussians(
        means=torch.from_numpy(np.concatenate(means)).float(),
        quats=torch.from_numpy(np.concatenate(quats)).float(),
        log_scales=torch.tensor([SPACING, SPACING, 0.001]).log().expand(count, 3),
        logit_opacities=torch.full((count,), 2.0),
        sh=torch.zeros(count, 1, 3),
    )
    up = turn[:, 2]
    return SemanticMap(gaussians=gaussians, levels={}, encoder="", map_up=(float(up[0]), float(up[1]), float(up[2])))


def instance(
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    normal: tuple[float, float, float] | None = None,
    world_from_room: NDArray[np.float64] | None = None,
) -> Instance:
    """A thing that fills a block."""
    turn = np.eye(3) if world_from_room is None else world_from_room
    center, size = (np.array(low) + high) / 2, np.array(high) - low
    box = Box(center=turn @ center, rotation=turn, size=size)
    towards = None if normal is None else turn @ np.array(normal)
    return Instance(
        id=1,
        level="wp",
        score=0.9,
        centroid=box.center,
        box=box,
        gaussian_ids=torch.zeros(0, dtype=torch.int64),
        surface_normal=towards,
    )


def _quat(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(turn).as_quat()
