# SPDX-License-Identifier: Apache-2.0
"""Sparse coefficients: each Gaussian learns a mixture of a few entries of a codebook that is learnt with it."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ccl_lgs_ros.field.coded import CODES, CodedViews
from ccl_lgs_ros.field.course import Training
from ccl_lgs_ros.field.registration import FULL_CONFIDENCE, RegistrationLifter
from ccl_lgs_ros.field.sparse_learning import SparseLearner
from ccl_lgs_ros.labelling import LabelledViews, LevelLabels, Lifting
from ccl_lgs_ros.languages import SparseCodes
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, VoteTable

UNSEEN_SHARE = 0.01  # of a Gaussian's votes, spread over all entries, so that any of them can still be learnt


class SparseCoefficientsLifter:
    """Learns, per Gaussian and level, the coefficients of a few codebook entries, and the codebook with them.

    The coefficients are blended into a view, multiplied with the codebook, and compared with the language vector of
    each pixel's segment by the cosine. A Gaussian's label is the entry of its largest coefficient, so that things are
    told apart by what they look like and where they are; tracks play no part.

    Differs from the paper: coefficients begin as the votes of the views for the entries, not at random, since only
    those kept have a gradient and a few hundred steps are all that two cores have time for; entries have unit length;
    both levels are learnt in one step; and Gaussians that hardly any view labelled say nothing.

    Args:
        slots: entries that a Gaussian mixes; 4 in the paper.
        min_confidence: largest coefficient under which a Gaussian has no label.
        min_labelled: share of what was seen of a Gaussian that must have been voted on, or it has no label.
        iterations: steps, each on one view; 0 = the votes as they are.
        learning_rate: of the coefficients' logits; the codebook has a tenth.
        batch_px: pixels per level that a step compares; 0 = all.
        patience: checks without better accuracy on held-out pixels after which it stops; 0 = never.
        checkpoint_every: steps between checkpoints; 0 = none.

    Source: LangSplatV2 (Li et al., NeurIPS 2025), global codebook and sparse coefficient field. The codebook that is
    given, of codebook.size entries, is where the learnt one begins.
    """

    def __init__(
        self,
        *,
        slots: int,
        min_confidence: float,
        min_labelled: float,
        iterations: int,
        learning_rate: float,
        batch_px: int,
        patience: int,
        checkpoint_every: int,
    ) -> None:
        self._registration = RegistrationLifter(slots=slots, min_confidence=0.0, min_labelled=min_labelled)
        self._training = Training(iterations=iterations, patience=patience, checkpoint_every=checkpoint_every)
        self.slots, self.min_confidence = slots, min_confidence
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
        """The mixture of each Gaussian at every level, the codebooks that were learnt, and how well they do."""
        coded = CodedViews(views=views, labels=labels)
        wanted = [name + CODES for name in labels]
        votes = self._registration.tables(gaussians, coded, wanted, rasterizer, progress)
        learnt = {name: level for name, level in labels.items() if len(level.codebook)}
        learner = SparseLearner(
            gaussians,
            {name: voted_logits(votes[name + CODES], len(level.codebook)) for name, level in learnt.items()},
            {name: level.codebook.entries for name, level in learnt.items()},
            {name: level.table.features for name, level in learnt.items()},
            kept=self.slots,
            learning_rate=self.learning_rate,
            batch_px=self.batch_px,
            generator=generator,
        )
        course = self._training.follow(
            learner, lambda view: learner.step(view, rasterizer), views, checkpoint, progress
        )
        found, confidence, languages, made = {}, {}, {}, {}
        for name in labels:
            is_labelled = self._registration.resolve(votes[name + CODES])[0] != NONE
            found[name] = torch.full((len(gaussians),), NONE, dtype=torch.int32)
            confidence[name] = torch.zeros(len(gaussians), dtype=torch.uint8)
            if name in learnt:
                share, entry = (tensor.detach().cpu() for tensor in learner.coefficients(name))
                found[name], confidence[name] = self._strongest(share, entry, is_labelled)
                languages[name] = SparseCodes.of(torch.where(is_labelled[:, None], entry, NONE), share)
                made[name] = labels_of_entries(labels[name], learner.entries(name).detach().cpu())
        return Lifting(
            gaussians=gaussians,
            label_of_gaussian=found,
            confidence=confidence,
            labels=made,
            languages=languages,
            figures=course.figures("distill"),
        )

    def _strongest(self, share: Tensor, entry: Tensor, is_labelled: Tensor) -> tuple[Tensor, Tensor]:
        """The entry [N] int32 of the largest coefficient, -1 none, and that coefficient [N] uint8, 255 is all."""
        is_sure = is_labelled & (share[:, 0] >= self.min_confidence)
        confidence = (share[:, 0] * FULL_CONFIDENCE).round().clamp_min(1)
        label = torch.where(is_sure, entry[:, 0], NONE).to(torch.int32)
        return label, torch.where(is_sure, confidence, 0.0).to(torch.uint8)


def voted_logits(table: VoteTable, count: int) -> Tensor:
    """Logits [N, K] whose softmax is how the votes of each Gaussian are shared by K codes, but for a small rest."""
    has_vote = table.track != NONE
    share = torch.zeros(len(table.track), count)
    share.scatter_add_(1, torch.where(has_vote, table.track, 0).long(), torch.where(has_vote, table.weight, 0.0))
    share /= share.sum(dim=1, keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)
    return ((1.0 - UNSEEN_SHARE) * share + UNSEEN_SHARE / count).log()


def labels_of_entries(level: LevelLabels, entries: Tensor) -> LevelLabels:
    """Labels that are the entries [K, D] of a codebook: each segment has that of its nearest, and no track."""
    codebook = Codebook(entries=entries, weight=torch.zeros(len(entries)))
    label = codebook.assign(level.table.features)
    weight = torch.bincount(label, weights=level.table.weight.double(), minlength=len(entries)).float()
    return replace(
        level,
        label_of_row=label,
        track_of_label=torch.full((len(entries),), NONE),
        code_of_label=torch.arange(len(entries)),
        codebook=replace(codebook, weight=weight),
    )
