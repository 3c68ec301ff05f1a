# SPDX-License-Identifier: Apache-2.0
"""Steps of photometric optimisation: Gaussians drawn, compared with a keyframe, moved to look more like it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.losses import colour_loss, depth_loss
from ccl_lgs_ros.gaussians.seed import SH_C0
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import Gaussians

# Per step. 3DGS makes 30 000 small ones; a refine makes some hundred and starts on the surface, so that larger ones
# serve it better (a recorded kitchen, 400 steps: 21.8 dB held out, against 20.7 dB with rates a quarter as large).
MEANS_RATE = 1e-3  # times the extent of the scene
MEANS_RATE_END = 0.05  # of the above, reached at the last step
QUATS_RATE = 2e-3
SCALES_RATE = 3e-2
OPACITIES_RATE = 5e-2
COLORS_RATE = 2e-2
HIGHER_COLORS = 1 / 20  # of the rate of the constant part, as in 3DGS
EXPOSURE_RATE = 2e-3
EXPOSURE_PRIOR = 0.01  # holds exposures near the mean one, where the images do not tell
ALPHA_WEIGHT = 0.05  # of the loss where the sensor measured a surface and the map is transparent
ADAM_EPSILON = 1e-15  # as in 3DGS; gradients are small


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Weights of the terms."""

    depth_weight: float
    ssim_weight: float


class Trainer:
    """Holds the Gaussians while they are optimised.

    Args:
        gaussians: where to start; not changed.
        rasterizer: draws them, with gradients.
        losses: weights of the terms.
        extent: metres; the size of the scene, which scales the steps of the centres.
        num_keyframes: how many exposures there are; 0 compensates none.
    """

    def __init__(
        self, gaussians: Gaussians, rasterizer: Rasterizer, losses: Losses, *, extent: float, num_keyframes: int = 0
    ) -> None:
        self._rasterizer, self._losses = rasterizer, losses
        parameters = {name: tensor.detach().clone() for name, tensor in gaussians.tensors().items()}
        sh = parameters.pop("sh")
        parameters["sh_constant"], parameters["sh_higher"] = sh[:, :1].clone(), sh[:, 1:].clone()
        self._parameters = {name: tensor.requires_grad_() for name, tensor in parameters.items()}
        rates = {
            "means": MEANS_RATE * extent,
            "quats": QUATS_RATE,
            "log_scales": SCALES_RATE,
            "logit_opacities": OPACITIES_RATE,
            "sh_constant": COLORS_RATE,
            "sh_higher": COLORS_RATE * HIGHER_COLORS,
        }
        groups = [{"params": [self._parameters[name]], "lr": rate, "name": name} for name, rate in rates.items()]
        self._rates = rates
        self._adam = torch.optim.Adam(groups, eps=ADAM_EPSILON)
        device = gaussians.means.device
        self._exposures = [torch.zeros(2, 3, device=device, requires_grad=True) for _ in range(num_keyframes)]
        self._seen: set[int] = set()  # keyframes whose exposure was learnt
        self._exposure_adam = torch.optim.Adam(self._exposures, lr=EXPOSURE_RATE) if self._exposures else None

    @property
    def gaussians(self) -> Gaussians:
        """The Gaussians as they are now, with gradient history."""
        p = self._parameters
        return Gaussians(
            means=p["means"],
            quats=p["quats"],
            log_scales=p["log_scales"],
            logit_opacities=p["logit_opacities"],
            sh=torch.cat([p["sh_constant"], p["sh_higher"]], dim=1),
        )

    @property
    def result(self) -> Gaussians:
        """The Gaussians in the mean exposure of the keyframes, without gradient history.

        Brightness may wander from the exposures into the colours and back while nothing in the images changes.
        """
        gaussians = self.gaussians.detached()
        if not self._seen:
            return gaussians
        exposures = torch.stack([self._exposures[index].detach() for index in sorted(self._seen)])
        gain, offset = exposures[:, 0].exp().mean(dim=0), exposures[:, 1].mean(dim=0)
        sh = gaussians.sh * gain
        sh[:, 0] += (0.5 * (gain - 1.0) + offset) / SH_C0  # colour = 0.5 + SH_C0 sh + ...
        return replace(gaussians, sh=sh)

    def step(self, keyframe: Keyframe, index: int, fraction: float) -> float:
        """Learn from one keyframe; returns the loss before.

        Args:
            keyframe: what to look like.
            index: which exposure is its.
            fraction: how much of the optimisation is over, 0 to 1.
        """
        for group in self._adam.param_groups:
            group["lr"] = self._rates[group["name"]] * (MEANS_RATE_END**fraction if group["name"] == "means" else 1.0)
        self._adam.zero_grad(set_to_none=True)
        loss = self._loss(keyframe, index)
        loss.backward()
        self._adam.step()
        if self._exposure_adam is not None:
            self._exposure_adam.step()
            self._seen.add(index)
            self._exposure_adam.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _loss(self, keyframe: Keyframe, index: int) -> Tensor:
        view = self._rasterizer.render(self.gaussians, keyframe.camera, keyframe.world_from_camera)
        image = torch.from_numpy(keyframe.image).to(view.color).div(255.0)
        color, loss = view.color, view.color.new_zeros(())
        if self._exposures:
            gain, offset = self._exposures[index]
            color = color * gain.exp() + offset * view.alpha.detach()[..., None]
            loss = loss + EXPOSURE_PRIOR * self._exposures[index].square().sum()
        is_surface = view.alpha.detach() > 0.5
        if keyframe.depth is not None:
            depth = torch.from_numpy(keyframe.depth).to(view.depth)
            is_measured = torch.isfinite(depth)
            is_surface = is_surface | is_measured
            loss = loss + self._losses.depth_weight * depth_loss(view.depth, view.alpha, depth)
            loss = loss + ALPHA_WEIGHT * ((1.0 - view.alpha) * is_measured).mean()
        # The map answers for what it covers and for what was measured; elsewhere it claims nothing.
        return loss + colour_loss(color, image, is_surface.to(color), self._losses.ssim_weight)
