# SPDX-License-Identifier: Apache-2.0
"""How a training of features goes through the views: in rounds, checked for progress, kept for a run that is killed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.field.trained import Score, Trained
from ccl_lgs_ros.labelling import LabelledView, LabelledViews
from ccl_lgs_ros.protocols import Checkpoint, Progress

CHECK_EVERY = 100  # steps over which accuracy is taken
MIN_GAIN = 1e-3  # of accuracy; less is no progress


@dataclass(slots=True)
class Course:
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

    def figures(self, name: str) -> dict[str, float]:
        """What it says of itself, under names that begin with this one."""
        return {f"{name}_steps": self.step, f"{name}_loss": self.loss, f"{name}_accuracy": self.accuracy}

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How long a training goes on, and how often it is kept."""

    iterations: int  # steps in all; every view once before any comes again
    patience: int  # checks without better accuracy on held-out pixels after which it stops; 0 = never
    checkpoint_every: int  # steps; 0 = nothing is kept

    def follow(
        self,
        learner: Trained,
        step: Callable[[LabelledView], Score],
        views: LabelledViews,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Course:
        """Take all steps that are left, from the checkpoint on if there is one; none without views or what to train.

        Args:
            step: trains the learner on one view.
        """
        course = Course()
        if learner.is_empty or not len(views):
            return course
        if kept := self.kept(checkpoint):
            learner.restore(kept)
            if "course" in kept:
                course.restore(kept)

        def steps() -> Iterator[tuple[int, float]]:
            while course.step < self.iterations and not course.is_stale(self.patience):
                course.add(step(views[course.next_view(len(views), learner.generator)]))
                yield course.step, course.last_loss

        def reached() -> dict[str, Tensor]:
            return {**learner.tensors(), **course.tensors()}

        self.take("distill", steps(), self.iterations, reached, checkpoint, progress)
        return course

    def kept(self, checkpoint: Checkpoint) -> Mapping[str, Tensor]:
        """What a run before this one left; empty if nothing."""
        return checkpoint.load() if self.checkpoint_every else {}

    def take(
        self,
        stage: str,
        steps: Iterable[tuple[int, float]],
        total: int,
        reached: Callable[[], Mapping[str, Tensor]],
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> None:
        """Take steps, each of which gives its number and its loss, and save what is reached.

        It is saved when `progress` cancels, too.
        """

        def save() -> None:
            if self.checkpoint_every:
                checkpoint.save(reached())

        for step, loss in steps:
            if self.checkpoint_every and step % self.checkpoint_every == 0:
                save()
            try:
                progress(stage, step, total, loss=loss)
            except Cancelled:
                save()
                raise
        save()
