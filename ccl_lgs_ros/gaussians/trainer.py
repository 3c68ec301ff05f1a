# SPDX-License-Identifier: Apache-2.0
"""Steps of photometric optimisation: Gaussians drawn, compared with a keyframe, moved to look more like it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.exposures import Exposures
from ccl_lgs_ros.gaussians.frustum import rows_in_view
from ccl_lgs_ros.gaussians.losses import colour_loss, depth_loss
from ccl_lgs_ros.gaussians.parameters import Parameters, packed_gradient
from ccl_lgs_ros.gaussians.schedule import MEANS_END, RATES_END, decay
from ccl_lgs_ros.protocols import Densifier, Rasterizer
from ccl_lgs_ros.structures import Gaussians

# Per step. 3DGS makes 30 000 small ones; a refine makes some hundred and starts on the surface, so that larger ones
# serve it better. Larger ones still look better where depth is not registered (a recorded kitchen), but tear surfaces
# that were measured well: a synthetic room, 250 steps, had 26.9 dB held out and depth 1.8 % off with these rates, and
# 25.3 dB and 6.3 % with rates four times as large, those of the centres eight times.
MEANS_RATE = 5e-4  # times the extent of the scene
RATES = {"quats": 4e-3, "log_scales": 6e-2, "logit_opacities": 0.1, "sh_constant": 4e-2}
HIGHER_COLORS = 1 / 20  # of the rate of the constant part, as in 3DGS
ALPHA_WEIGHT = 0.05  # of the loss where the sensor measured a surface and the map is transparent


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
        self._rasterizer, self._losses, self._extent = rasterizer, losses, extent
        self._parameters = Parameters(gaussians)
        self._exposures = Exposures(num_keyframes, gaussians.means) if num_keyframes else None
        self.origin = torch.arange(len(gaussians), device=gaussians.means.device)  # [N] which of those given
        self._pull, self._views = gaussians.means.new_zeros(2, len(gaussians))  # [N] sums since the last densification

    def __len__(self) -> int:
        return len(self._parameters)

    @property
    def result(self) -> Gaussians:
        """The Gaussians as they are now, in the mean exposure of the keyframes."""
        gaussians = self._parameters.gaussians()
        return replace(gaussians, sh=self._exposures.mean_exposure(gaussians.sh)) if self._exposures else gaussians

    def step(self, keyframe: Keyframe, index: int, fraction: float) -> float:
        """Learn from one keyframe, moving what it shows and nothing else; returns the loss before.

        Args:
            keyframe: what to look like.
            index: which exposure is its.
            fraction: how much of the optimisation is over, 0 to 1.
        """
        values = self._parameters.values
        near = rows_in_view(values[:, :3], values[:, 7:10], keyframe)
        leaves = self._parameters.leaves(near)
        loss, is_visible = self._loss(leaves, keyframe, index)
        loss.backward()
        shown, gradient = near[is_visible], packed_gradient(leaves)[is_visible]
        self._note_pull(shown, gradient[:, :3], keyframe)
        self._parameters.step(shown, gradient, self._rates(fraction))
        if self._exposures:
            self._exposures.step()
        return float(loss.detach())

    def densify(self, densifier: Densifier, limit: int, generator: torch.Generator) -> None:
        """Let a densifier change which Gaussians there are, to at most `limit`."""
        found = densifier.densify(
            self._parameters.gaussians(),
            self._pull / self._views.clamp_min(1.0),
            self._views,
            extent=self._extent,
            limit=max(limit, len(self)),
            generator=generator,
        )
        self._parameters.replace(found.gaussians, found.parent_of_gaussian, found.is_fresh)
        self.origin = self.origin[found.parent_of_gaussian]
        self._pull, self._views = found.gaussians.means.new_zeros(2, len(found.gaussians))

    def tensors(self) -> dict[str, Tensor]:
        """Everything, to be kept as a checkpoint."""
        own = {"origin": self.origin, "pull": self._pull, "views": self._views}
        return {**self._parameters.tensors(), **own, **(self._exposures.tensors() if self._exposures else {})}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` told."""
        self._parameters.restore(tensors)
        device = self._parameters.values.device
        self.origin, self._pull, self._views = (tensors[name].to(device) for name in ("origin", "pull", "views"))
        if self._exposures:
            self._exposures.restore(tensors)

    def _rates(self, fraction: float) -> Tensor:
        left = decay(fraction, RATES_END)
        rates = {name: rate * left for name, rate in RATES.items()}
        rates["means"] = MEANS_RATE * self._extent * decay(fraction, MEANS_END)
        rates["sh_higher"] = rates["sh_constant"] * HIGHER_COLORS
        return self._parameters.rates(rates)

    def _note_pull(self, rows: Tensor, gradient: Tensor, keyframe: Keyframe) -> None:
        """Add up how hard the projected centres are pulled: a step across the image is one of depth / focal length."""
        camera = keyframe.camera
        pose = torch.as_tensor(keyframe.camera_from_world).to(gradient)
        depth = self._parameters.values[rows, :3] @ pose[2, :3] + pose[2, 3]
        across = (gradient @ pose[:2, :3].T) * depth[:, None]
        half = across.new_tensor([camera.width / (2.0 * camera.fx), camera.height / (2.0 * camera.fy)])
        self._pull[rows] += (across * half).norm(dim=1)
        self._views[rows] += 1.0

    def _loss(self, gaussians: Gaussians, keyframe: Keyframe, index: int) -> tuple[Tensor, Tensor]:
        """The loss, and which of the Gaussians [N] bool were drawn."""
        view = self._rasterizer.render(gaussians, keyframe.camera, keyframe.world_from_camera)
        image = torch.from_numpy(keyframe.image).to(view.color).div(255.0)
        color, loss = view.color, view.color.new_zeros(())
        if self._exposures:
            color, loss = self._exposures.applied(index, color, view.alpha)
        is_surface = view.alpha.detach() > 0.5
        if keyframe.depth is not None:
            depth = torch.from_numpy(keyframe.depth).to(view.depth)
            is_measured = torch.isfinite(depth)
            is_surface = is_surface | is_measured
            loss = loss + self._losses.depth_weight * depth_loss(view.depth, view.alpha, depth)
            loss = loss + ALPHA_WEIGHT * ((1.0 - view.alpha) * is_measured).mean()
        if keyframe.outdated is not None:
            is_surface = is_surface & ~torch.from_numpy(keyframe.outdated).to(is_surface.device)
        # The map answers for what it covers and for what was measured; elsewhere it claims nothing.
        loss = loss + colour_loss(color, image, is_surface.to(color), self._losses.ssim_weight)
        return loss, view.is_visible
