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
from ccl_lgs_ros.field.decoder import MIN_ALPHA
from ccl_lgs_ros.field.learning import FIRST_LENGTH, HELD_OUT_STRIDE, SCORED_SHARE, Score
from ccl_lgs_ros.field.trained import Trained
from ccl_lgs_ros.labelling import LabelledView, LevelLabels, painted
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians, SemanticField

AUTOENCODER_RATE = 7e-4  # as in LangSplat's code
BATCH = 64  # segments in a step of the autoencoder, likewise


class LatentLearner:
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
        self._gaussians, self._labels, self._generator = gaussians.detached(), dict(labels), generator
        self._channels, self._batch_px = channels, batch_px
        device = gaussians.means.device
        self._segments = torch.cat([level.table.features for level in labels.values()]).to(device)
        autoencoder = new_autoencoder(self._segments.shape[1], channels, generator)
        self._autoencoder = Trained({name: t.to(device) for name, t in autoencoder.items()}, AUTOENCODER_RATE)
        drawn = {name: torch.randn(len(gaussians), channels, generator=generator) for name in labels}
        self._latents = Trained({name: FIRST_LENGTH * t.to(device) for name, t in drawn.items()}, learning_rate)
        self._target: dict[str, Tensor] = {}
        self.autoencoder_steps = 0

    @property
    def field(self) -> SemanticField:
        """What was learnt, without gradient history."""
        features = {name: normalize(latent, dim=1) for name, latent in self._latents.values.items()}
        return SemanticField(features=features, decoders=dict.fromkeys(features, decoder_of(self._autoencoder.values)))

    def cosine(self) -> float:
        """The mean cosine of the segments and what the autoencoder makes of them."""
        with torch.no_grad():
            found = decoded(self._autoencoder.values, encoded(self._autoencoder.values, self._segments))
            return float((found * self._segments).sum(dim=1).mean())

    def autoencoder_step(self) -> float:
        """Learn to reconstruct a few segments, drawn with repetition; the loss before."""
        drawn = torch.randint(len(self._segments), (BATCH,), generator=self._generator)
        features = self._segments[drawn.to(self._segments.device)]
        autoencoder = self._autoencoder.now
        loss = reconstruction_loss(decoded(autoencoder, encoded(autoencoder, features)), features)
        self._autoencoder.descend(loss)
        self.autoencoder_steps += 1
        self._target = {}
        return float(loss.detach())

    def step(self, view: LabelledView, rasterizer: Rasterizer) -> Score:
        """Learn from a view whose pixels should blend to the latents of their segments.

        The loss is the mean absolute difference of blend and latent, the blend divided by its alpha; levels are summed.
        It is scored by the entries nearest to the decoded blends, which should be the codes of the pixels.

        Source: LangSplat (Qin et al., 2024), its eq. 6 (L1); its blend is not divided by alpha.
        """
        latents = [normalize(latent, dim=1) for latent in self._latents.now.values()]
        rendering = rasterizer.render(self._gaussians, view.keyframe.camera, view.pose, torch.cat(latents, dim=1))
        alpha = rendering.alpha.detach().flatten()
        losses, correct, total = [], 0, 0
        for name, blended in zip(self._labels, rendering.features.split(self._channels, dim=2), strict=True):
            row = view.rows[name].flatten().to(alpha.device, torch.int64)
            learnt, scored = self._pixels((row != NONE) & (alpha > MIN_ALPHA), rendering.alpha.shape[1])
            blend = blended.flatten(0, 1)
            if len(learnt):
                target = self._targets()[name][row[learnt]]
                losses.append((blend[learnt] / alpha[learnt, None] - target).abs().mean())
            correct += self._num_correct(view, name, blend.detach(), scored)
            total += len(scored)
        if not losses:
            return Score(loss=0.0, correct=correct, total=total)
        loss = torch.stack(losses).sum()
        self._latents.descend(loss)
        return Score(loss=float(loss.detach()), correct=correct, total=total)

    def tensors(self) -> dict[str, Tensor]:
        """All that a later learner needs to go on from here."""
        kept = {"random": self._generator.get_state(), "autoencoder_steps": torch.tensor(self.autoencoder_steps)}
        return {**kept, **self._autoencoder.tensors(), **self._latents.tensors()}

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self._generator.set_state(kept["random"])
        self.autoencoder_steps = int(kept["autoencoder_steps"])
        self._autoencoder.restore(kept)
        self._latents.restore(kept)
        self._target = {}

    def _targets(self) -> dict[str, Tensor]:
        """The latents [B, C] of the segments of each level."""
        if not self._target:
            with torch.no_grad():
                rows = encoded(self._autoencoder.values, self._segments)
            self._target = dict(
                zip(self._labels, rows.split([len(v.table) for v in self._labels.values()]), strict=True)
            )
        return self._target

    def _num_correct(self, view: LabelledView, name: str, blend: Tensor, scored: Tensor) -> int:
        level = self._labels[name]
        code = painted(view.labels[name], level.code_of_label).flatten()[scored.cpu()]
        entries, is_covered = level.codebook.entries, torch.ones(1, len(scored), dtype=torch.bool, device=blend.device)
        found = nearest_codes(self._autoencoder.values, entries, blend[scored][None], is_covered)[0]
        return int((found.cpu() == code).sum())

    def _pixels(self, is_usable: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Flat indices of pixels to learn from and of others to be scored on, drawn anew."""
        is_held_out = torch.zeros_like(is_usable).view(-1, width)
        is_held_out[::HELD_OUT_STRIDE, ::HELD_OUT_STRIDE] = True
        learnt = torch.nonzero(is_usable & ~is_held_out.flatten())[:, 0]
        scored = torch.nonzero(is_usable & is_held_out.flatten())[:, 0]
        return self._drawn(learnt, self._batch_px), self._drawn(scored, -(-self._batch_px // SCORED_SHARE))

    def _drawn(self, pixels: Tensor, count: int) -> Tensor:
        """At most `count` of the pixels, drawn with repetition where there are more; all of them if it is 0."""
        if count == 0 or len(pixels) <= count:
            return pixels
        return pixels[torch.randint(len(pixels), (count,), generator=self._generator).to(pixels.device)]
