# SPDX-License-Identifier: Apache-2.0
"""Draws Gaussians on an NVIDIA GPU, through gsplat."""

from dataclasses import fields
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import MissingDependencyError
from ccl_lgs_ros.geometry import invert_rigid
from ccl_lgs_ros.rendering.colors import colors_towards
from ccl_lgs_ros.rendering.inputs import check_inputs, check_labels
from ccl_lgs_ros.rendering.limits import BLUR_2D, NEAR, TILE
from ccl_lgs_ros.rendering.torch_reference import TorchRasterizer
from ccl_lgs_ros.structures import Gaussians, Rendering, Votes

GPU = "cuda"
CHANNELS_PER_PASS = 32  # more make gsplat's backward ask for more shared memory than some GPUs have


class GsplatRasterizer:
    """Draws with the CUDA kernels of gsplat 1.5.

    Written against gsplat 1.5.3 and its documentation; it has never been run on a GPU. The first use compiles
    gsplat's kernels, which takes some minutes and needs the CUDA toolkit of torch's CUDA version.
    """

    def __init__(self) -> None:
        """Raise MissingDependencyError, saying what to do, where gsplat cannot work."""
        reason = self.is_available()
        if reason:
            raise MissingDependencyError(reason)

    @staticmethod
    def is_available() -> str:
        """Why gsplat cannot work here, in a sentence; empty where it can."""
        # torch is asked first: without a GPU gsplat imports well, and fails later with unrelated errors.
        if not torch.cuda.is_available():
            return "gsplat needs a GPU, and torch sees none; use --set rendering.rasterizer=numba_cpu"
        if not find_spec("gsplat"):
            return "gsplat is not installed; get it with: pip install gsplat==1.5.3"
        from torch.utils.cpp_extension import CUDA_HOME

        if not CUDA_HOME and not find_spec("gsplat.csrc"):
            version = torch.version.cuda
            return f"gsplat compiles its kernels with nvcc, which is missing; install the CUDA toolkit {version}"
        return ""

    def render(
        self,
        gaussians: Gaussians,
        camera: Camera,
        world_from_camera: NDArray[np.float64],
        features: Tensor | None = None,  # [N, C]
    ) -> Rendering:
        """One view, differentiable in every Gaussian parameter and in the features.

        Gaussians that lie elsewhere, as those of a loaded map, are moved for it, and the view is moved back to them.

        Raises:
            ValueError: naming the field that has the wrong shape or a number that is not finite.
        """
        home = gaussians.means.device
        if home.type != GPU:
            features = None if features is None else features.to(GPU)
            drawn = self.render(gaussians.to(GPU), camera, world_from_camera, features)
            return Rendering(**{f.name: getattr(drawn, f.name).to(home) for f in fields(drawn)})
        check_inputs(gaussians, world_from_camera, features, GPU)
        colors = colors_towards(gaussians, world_from_camera)
        if features is not None:
            colors = torch.cat([colors, features], dim=1)
        if len(gaussians) == 0:
            image = colors.new_zeros(camera.height, camera.width, colors.shape[1] + 2)
            is_visible = torch.zeros(0, dtype=torch.bool, device=colors.device)
        else:
            image, alpha, meta = _rasterize(gaussians, camera, world_from_camera, colors, "RGB+ED")
            image = torch.cat([image, alpha], dim=-1)
            is_visible = (meta["radii"][0] > 0).all(dim=-1)
        return Rendering(
            color=image[..., :3],
            depth=image[..., -2],
            alpha=image[..., -1],
            features=image[..., 3:-2],
            is_visible=is_visible,
        )

    def vote(
        self,
        gaussians: Gaussians,
        camera: Camera,
        world_from_camera: NDArray[np.float64],
        labels: Tensor,  # [H, W] int32, -1 none
        *,
        most: int = 0,
    ) -> Votes:
        """The rendering weights of one view summed per Gaussian and label.

        A label is a channel; the gradient of the blend over the label's pixels in a Gaussian's channel is the sum
        of its weights there. Where only the heaviest count, torch weighs them, on the same GPU.

        Args:
            most: Gaussians that count in a pixel, as in Rasterizer.

        Raises:
            ValueError: naming the field that has the wrong shape or a number that is not finite.
        """
        gaussians = gaussians.detached().to(GPU)
        check_inputs(gaussians, world_from_camera, None, GPU)
        check_labels(labels, camera)
        if most:
            return TorchRasterizer().vote(gaussians, camera, world_from_camera, labels, most=most)
        labels = labels.to(gaussians.means.device).long()
        names = labels[labels >= 0].unique()
        visibility = gaussians.means.new_zeros(len(gaussians))
        found = [(names.new_zeros(0), names.new_zeros(0), visibility.new_zeros(0))]
        # One channel more than labels: the last is every pixel, for visibility.
        for first in range(0, len(names) + 1, CHANNELS_PER_PASS):
            mine = names[first : first + CHANNELS_PER_PASS]
            masks = labels[..., None] == mine
            if first + CHANNELS_PER_PASS > len(names):
                masks = torch.cat([masks, torch.ones_like(labels[..., None], dtype=torch.bool)], dim=-1)
            sums = _summed_weights(gaussians, camera, world_from_camera, masks)
            gaussian, column = (sums[:, : len(mine)] > 0).nonzero(as_tuple=True)
            found.append((gaussian, mine[column], sums[gaussian, column]))
            if masks.shape[-1] > len(mine):
                visibility = sums[:, -1]
        gaussian, label, weight = (torch.cat(column) for column in zip(*found, strict=True))
        # Labels are in order within and across passes, so a stable sort by Gaussian leaves them in order.
        order = gaussian.argsort(stable=True)
        return Votes(
            gaussian=gaussian[order].cpu(),
            label=label[order].cpu(),
            weight=weight[order].cpu(),
            visibility=visibility.cpu(),
        )


def _summed_weights(
    gaussians: Gaussians, camera: Camera, world_from_camera: NDArray[np.float64], masks: Tensor
) -> Tensor:
    """The rendering weights [N, L] summed over masks [H, W, L]."""
    if len(gaussians) == 0:
        return gaussians.means.new_zeros(0, masks.shape[-1])
    with torch.enable_grad():
        channels = gaussians.means.new_zeros(len(gaussians), masks.shape[-1]).requires_grad_()
        image, _, _ = _rasterize(gaussians, camera, world_from_camera, channels, "RGB")
        (sums,) = torch.autograd.grad(image, channels, masks.to(image.dtype))
    return sums


def _rasterize(
    gaussians: Gaussians,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
    colors: Tensor,
    mode: Literal["RGB", "RGB+ED"],
) -> tuple[Tensor, Tensor, dict]:
    """gsplat's image [H, W, D], alpha [H, W, 1] and intermediate results for colours [N, D]."""
    from gsplat import rasterization

    view = torch.as_tensor(invert_rigid(np.asarray(world_from_camera))).to(gaussians.means)
    image, alpha, meta = rasterization(
        means=gaussians.means,
        quats=gaussians.quats,
        scales=gaussians.scales,
        opacities=gaussians.opacities,
        colors=colors,
        viewmats=view[None],
        Ks=torch.as_tensor(camera.intrinsics).to(gaussians.means)[None],
        width=camera.width,
        height=camera.height,
        near_plane=NEAR,
        eps2d=BLUR_2D,
        tile_size=TILE,
        packed=False,
        render_mode=mode,
        channel_chunk=CHANNELS_PER_PASS,
    )
    return image[0], alpha[0], meta
