# SPDX-License-Identifier: Apache-2.0
"""What identity encoding learns, and one step of it: blended identities whose class must be the track of a pixel."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear

from ccl_lgs_ros.field.decoder import DECODED_AT_ONCE, MIN_ALPHA
from ccl_lgs_ros.field.identity_losses import identity_loss, nearest_neighbours, neighbour_divergence
from ccl_lgs_ros.field.learning import FIRST_LENGTH
from ccl_lgs_ros.field.pixels import drawn_pixels
from ccl_lgs_ros.field.trained import Score, Trained
from ccl_lgs_ros.labelling import LabelledView
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians

CLASSIFIER_RATE = 0.2  # of the learning rate of identities; 5e-4 and 2.5e-3 in Gaussian Grouping
NEIGHBOURS_EVERY = 5  # steps, as in Gaussian Grouping


class IdentityLearner(Trained):
    """Holds the identities of all levels and a linear classifier for each.

    Args:
        gaussians: what carries the identities; never changed.
        num_classes: K by level.
        channels: C, per level.
        learning_rate: of identities; classifiers learn at CLASSIFIER_RATE of it.
        batch_px: pixels per level that a step classifies; 0 = all.
        neighbours: k in 3D, with which a Gaussian shall agree.
        neighbour_weight: of that divergence.
        neighbour_sample: Gaussians that it is taken over, drawn anew every time.
        generator: draws the start, the pixels and the Gaussians of each step.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        num_classes: Mapping[str, int],
        *,
        channels: int,
        learning_rate: float,
        batch_px: int,
        neighbours: int,
        neighbour_weight: float,
        neighbour_sample: int,
        generator: torch.Generator,
    ) -> None:
        self._gaussians, self._batch_px = gaussians.detached(), batch_px
        self._weight, self._sample, self._channels = neighbour_weight, neighbour_sample, channels
        self._levels, device = tuple(num_classes), gaussians.means.device
        is_regularised = bool(num_classes) and neighbour_weight > 0 and neighbour_sample > 0
        self._neighbours = nearest_neighbours(gaussians.means, neighbours if is_regularised else 0).to(device)
        start: dict[str, tuple[Tensor, float]] = {}
        for level, classes in num_classes.items():
            identity = FIRST_LENGTH * torch.randn(len(gaussians), channels, generator=generator)
            weight = (torch.rand(classes, channels, generator=generator) * 2 - 1) * channels**-0.5
            start[f"identity.{level}"] = identity, learning_rate
            start[f"weight.{level}"] = weight, CLASSIFIER_RATE * learning_rate
            start[f"bias.{level}"] = torch.zeros(classes), CLASSIFIER_RATE * learning_rate
        super().__init__(start, device, generator)

    def step(self, view: LabelledView, classes: Mapping[str, Tensor], rasterizer: Rasterizer) -> Score:
        """Learn from a view whose pixels should have these classes [H, W] by level, -1 none."""
        self.steps["identities"] += 1
        identities = torch.cat([self.now[f"identity.{level}"] for level in self._levels], dim=1)
        drawn = rasterizer.render(self._gaussians, view.keyframe.camera, view.pose, identities)
        losses, correct, total = [], 0, 0
        for level, blended in zip(self._levels, drawn.features.split(self._channels, dim=2), strict=True):
            rows, target = blended.flatten(0, 1), classes[level].flatten().to(drawn.alpha.device, torch.int64)
            learnt, scored = drawn_pixels(classes[level], drawn.alpha, self._batch_px, self.generator)
            if len(learnt):
                losses.append(identity_loss(self.evidence(level, rows.index_select(0, learnt)), target[learnt]))
            with torch.no_grad():
                correct += int((self.evidence(level, rows[scored]).argmax(dim=1) == target[scored]).sum())
            total += len(scored)
        if losses and self.steps["identities"] % NEIGHBOURS_EVERY == 0 and self._neighbours.numel():
            losses += [self._weight * self._divergence(level) for level in self._levels]
        return Score(loss=self.descend(losses), correct=correct, total=total)

    def evidence(self, level: str, identities: Tensor) -> Tensor:
        """The evidence [B, K] for each class in identities [B, C]. It is linear: what a blend is evidence for is what
        its parts are, each by its weight, so that a Gaussian can be asked alone."""
        return linear(identities, self.now[f"weight.{level}"], self.now[f"bias.{level}"])

    @torch.no_grad()
    def classes(self, level: str, identities: Tensor, alpha: Tensor) -> Tensor:
        """The class [H, W] int32 of each pixel of a view, -1 where the map hardly covers it.

        Args:
            identities: [H, W, C], blended.
            alpha: [H, W].
        """
        best = [self.evidence(level, part).argmax(dim=1) for part in identities.flatten(0, 1).split(DECODED_AT_ONCE)]
        return torch.where(alpha > MIN_ALPHA, torch.cat(best).view(alpha.shape), NONE).int()

    def identities(self, level: str) -> Tensor:
        """What was learnt [N, C], without gradient history."""
        return self.now[f"identity.{level}"].detach()

    def _divergence(self, level: str) -> Tensor:
        """That of a sample of the Gaussians from their neighbours."""
        identities, count = self.now[f"identity.{level}"], min(self._sample, len(self._neighbours))
        chosen = torch.randperm(len(self._neighbours), generator=self.generator)[:count].to(identities.device)
        around = self.evidence(level, identities[self._neighbours[chosen]])
        return neighbour_divergence(self.evidence(level, identities[chosen]), around)
