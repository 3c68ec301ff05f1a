# SPDX-License-Identifier: Apache-2.0
"""What sparse coefficients are learnt with: a codebook and each Gaussian's mixture of it, rendered and compared."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.field.pixels import drawn_pixels
from ccl_lgs_ros.field.trained import Score, Trained
from ccl_lgs_ros.labelling import LabelledView
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import Gaussians

ENTRY_SHARE = 0.1  # of the learning rate, for entries: unit vectors of many small numbers


def sparse_coefficients(logits: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """The largest coefficients [N, kept] of softmax(logits [N, K]), made to sum to 1, and their entries [N, kept].

    All of them where there are fewer. What is left of a softmax is the softmax of what is left.

    Source: LangSplatV2 (Li et al., 2025), sparse coefficient field, with kept = 4.
    """
    largest = logits.topk(min(kept, logits.shape[1]), dim=1)
    return largest.values.softmax(dim=1), largest.indices


def cosine_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """The mean of 1 - cosine of vectors [B, D] and unit vectors [B, D], B >= 1."""
    return 1.0 - (normalize(found, dim=1) * wanted).sum(dim=1).mean()


class SparseLearner(Trained):
    """Holds the codebook and the logits of all levels; Gaussians stay as they are.

    Entries are held at unit length, so that each is a language vector by itself.

    Args:
        gaussians: what carries the coefficients; never changed.
        logits: [N, K] by level, at the start.
        entries: [K, D] unit rows by level, at the start.
        features: [B, D] unit rows by level, of the segments.
        kept: coefficients of a Gaussian that are not 0.
        learning_rate: of logits; entries have a tenth.
        batch_px: pixels per level that a step compares; 0 = all.
        generator: draws the pixels of each step.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        logits: Mapping[str, Tensor],
        entries: Mapping[str, Tensor],
        features: Mapping[str, Tensor],
        *,
        kept: int,
        learning_rate: float,
        batch_px: int,
        generator: torch.Generator,
    ) -> None:
        self._gaussians, self._levels = gaussians.detached(), tuple(logits)
        self._kept, self._batch_px = kept, batch_px
        device = gaussians.means.device
        self._features = {name: features[name].to(device) for name in self._levels}
        start = {f"logits.{name}": (logits[name], learning_rate) for name in self._levels}
        start |= {f"entries.{name}": (entries[name], ENTRY_SHARE * learning_rate) for name in self._levels}
        super().__init__(start, device, generator)

    def entries(self, level: str) -> Tensor:
        """The codebook [K, D] of a level, unit rows."""
        return normalize(self.now[f"entries.{level}"], dim=1)

    def coefficients(self, level: str) -> tuple[Tensor, Tensor]:
        """The coefficients [N, kept] of each Gaussian and their entries [N, kept], largest first."""
        return sparse_coefficients(self.now[f"logits.{level}"], self._kept)

    def step(self, view: LabelledView, rasterizer: Rasterizer) -> Score:
        """Learn from a view, whose pixels should look like their segments."""
        carried = [self._carried(name) for name in self._levels]
        camera, pose = view.keyframe.camera, view.pose
        rendering = rasterizer.render(self._gaussians, camera, pose, torch.cat(carried, dim=1))
        blended = rendering.features.split([part.shape[1] for part in carried], dim=2)
        losses, correct, total = [], 0, 0
        for name, part in zip(self._levels, blended, strict=True):
            rows = view.rows[name].to(rendering.alpha.device).flatten().long()
            learnt, scored = drawn_pixels(view.rows[name], rendering.alpha, self._batch_px, self.generator)
            flat, entries = part.flatten(0, 1), self.entries(name)
            if len(learnt):
                losses.append(cosine_loss(self._vectors(flat[learnt], name), self._features[name][rows[learnt]]))
            with torch.no_grad():
                found, wanted = self._vectors(flat[scored], name), self._features[name][rows[scored]]
                correct += int(((found @ entries.T).argmax(dim=1) == (wanted @ entries.T).argmax(dim=1)).sum())
            total += len(scored)
        return Score(loss=self.descend(losses), correct=correct, total=total)

    def _carried(self, level: str) -> Tensor:
        """What is blended [N, C]: the coefficients of all K entries, or the vectors that they make if D is less.

        Blending and the product with the codebook may change places, so this is a matter of speed alone.
        """
        logits, (coefficients, entry) = self.now[f"logits.{level}"], self.coefficients(level)
        if self._is_short(level):
            return (coefficients[..., None] * self.entries(level)[entry]).sum(dim=1)
        return torch.zeros_like(logits).scatter(1, entry, coefficients)

    def _vectors(self, blended: Tensor, level: str) -> Tensor:
        """The language vectors [B, D] of blended rows [B, C]."""
        return blended if self._is_short(level) else blended @ self.entries(level)

    def _is_short(self, level: str) -> bool:
        entries = self.now[f"entries.{level}"]
        return entries.shape[1] < entries.shape[0]
