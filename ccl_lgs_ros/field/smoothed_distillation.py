# SPDX-License-Identifier: Apache-2.0
"""Smoothed distillation: features that their places smooth where a learned uncertainty says that views disagree."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.field.decoder import logits
from ccl_lgs_ros.field.distillation import DistillationLifter
from ccl_lgs_ros.field.learning import FieldLearner
from ccl_lgs_ros.field.pixels import at_most
from ccl_lgs_ros.field.smoothing import (
    encoded_places,
    excused_cross_entropy,
    new_place_network,
    smooth_features,
    smoothness,
)
from ccl_lgs_ros.field.trained import named
from ccl_lgs_ros.structures import Gaussians

FIRST_UNCERTAINTY = 0.01
UNCERTAINTY_RATE = 0.05  # of Adam, before the sigmoid; as in LEGaussians, whatever the rate of features
SMOOTHED_EVERY = 10  # steps
SMOOTHED_AT_ONCE = 1 << 15  # Gaussians; of more, so many are drawn: bounds memory


class SmoothedDistillationLifter(DistillationLifter):
    """Distils as DistillationLifter does, and learns of each Gaussian how far its views contradict each other.

    An uncertainty per Gaussian is blended into the views as a channel is. It takes weight from pixels whose codes the
    features cannot say, at a price; and where it is high, the features are drawn to those that a small network makes
    of the Gaussians' places, which cannot but be smooth.

    Differs from the paper: geometry is frozen; features are of the codes of segments and not of dense features; pixels
    without a code excuse nothing and cost nothing; and the decoded views vote on the Gaussians, as the paper says
    nothing about 3D.

    Args:
        uncertainty_weight: the price of uncertainty.
        smooth_weight: of the pull towards what the network of place says; 0 = none.
        smooth_frequencies: octaves of sines and cosines that the network sees of a place; 0 = the place alone.
        others: as in DistillationLifter.

    Source: LEGaussians (Shi et al., CVPR 2024); rates, sizes and weights of its code.
    """

    def __init__(
        self,
        *,
        slots: int,
        min_confidence: float,
        min_labelled: float,
        channels: int,
        iterations: int,
        learning_rate: float,
        batch_px: int,
        patience: int,
        checkpoint_every: int,
        uncertainty_weight: float,
        smooth_weight: float,
        smooth_frequencies: int,
    ) -> None:
        super().__init__(
            slots=slots,
            min_confidence=min_confidence,
            min_labelled=min_labelled,
            channels=channels,
            iterations=iterations,
            learning_rate=learning_rate,
            batch_px=batch_px,
            joint=False,
            decode="votes",
            patience=patience,
            checkpoint_every=checkpoint_every,
        )
        self.uncertainty_weight, self.smooth_weight = uncertainty_weight, smooth_weight
        self.smooth_frequencies = smooth_frequencies

    def _learner(self, gaussians: Gaussians, num_codes: Mapping[str, int], generator: torch.Generator) -> FieldLearner:
        return SmoothedLearner(
            gaussians,
            num_codes,
            channels=self.channels,
            learning_rate=self.learning_rate,
            batch_px=self.batch_px,
            uncertainty_weight=self.uncertainty_weight,
            smooth_weight=self.smooth_weight,
            smooth_frequencies=self.smooth_frequencies,
            generator=generator,
        )


class SmoothedLearner(FieldLearner):
    """Holds, beside features and decoders, an uncertainty per Gaussian and level, and a network of place per level."""

    def __init__(
        self,
        gaussians: Gaussians,
        num_codes: Mapping[str, int],
        *,
        channels: int,
        learning_rate: float,
        batch_px: int,
        uncertainty_weight: float,
        smooth_weight: float,
        smooth_frequencies: int,
        generator: torch.Generator,
    ) -> None:
        self._price, self._smooth_weight = uncertainty_weight, smooth_weight
        self._places = encoded_places(_unit_places(gaussians.means.detach()), smooth_frequencies)
        super().__init__(
            gaussians,
            num_codes,
            channels=channels,
            learning_rate=learning_rate,
            batch_px=batch_px,
            joint=False,
            generator=generator,
        )

    @property
    def uncertainty(self) -> dict[str, Tensor]:
        """Of each Gaussian [N] in (0, 1), by level."""
        return {level: self.now[f"uncertainty.{level}"].detach().sigmoid() for level in self.levels}

    def _beside(self, learning_rate: float, generator: torch.Generator) -> dict[str, tuple[Tensor, float]]:
        first = torch.full((len(self._places),), FIRST_UNCERTAINTY).logit()
        found = {f"uncertainty.{level}": (first, UNCERTAINTY_RATE) for level in self.levels}
        for level in self.levels:
            network = new_place_network(self._places.shape[1], self.channels, generator)
            found |= {f"place.{level}.{key}": (tensor, learning_rate) for key, tensor in network.items()}
        return found

    def _carried(self, level: str) -> Tensor:
        unsure = self.now[f"uncertainty.{level}"].sigmoid()
        return torch.cat([super()._carried(level), unsure[:, None]], dim=1)

    def _loss(self, decoder: Mapping[str, Tensor], blended: Tensor, target: Tensor) -> Tensor:
        evidence = logits(decoder, blended[:, : self.channels])
        return excused_cross_entropy(evidence, target, blended[:, self.channels], self._price)

    def _losses_of_gaussians(self) -> list[Tensor]:
        self.steps["smoothable"] += 1
        if self._smooth_weight == 0 or self.steps["smoothable"] % SMOOTHED_EVERY:
            return []
        everyone = torch.arange(len(self._places), device=self._places.device)
        chosen = at_most(SMOOTHED_AT_ONCE, everyone, self.generator)
        losses = []
        for level, unsure in self.uncertainty.items():
            features = self.now[f"features.{level}"].index_select(0, chosen)
            network = named(self.now, f"place.{level}.")
            smooth = smooth_features(network, self._places[chosen])
            of_network, of_features = smoothness(features, smooth, unsure[chosen])
            losses += [of_network, self._smooth_weight * of_features]
        return losses


def _unit_places(means: Tensor) -> Tensor:
    """The centres [N, 3] moved and scaled, all axes alike, so that most lie between -1 and 1."""
    if len(means) < 2:
        return torch.zeros_like(means)
    spread = means.std(dim=0).max().clamp_min(torch.finfo(means.dtype).tiny)
    return (means - means.mean(dim=0)) / (2.0 * spread)
