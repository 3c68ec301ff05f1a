# SPDX-License-Identifier: Apache-2.0
"""What a distillation learns, and one step of it: blended features whose decoder must name the code of a pixel."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ccl_lgs_ros.field.decoder import MIN_ALPHA, logits, new_decoder
from ccl_lgs_ros.labelling import LabelledView
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians, Rendering, SemanticField

FIRST_LENGTH = 0.1  # standard deviation of a feature's numbers at the start: small, so that directions turn fast
BETAS = (0.9, 0.999)  # of Adam, as in CCL-LGS
ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")  # by torch's names
HELD_OUT_STRIDE = 4  # pixels; every such row and column is never learnt from, but scored
SCORED_SHARE = 8  # the batch is so many times the pixels that are scored

# Of Adam, for what a joint training moves besides the features; those of 3DGS.
MEANS_RATE = 1.6e-4  # times the extent of the scene
RATES = {"quats": 1e-3, "log_scales": 5e-3, "logit_opacities": 5e-2, "sh": 2.5e-3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well a step's pixels were decoded before the step."""

    loss: float
    correct: int  # of the held-out pixels looked at
    total: int


class FieldLearner:
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
        self._given, self._generator, device = gaussians.detached(), generator, gaussians.means.device
        start: dict[str, Tensor] = {}
        for name, size in num_codes.items():
            start[f"features.{name}"] = FIRST_LENGTH * torch.randn(len(gaussians), channels, generator=generator)
            for key, tensor in new_decoder(channels, size, generator).items():
                start[f"decoder.{name}.{key}"] = tensor
        rates = dict.fromkeys(start, learning_rate)
        for name, (tensor, rate) in self._beside(learning_rate).items():
            start[name], rates[name] = tensor, rate
        if joint:
            start.update({f"gaussians.{key}": tensor for key, tensor in self._given.tensors().items()})
            extent = float(gaussians.means.std(dim=0).norm()) if len(gaussians) > 1 else 1.0
            rates.update({f"gaussians.{key}": rate for key, rate in {"means": MEANS_RATE * extent, **RATES}.items()})
        self._parameters = {name: tensor.to(device, copy=True).requires_grad_() for name, tensor in start.items()}
        groups = [{"params": [tensor], "lr": rates[name]} for name, tensor in self._parameters.items()]
        self._adam = torch.optim.Adam(groups, lr=learning_rate, betas=BETAS) if groups else None

    @property
    def field(self) -> SemanticField:
        """What was learnt, without gradient history."""
        values = {name: tensor.detach() for name, tensor in self._parameters.items()}
        return SemanticField(
            features={level: values[f"features.{level}"] for level in self.levels},
            decoders={level: self._decoder(values, level) for level in self.levels},
        )

    @property
    def gaussians(self) -> Gaussians:
        """The Gaussians as they are now, without gradient history; those given unless the training is joint."""
        return self._moving().detached() if self._joint else self._given

    def step(self, view: LabelledView, codes: Mapping[str, Tensor], rasterizer: Rasterizer) -> Score:
        """Learn from a view whose pixels should have these codes [H, W] by level, -1 none.

        A view that is held out from colour moves no Gaussian.
        """
        assert self._adam is not None
        self._adam.zero_grad(set_to_none=True)
        is_joint = self._joint and view.gives_colour
        gaussians = self._moving() if is_joint else self.gaussians
        carried = [self._carried(level) for level in self.levels]
        rendering = rasterizer.render(gaussians, view.keyframe.camera, view.pose, torch.cat(carried, dim=1))
        losses, correct, total = [], 0, 0
        widths = [rows.shape[1] for rows in carried]
        for level, blended in zip(self.levels, rendering.features.split(widths, dim=2), strict=True):
            learnt, scored = self._pixels(codes[level].to(rendering.alpha.device), rendering.alpha.detach())
            decoder, rows = self._decoder(self._parameters, level), blended.flatten(0, 1)
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
        if not losses:
            return Score(loss=0.0, correct=correct, total=total)
        loss = torch.stack(losses).sum()
        loss.backward()
        self._adam.step()
        return Score(loss=float(loss.detach()), correct=correct, total=total)

    def tensors(self) -> dict[str, Tensor]:
        """All that a later learner needs to go on from here."""
        kept = {"random": self._generator.get_state()}
        for name, parameter in self._parameters.items():
            kept[f"value.{name}"] = parameter.detach().clone()
            state = self._adam.state[parameter] if self._adam is not None else {}
            kept.update({f"{key}.{name}": state[key].clone() for key in ADAM_STATE if key in state})
        return kept

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self._generator.set_state(kept["random"])
        for name, parameter in self._parameters.items():
            with torch.no_grad():
                parameter.copy_(kept[f"value.{name}"])
            if self._adam is not None and f"step.{name}" in kept:
                moments = {key: kept[f"{key}.{name}"].to(parameter) for key in ("exp_avg", "exp_avg_sq")}
                self._adam.state[parameter] = {"step": kept[f"step.{name}"].clone(), **moments}

    @property
    def uncertainty(self) -> dict[str, Tensor]:
        """Of each Gaussian [N] in [0, 1], by level, where it is learnt; here it is not."""
        return {}

    def _beside(self, learning_rate: float) -> dict[str, tuple[Tensor, float]]:
        """What is learnt beside features and decoders, by name: where it starts, with its rate."""
        return {}

    def _carried(self, level: str) -> Tensor:
        """What each Gaussian carries into a view [N, C + ...]: its feature, then whatever else is blended."""
        return self._parameters[f"features.{level}"]

    def _loss(self, decoder: Mapping[str, Tensor], blended: Tensor, target: Tensor) -> Tensor:
        """Of pixels [B] in which what is carried was blended to [B, C + ...], and whose codes are `target` [B]."""
        return cross_entropy(logits(decoder, blended), target)

    def _losses_of_gaussians(self) -> list[Tensor]:
        """Losses of no view, in a step that learns from its view."""
        return []

    def _moving(self) -> Gaussians:
        return Gaussians(**{key: self._parameters[f"gaussians.{key}"] for key in self._given.tensors()})

    def _decoder(self, values: Mapping[str, Tensor], level: str) -> dict[str, Tensor]:
        return self._named(values, f"decoder.{level}.")

    @staticmethod
    def _named(values: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in values.items() if name.startswith(prefix)}

    def _pixels(self, codes: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Flat indices of pixels to learn from and of others to be scored on: covered, with a code, drawn anew."""
        is_usable = (codes != NONE) & (alpha > MIN_ALPHA)
        is_held_out = torch.zeros_like(is_usable)
        is_held_out[::HELD_OUT_STRIDE, ::HELD_OUT_STRIDE] = True
        learnt = torch.nonzero((is_usable & ~is_held_out).flatten())[:, 0]
        scored = torch.nonzero((is_usable & is_held_out).flatten())[:, 0]
        return self._drawn(learnt, self._batch_px), self._drawn(scored, -(-self._batch_px // SCORED_SHARE))

    def _drawn(self, pixels: Tensor, count: int) -> Tensor:
        """At most `count` of the pixels, drawn with repetition where there are more; all of them if it is 0."""
        if count == 0 or len(pixels) <= count:
            return pixels
        return pixels[torch.randint(len(pixels), (count,), generator=self._generator).to(pixels.device)]


def _colour_loss(rendering: Rendering, view: LabelledView) -> Tensor:
    """The mean absolute difference of colours where the map covers the image."""
    image = torch.from_numpy(view.keyframe.image).to(rendering.color).div(255.0)
    weight = (rendering.alpha.detach() > MIN_ALPHA).to(rendering.color)
    return ((rendering.color - image).abs().mean(dim=2) * weight).sum() / weight.sum().clamp_min(1.0)
