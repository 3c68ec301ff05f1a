# SPDX-License-Identifier: Apache-2.0
"""What a distillation learns, and one step of it: blended features whose decoder must name the code of a pixel."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ccl_lgs_ros.field.decoder import MIN_ALPHA, logits, new_decoder
from ccl_lgs_ros.field.pixels import drawn_pixels
from ccl_lgs_ros.field.trained import Score, Trained, named
from ccl_lgs_ros.labelling import LabelledView
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import Gaussians, Rendering, SemanticField

FIRST_LENGTH = 0.1  # standard deviation of a feature's numbers at the start: small, so that directions turn fast

# Of Adam, for what a joint training moves besides the features; those of 3DGS.
MEANS_RATE = 1.6e-4  # times the extent of the scene
RATES = {"quats": 1e-3, "log_scales": 5e-3, "logit_opacities": 5e-2, "sh": 2.5e-3}


class FieldLearner(Trained):
    """Holds the features of all levels, their decoders and, in a joint training, the Gaussians.

    Args:
        gaussians: what carries the features; never changed.
        num_codes: K by level.
        channels: C, per level.
        learning_rate: of features and decoders.
        batch_px: pixels per level that a step decodes; 0 = all.
        joint: train the Gaussians as well.
        generator: draws the start, and the pixels of each step.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        num_codes: Mapping[str, int],
        *,
        channels: int,
        learning_rate: float,
        batch_px: int,
        joint: bool,
        generator: torch.Generator,
    ) -> None:
        self.levels, self.channels, self._batch_px, self._joint = tuple(num_codes), channels, batch_px, joint
        self._given = gaussians.detached()
        start: dict[str, tuple[Tensor, float]] = {}
        for name, size in num_codes.items():
            features = FIRST_LENGTH * torch.randn(len(gaussians), channels, generator=generator)
            start[f"features.{name}"] = features, learning_rate
            for key, tensor in new_decoder(channels, size, generator).items():
                start[f"decoder.{name}.{key}"] = tensor, learning_rate
        start |= self._beside(learning_rate, generator)
        if joint:
            extent = float(gaussians.means.std(dim=0).norm()) if len(gaussians) > 1 else 1.0
            rates = {"means": MEANS_RATE * extent, **RATES}
            start |= {f"gaussians.{key}": (tensor, rates[key]) for key, tensor in self._given.tensors().items()}
        super().__init__(start, gaussians.means.device, generator)

    @property
    def field(self) -> SemanticField:
        """What was learnt, without gradient history."""
        values = self.values
        return SemanticField(
            features={level: values[f"features.{level}"] for level in self.levels},
            decoders={level: named(values, f"decoder.{level}.") for level in self.levels},
        )

    @property
    def gaussians(self) -> Gaussians:
        """The Gaussians as they are now, without gradient history; those given unless the training is joint."""
        return self._moving().detached() if self._joint else self._given

    def step(self, view: LabelledView, codes: Mapping[str, Tensor], rasterizer: Rasterizer) -> Score:
        """Learn from a view whose pixels should have these codes [H, W] by level, -1 none.

        A view that is held out from colour moves no Gaussian.
        """
        is_joint = self._joint and view.gives_colour
        gaussians = self._moving() if is_joint else self.gaussians
        carried = [self._carried(level) for level in self.levels]
        rendering = rasterizer.render(gaussians, view.keyframe.camera, view.pose, torch.cat(carried, dim=1))
        losses, correct, total = [], 0, 0
        widths = [rows.shape[1] for rows in carried]
        for level, blended in zip(self.levels, rendering.features.split(widths, dim=2), strict=True):
            learnt, scored = drawn_pixels(codes[level], rendering.alpha, self._batch_px, self.generator)
            decoder, rows = named(self.now, f"decoder.{level}."), blended.flatten(0, 1)
            target = codes[level].flatten().to(rows.device, torch.int64)
            if len(learnt):
                losses.append(self._loss(decoder, rows.index_select(0, learnt), target[learnt]))
            with torch.no_grad():
                correct += int((logits(decoder, rows[scored, : self.channels]).argmax(dim=1) == target[scored]).sum())
            total += len(scored)
        if losses:
            losses += self._losses_of_gaussians()
        if is_joint:
            losses.append(_colour_loss(rendering, view))
        return Score(loss=self.descend(losses), correct=correct, total=total)

    @property
    def uncertainty(self) -> dict[str, Tensor]:
        """Of each Gaussian [N] in [0, 1], by level, where it is learnt; here it is not."""
        return {}

    def _beside(self, learning_rate: float, generator: torch.Generator) -> dict[str, tuple[Tensor, float]]:
        """What is learnt beside features and decoders, by name: where it starts, with its rate."""
        return {}

    def _carried(self, level: str) -> Tensor:
        """What each Gaussian carries into a view [N, C + ...]: its feature, then whatever else is blended."""
        return self.now[f"features.{level}"]

    def _loss(self, decoder: Mapping[str, Tensor], blended: Tensor, target: Tensor) -> Tensor:
        """Of pixels [B] in which what is carried was blended to [B, C + ...], and whose codes are `target` [B]."""
        return cross_entropy(logits(decoder, blended), target)

    def _losses_of_gaussians(self) -> list[Tensor]:
        """Losses of no view, in a step that learns from its view."""
        return []

    def _moving(self) -> Gaussians:
        return Gaussians(**{key: self.now[f"gaussians.{key}"] for key in self._given.tensors()})


def _colour_loss(rendering: Rendering, view: LabelledView) -> Tensor:
    """The mean absolute difference of colours where the map covers the image."""
    image = torch.from_numpy(view.keyframe.image).to(rendering.color).div(255.0)
    weight = (rendering.alpha.detach() > MIN_ALPHA).to(rendering.color)
    return ((rendering.color - image).abs().mean(dim=2) * weight).sum() / weight.sum().clamp_min(1.0)
