# SPDX-License-Identifier: Apache-2.0
"""Random Gaussians in front of a turned camera, for tests of rasterizers."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import rigid, transform_points
from ccl_lgs_ros.structures import Gaussians

POSE = rigid(Rotation.from_euler("xyz", [0.3, -0.5, 0.2]).as_matrix(), np.array([0.4, -1.0, 0.7]))


def make_camera(width: int = 70, height: int = 45) -> Camera:
    """Sizes that are no multiple of a tile, and a centre off the middle."""
    return Camera(width=width, height=height, fx=60.0, fy=64.0, cx=width / 2 + 3.3, cy=height / 2 - 2.1)


def make_gaussians(n: int = 200, sh_degree: int = 1, seed: int = 0, scale: float = 0.15) -> Gaussians:
    """Gaussians before, beside and behind the camera at POSE."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.rand(n, generator=generator) * 5.0 - 0.5
    xy = (torch.rand(n, 2, generator=generator) * 2.0 - 1.0) * (z.abs()[:, None] + 0.2)
    means = transform_points(POSE, torch.cat([xy, z[:, None]], dim=1).numpy())
    return Gaussians(
        means=torch.as_tensor(means, dtype=torch.float32),
        quats=torch.randn(n, 4, generator=generator),
        log_scales=torch.log(scale * (0.2 + torch.rand(n, 3, generator=generator))),
        logit_opacities=torch.randn(n, generator=generator) * 2.0 + 0.5,
        sh=torch.randn(n, (sh_degree + 1) ** 2, 3, generator=generator) * 0.4,
    )


def one_gaussian(depth: float, scale: float = 0.02, opacity: float = 0.9, color: float = 0.0) -> Gaussians:
    """A ball on the axis of a camera at the world's origin; `color` is its only coefficient."""
    return Gaussians(
        means=torch.tensor([[0.0, 0.0, depth]]),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        log_scales=torch.full((1, 3), scale).log(),
        logit_opacities=torch.tensor([opacity]).logit(),
        sh=torch.full((1, 1, 3), color),
    )


def trainable(gaussians: Gaussians, *names: str) -> Gaussians:
    """A copy whose named tensors, or all, ask for gradients."""
    tensors = {name: tensor.clone() for name, tensor in gaussians.tensors().items()}
    for name in names or tensors:
        tensors[name].requires_grad_()
    return Gaussians(**tensors)


def make_labels(camera: Camera, columns: int = 5, rows: int = 4) -> Tensor:
    """A checkerboard of labels with an unlabelled border at the top."""
    y, x = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    labels = (y * rows // camera.height * columns + x * columns // camera.width).int()
    labels[:6] = -1
    return labels


def identity() -> NDArray[np.float64]:
    return np.eye(4)
