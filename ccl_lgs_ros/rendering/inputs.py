# SPDX-License-Identifier: Apache-2.0
"""What every rasterizer demands of its inputs, checked before anything is drawn."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.structures import Gaussians

SH_SIZES = (1, 4, 9, 16)  # coefficients of degrees 0 to 3


def check_inputs(
    gaussians: Gaussians, world_from_camera: NDArray[np.float64], features: Tensor | None, device: str = ""
) -> None:
    """Raise ValueError, naming the field, unless Gaussians, pose and features can be drawn on a kind of device."""
    tensors = gaussians.tensors() if features is None else {**gaussians.tensors(), "features": features}
    for name, tensor in tensors.items():
        if device and tensor.device.type != device:
            raise ValueError(f"{name}: expected a tensor on {device}, got one on {tensor.device}")
        _check_finite(name, tensor)
    if gaussians.sh.shape[1] not in SH_SIZES:
        raise ValueError(f"sh: expected {SH_SIZES} coefficients per colour, got {gaussians.sh.shape[1]}")
    pose = np.asarray(world_from_camera)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f"world_from_camera: expected a finite [4, 4] array, got {pose}")
    if features is not None and (features.ndim != 2 or features.shape[0] != len(gaussians)):
        raise ValueError(f"features: expected [{len(gaussians)}, C], got {tuple(features.shape)}")


def check_labels(labels: Tensor, camera: Camera) -> None:
    """Raise ValueError unless a label map fits the camera's image."""
    if tuple(labels.shape) != (camera.height, camera.width):
        raise ValueError(f"labels: expected {(camera.height, camera.width)}, got {tuple(labels.shape)}")
    if labels.dtype.is_floating_point or labels.dtype == torch.bool:
        raise ValueError(f"labels: expected whole numbers, got {labels.dtype}")


def _check_finite(name: str, tensor: Tensor) -> None:
    values = tensor.detach()
    # A sum is finite where all its terms are, short of overflow, and costs a fraction of looking at each.
    if values.sum().isfinite():
        return
    bad = int((~values.isfinite()).sum())
    if bad:
        raise ValueError(f"{name}: expected finite numbers, got {bad} of {values.numel()} that are not")
