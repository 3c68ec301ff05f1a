# SPDX-License-Identifier: Apache-2.0
"""Distillation: features learnt until every view, blended and decoded, names the codes of its pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.field.coded import labels_of_codes
from ccl_lgs_ros.field.decoder import decoded_codes, most_likely
from ccl_lgs_ros.field.learning import FieldLearner, Score
from ccl_lgs_ros.field.registration import FULL_CONFIDENCE, RegistrationLifter
from ccl_lgs_ros.labelling import LabelledViews, LevelLabels, Lifting, painted
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians, SemanticField, VoteTable

CHECK_EVERY = 100  # steps over which accuracy is taken
MIN_GAIN = 1e-3  # of accuracy; less is no progress


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
        self.channels, self.iterations, self.learning_rate = channels, iterations, learning_rate
        self.batch_px, self.joint, self.decode = batch_px, joint, decode
        self.patience, self.checkpoint_every = patience, checkpoint_every

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
        learner = FieldLearner(
            gaussians,
            {name: len(level.codebook) for name, level in coded.items()},
            channels=self.channels,
            learning_rate=self.learning_rate,
            batch_px=self.batch_px,
            joint=self.joint,
            generator=generator,
        )
        course = _Course()
        if coded and len(views) and len(gaussians):
            self._train(learner, course, views, coded, rasterizer, generator, checkpoint, progress)
        trained, semantics = learner.gaussians, learner.field
        seen = self._registration.tables(trained, views, labels, rasterizer, progress)
        if self.decode == "gaussians":
            codes = {name: _alone(semantics, name, seen[name]) for name in coded}
        else:
            tables = self._decoded_votes(trained, semantics, views, rasterizer, progress)
            codes = {name: self._registration.resolve(tables[name]) for name in coded}
        found, confidence = {}, {}
        for name, level in labels.items():
            code, sure = codes.get(name, (torch.full((len(gaussians),), NONE), torch.zeros(len(gaussians))))
            found[name] = labels_of_codes(code, seen[name], level.code_of_label)
            confidence[name] = torch.where(found[name] == NONE, 0, sure).to(torch.uint8)
        return Lifting(
            gaussians=trained,
            label_of_gaussian=found,
            confidence=confidence,
            field=semantics,
            figures={"distill_steps": course.step, "distill_loss": course.loss, "distill_accuracy": course.accuracy},
        )

    def _train(
        self,
        learner: FieldLearner,
        course: "_Course",
        views: LabelledViews,
        labels: Mapping[str, LevelLabels],
        rasterizer: Rasterizer,
        generator: torch.Generator,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> None:
        """All steps that are left, from the checkpoint on if there is one."""

        def save() -> None:
            if self.checkpoint_every:
                checkpoint.save({**learner.tensors(), **course.tensors()})

        kept = checkpoint.load() if self.checkpoint_every else {}
        if kept:
            learner.restore(kept)
            course.restore(kept)
        while course.step < self.iterations and not course.is_stale(self.patience):
            view = views[course.next_view(len(views), generator)]
            codes = {name: painted(view.labels[name], level.code_of_label) for name, level in labels.items()}
            course.add(learner.step(view, codes, rasterizer))
            if self.checkpoint_every and course.step % self.checkpoint_every == 0:
                save()
            try:
                progress("distill", course.step, self.iterations, loss=course.last_loss)
            except Cancelled:
                save()
                raise
        save()

    def _decoded_votes(
        self,
        gaussians: Gaussians,
        semantics: SemanticField,
        views: LabelledViews,
        rasterizer: Rasterizer,
        progress: Progress,
    ) -> dict[str, VoteTable]:
        """The votes of all views, decoded, for codes, by level."""
        tables = {name: VoteTable.empty(len(gaussians), self._registration.slots) for name in semantics.features}
        for index in range(len(views) if tables else 0):
            view = views[index]
            camera, pose = view.keyframe.camera, view.pose
            with torch.no_grad():
                drawn = rasterizer.render(gaussians, camera, pose, torch.cat([*semantics.features.values()], dim=1))
            for name, blended in zip(tables, drawn.features.split(self.channels, dim=2), strict=True):
                codes = decoded_codes(semantics, name, blended, drawn.alpha)
                votes = rasterizer.vote(gaussians, camera, pose, codes)
                tables[name] = self._registration.accumulate(tables[name], votes)
            progress("decode", index + 1, len(views))
        return tables


def _alone(semantics: SemanticField, level: str, seen: VoteTable) -> tuple[Tensor, Tensor]:
    """The code [N] of each Gaussian decoded by itself, with its probability [N] of 255; -1 where none was seen."""
    code, probability = most_likely(semantics.decoders[level], semantics.features[level])
    code, probability = code.to(seen.visibility.device), probability.to(seen.visibility.device)
    return torch.where(seen.visibility > 0, code, NONE), (probability * FULL_CONFIDENCE).round().clamp_min(1)


@dataclass(slots=True)
class _Course:
    """How far a training has come: its steps, the views still to come in this round, and its figures."""

    step: int = 0
    loss: float = 0.0  # mean over the last CHECK_EVERY steps
    accuracy: float = 0.0  # on held-out pixels, likewise
    last_loss: float = 0.0
    best: float = 0.0
    checks_without_gain: int = 0
    waiting: list[int] = field(default_factory=list)
    window: list[Score] = field(default_factory=list)

    def next_view(self, count: int, generator: torch.Generator) -> int:
        if not self.waiting:
            self.waiting = torch.randperm(count, generator=generator).tolist()
        return self.waiting.pop()

    def add(self, score: Score) -> None:
        self.step += 1
        self.last_loss = score.loss
        self.window.append(score)
        is_check = self.step % CHECK_EVERY == 0
        if is_check or self.step < CHECK_EVERY:
            self.loss = sum(s.loss for s in self.window) / len(self.window)
            self.accuracy = sum(s.correct for s in self.window) / max(sum(s.total for s in self.window), 1)
        if is_check:
            self.window = []
            has_gained = self.accuracy >= self.best + MIN_GAIN
            self.checks_without_gain = 0 if has_gained else self.checks_without_gain + 1
            self.best = max(self.best, self.accuracy)

    def is_stale(self, patience: int) -> bool:
        return patience > 0 and self.checks_without_gain >= patience

    def tensors(self) -> dict[str, Tensor]:
        numbers = [self.step, self.loss, self.accuracy, self.last_loss, self.best, self.checks_without_gain]
        window = [[s.loss, s.correct, s.total] for s in self.window]
        return {
            "course": torch.tensor(numbers, dtype=torch.float64),
            "waiting": torch.tensor(self.waiting, dtype=torch.int64),
            "window": torch.tensor(window, dtype=torch.float64).view(-1, 3),
        }

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        step, self.loss, self.accuracy, self.last_loss, self.best, checks = kept["course"].tolist()
        self.step, self.checks_without_gain, self.waiting = int(step), int(checks), kept["waiting"].tolist()
        rows = kept["window"].tolist()
        self.window = [Score(loss=loss, correct=int(right), total=int(total)) for loss, right, total in rows]
