# SPDX-License-Identifier: Apache-2.0
"""Latent distillation: language vectors compressed to a few numbers by an autoencoder of the scene, then blended."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.field.autoencoder import nearest_codes
from ccl_lgs_ros.field.course import Training
from ccl_lgs_ros.field.decoded_votes import decoded_votes, found_by_codes
from ccl_lgs_ros.field.decoder import MIN_ALPHA
from ccl_lgs_ros.field.latent_learning import LatentLearner
from ccl_lgs_ros.field.registration import RegistrationLifter
from ccl_lgs_ros.labelling import LabelledViews, LevelLabels, Lifting
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer
from ccl_lgs_ros.structures import Gaussians, SemanticField


class LatentDistillationLifter:
    """Trains an autoencoder on the segments of all levels, then latents per Gaussian and level with an L1 distance.

    The target of a pixel is the latent of its segment, so that views that differ are averaged, not reconciled. Geometry
    and colour are never changed. Then the views, decoded to vectors and each pixel named after the nearest entry of the
    codebook, vote on the Gaussians: a blend is not its parts, so the decoder is wrong on single Gaussians.

    Differs from the paper: all levels are drawn at once; a step learns from a sample of its pixels, and only from
    those that the map covers; latents are brought back to unit length before they are decoded; and the votes, since it
    says nothing about 3D.

    Args:
        slots, min_confidence, min_labelled: of the votes, as in RegistrationLifter.
        channels: per Gaussian and level.
        latent_iterations: steps of the autoencoder.
        iterations: steps of the latents, each on one view; every view once before any comes again.
        learning_rate: of the latents.
        batch_px: pixels per level that a step learns from; 0 = all.
        patience: checks without better accuracy on held-out pixels after which it stops; 0 = never.
        checkpoint_every: steps between checkpoints; 0 = none.

    Source: LangSplat (Qin et al., 2024).
    """

    def __init__(
        self,
        *,
        slots: int,
        min_confidence: float,
        min_labelled: float,
        channels: int,
        latent_iterations: int,
        iterations: int,
        learning_rate: float,
        batch_px: int,
        patience: int,
        checkpoint_every: int,
    ) -> None:
        self._registration = RegistrationLifter(slots=slots, min_confidence=min_confidence, min_labelled=min_labelled)
        self._training = Training(iterations=iterations, patience=patience, checkpoint_every=checkpoint_every)
        self.channels, self.latent_iterations = channels, latent_iterations
        self.learning_rate, self.batch_px = learning_rate, batch_px

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
        coded = {name: level for name, level in labels.items() if len(level.codebook) and len(level.table)}
        seen = self._registration.tables(gaussians, views, labels, rasterizer, progress)
        codes: dict[str, tuple[Tensor, Tensor]] = {}
        semantics, figures = SemanticField(features={}, decoders={}), {}
        if coded and len(views) and len(gaussians):
            learner = LatentLearner(
                gaussians,
                coded,
                channels=self.channels,
                learning_rate=self.learning_rate,
                batch_px=self.batch_px,
                generator=generator,
            )
            self._train_autoencoder(learner, checkpoint, progress)
            course = self._training.follow(
                learner, lambda view: learner.step(view, rasterizer), views, checkpoint, progress
            )
            semantics, figures = learner.field, {**learner.figures, **course.figures("distill")}
            codes = self._codes(gaussians, semantics, views, coded, rasterizer, progress)
        found, confidence = found_by_codes(codes, seen, labels)
        return Lifting(
            gaussians=gaussians, label_of_gaussian=found, confidence=confidence, field=semantics, figures=figures
        )

    def _train_autoencoder(self, learner: LatentLearner, checkpoint: Checkpoint, progress: Progress) -> None:
        """The steps of the autoencoder that are left; what is kept then stands before the first view."""
        if kept := self._training.kept(checkpoint):
            learner.restore(kept)
        left = range(learner.steps["autoencoder"] + 1, self.latent_iterations + 1)
        if left:
            steps = ((step, learner.autoencoder_step()) for step in left)
            self._training.take("autoencoder", steps, self.latent_iterations, learner.tensors, checkpoint, progress)

    def _codes(
        self,
        gaussians: Gaussians,
        semantics: SemanticField,
        views: LabelledViews,
        labels: Mapping[str, LevelLabels],
        rasterizer: Rasterizer,
        progress: Progress,
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """By level the code [N] that the decoded views give each Gaussian, with its confidence [N]."""

        def codes_of(name: str, blended: Tensor, alpha: Tensor) -> Tensor:
            decoder, entries = semantics.decoders[name], labels[name].codebook.entries
            return nearest_codes(decoder, entries, blended, alpha > MIN_ALPHA)

        tables = decoded_votes(self._registration, gaussians, semantics.features, codes_of, views, rasterizer, progress)
        return {name: self._registration.resolve(table) for name, table in tables.items()}
