# SPDX-License-Identifier: Apache-2.0
"""What a latent distillation learns: an autoencoder of segments, then latents that blend to those of pixels."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.field.autoencoder import (
    decoded,
    decoder_of,
    encoded,
    nearest_codes,
    new_autoencoder,
    reconstruction_loss,
)
from ccl_lgs_ros.field.learning import FIRST_LENGTH
from ccl_lgs_ros.field.pixels import drawn_pixels
from ccl_lgs_ros.field.trained import Score, Trained, named
from ccl_lgs_ros.labelling import LabelledView, LevelLabels, painted
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import Gaussians, SemanticField

AUTOENCODER_RATE = 7e-4  # as in LangSplat's code
BATCH = 64  # segments in a step of the autoencoder, likewise


class LatentLearner(Trained):
    """Holds the autoencoder of all levels and a latent per Gaussian and level.

    Args:
        gaussians: what carries the latents; never changed.
        labels: by level; the segments of all levels teach the autoencoder. At least one segment.
        channels: C, of a latent.
        learning_rate: of latents.
        batch_px: pixels per level that a step learns from; 0 = all.
        generator: draws the start, the segments and the pixels of each step.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        labels: Mapping[str, LevelLabels],
        *,
        channels: int,
        learning_rate: float,
        batch_px: int,
        generator: torch.Generator,
    ) -> None:
        self._gaussians, self._labels = gaussians.detached(), dict(labels)
        self._channels, self._batch_px, device = channels, batch_px, gaussians.means.device
        self._segments = torch.cat([level.table.features for level in labels.values()]).to(device)
        autoencoder = new_autoencoder(self._segments.shape[1], channels, generator)
        start = {f"autoencoder.{name}": (tensor, AUTOENCODER_RATE) for name, tensor in autoencoder.items()}
        for name in labels:
            first = FIRST_LENGTH * torch.randn(len(gaussians), channels, generator=generator)
            start[f"latents.{name}"] = first, learning_rate
        super().__init__(start, device, generator)
        self._target: dict[str, Tensor] = {}

    @property
    def field(self) -> SemanticField:
        """What was learnt, without gradient history."""
        features = {name: normalize(latent, dim=1) for name, latent in named(self.values, "latents.").items()}
        return SemanticField(features=features, decoders=dict.fromkeys(features, decoder_of(self.autoencoder)))

    @property
    def autoencoder(self) -> dict[str, Tensor]:
        """Weights and biases as they are now, without gradient history."""
        return named(self.values, "autoencoder.")

    @property
    def figures(self) -> dict[str, float]:
        """How well the autoencoder was learnt."""
        return {"autoencoder_steps": self.steps["autoencoder"], "autoencoder_cosine": self.cosine()}

    def cosine(self) -> float:
        """The mean cosine of the segments and what the autoencoder makes of them."""
        with torch.no_grad():
            found = decoded(self.autoencoder, encoded(self.autoencoder, self._segments))
            return float((found * self._segments).sum(dim=1).mean())

    def autoencoder_step(self) -> float:
        """Learn to reconstruct a few segments, drawn with repetition; the loss before."""
        drawn = torch.randint(len(self._segments), (BATCH,), generator=self.generator)
        features = self._segments[drawn.to(self._segments.device)]
        autoencoder = named(self.now, "autoencoder.")
        loss = reconstruction_loss(decoded(autoencoder, encoded(autoencoder, features)), features)
        self.steps["autoencoder"] += 1
        self._target = {}
        return self.descend([loss])

    def step(self, view: LabelledView, rasterizer: Rasterizer) -> Score:
        """Learn from a view whose pixels should blend to the latents of their segments.

        The loss is the mean absolute difference of blend and latent, the blend divided by its alpha; levels are summed.
        It is scored by the entries nearest to the decoded blends, which should be the codes of the pixels.

        Source: LangSplat (Qin et al., 2024), its eq. 6 (L1); its blend is not divided by alpha.
        """
        latents = [normalize(latent, dim=1) for latent in named(self.now, "latents.").values()]
        rendering = rasterizer.render(self._gaussians, view.keyframe.camera, view.pose, torch.cat(latents, dim=1))
        alpha = rendering.alpha.detach().flatten()
        losses, correct, total = [], 0, 0
        for name, blended in zip(self._labels, rendering.features.split(self._channels, dim=2), strict=True):
            row = view.rows[name].flatten().to(alpha.device, torch.int64)
            learnt, scored = drawn_pixels(view.rows[name], rendering.alpha, self._batch_px, self.generator)
            blend = blended.flatten(0, 1)
            if len(learnt):
                target = self._targets()[name][row[learnt]]
                losses.append((blend[learnt] / alpha[learnt, None] - target).abs().mean())
            correct += self._num_correct(view, name, blend.detach(), scored)
            total += len(scored)
        return Score(loss=self.descend(losses), correct=correct, total=total)

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        super().restore(kept)
        self._target = {}

    def _targets(self) -> dict[str, Tensor]:
        """The latents [B, C] of the segments of each level."""
        if not self._target:
            with torch.no_grad():
                rows = encoded(self.autoencoder, self._segments)
            self._target = dict(
                zip(self._labels, rows.split([len(v.table) for v in self._labels.values()]), strict=True)
            )
        return self._target

    def _num_correct(self, view: LabelledView, name: str, blend: Tensor, scored: Tensor) -> int:
        level = self._labels[name]
        code = painted(view.labels[name], level.code_of_label).flatten()[scored.cpu()]
        entries, is_covered = level.codebook.entries, torch.ones(1, len(scored), dtype=torch.bool, device=blend.device)
        found = nearest_codes(self.autoencoder, entries, blend[scored][None], is_covered)[0]
        return int((found.cpu() == code).sum())
