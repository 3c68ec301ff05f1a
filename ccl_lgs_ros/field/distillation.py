# SPDX-License-Identifier: Apache-2.0
"""Distillation: features learnt until every view, blended and decoded, names the codes of its pixels."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.field.course import Training
from ccl_lgs_ros.field.decoded_votes import decoded_votes, found_by_codes
from ccl_lgs_ros.field.decoder import decoded_codes, most_likely
from ccl_lgs_ros.field.learning import FieldLearner
from ccl_lgs_ros.field.registration import FULL_CONFIDENCE, RegistrationLifter
from ccl_lgs_ros.field.trained import Score
from ccl_lgs_ros.labelling import LabelledView, LabelledViews, LevelLabels, Lifting, painted
from ccl_lgs_ros.languages import NOT_TRUSTED
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians, SemanticField, VoteTable


class DistillationLifter:
    """Trains 8-channel features per Gaussian and level, and a decoder per level, with cross-entropy on codes.

    All levels are drawn at once. Pixels without a code and those that the map hardly covers are left out. Then the
    views, decoded, vote on the Gaussians: a blend is not its parts, so the decoder is wrong on single Gaussians.

    Differs from the paper: semantics move no geometry unless `joint`; a step decodes a sample of its pixels, so that
    memory is bounded; `patience` may stop it early; and it says nothing about 3D.

    Args:
        slots, min_confidence, min_labelled: of the votes, as in RegistrationLifter.
        channels: per Gaussian and level.
        iterations: steps, each on one view; every view once before any comes again.
        learning_rate: of features and decoders.
        batch_px: pixels per level that a step decodes; 0 = all.
        joint: train colour and geometry as well, as the paper does.
        decode: "votes", or "gaussians" for the control that decodes each Gaussian by itself.
        patience: checks without better accuracy on held-out pixels after which it stops; 0 = never.
        checkpoint_every: steps between checkpoints; 0 = none.

    Source: CCL-LGS (Tian et al., 2025), semantic field; settings that it does not publish are of LEGaussians.
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
        joint: bool,
        decode: str,
        patience: int,
        checkpoint_every: int,
    ) -> None:
        self._registration = RegistrationLifter(slots=slots, min_confidence=min_confidence, min_labelled=min_labelled)
        self._training = Training(iterations=iterations, patience=patience, checkpoint_every=checkpoint_every)
        self.channels, self.learning_rate, self.batch_px = channels, learning_rate, batch_px
        self.joint, self.decode = joint, decode

    def lift(
        self,
        gaussians: Gaussians,
        views: LabelledViews,
        labels: Mapping[str, LevelLabels],
        rasterizer: Rasterizer,
        *,
        generator: torch.Generator,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Lifting:
        """The label of each Gaussian at every level, with the field that was learnt and how well it does."""
        coded = {name: level for name, level in labels.items() if len(level.codebook)}
        learner = self._learner(gaussians, {name: len(level.codebook) for name, level in coded.items()}, generator)

        def step(view: LabelledView) -> Score:
            codes = {name: painted(view.labels[name], level.code_of_label) for name, level in coded.items()}
            return learner.step(view, codes, rasterizer)

        course = self._training.follow(learner, step, views, checkpoint, progress)
        trained, semantics = learner.gaussians, learner.field
        seen = self._registration.tables(trained, views, labels, rasterizer, progress)
        if self.decode == "gaussians":
            codes = {name: _alone(semantics, name, seen[name]) for name in coded}
        else:
            tables = decoded_votes(
                self._registration,
                trained,
                semantics.features,
                lambda level, blended, alpha: decoded_codes(semantics, level, blended, alpha),
                views,
                rasterizer,
                progress,
            )
            codes = {name: self._registration.resolve(tables[name]) for name in coded}
        found, confidence = found_by_codes(codes, seen, labels)
        return Lifting(
            gaussians=trained,
            label_of_gaussian=found,
            confidence=confidence,
            uncertainty={name: _in_bytes(unsure, found[name]) for name, unsure in learner.uncertainty.items()},
            field=semantics,
            figures=course.figures("distill"),
        )

    def _learner(self, gaussians: Gaussians, num_codes: Mapping[str, int], generator: torch.Generator) -> FieldLearner:
        """What is trained, for codebooks of K entries by level."""
        return FieldLearner(
            gaussians,
            num_codes,
            channels=self.channels,
            learning_rate=self.learning_rate,
            batch_px=self.batch_px,
            joint=self.joint,
            generator=generator,
        )


def _alone(semantics: SemanticField, level: str, seen: VoteTable) -> tuple[Tensor, Tensor]:
    """The code [N] of each Gaussian decoded by itself, with its probability [N] of 255; -1 where none was seen."""
    code, probability = most_likely(semantics.decoders[level], semantics.features[level])
    code, probability = code.to(seen.visibility.device), probability.to(seen.visibility.device)
    return torch.where(seen.visibility > 0, code, NONE), (probability * FULL_CONFIDENCE).round().clamp_min(1)


def _in_bytes(uncertainty: Tensor, label: Tensor) -> Tensor:
    """Uncertainty [N] in [0, 1] as uint8; 255 where there is no label [N] to trust."""
    return torch.where(label.cpu() == NONE, NOT_TRUSTED, (uncertainty.cpu() * NOT_TRUSTED).round()).to(torch.uint8)
