# SPDX-License-Identifier: Apache-2.0
"""Identity encoding: every Gaussian learns which track it belongs to, from the views and from its neighbours."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.field.coded import labels_of_codes
from ccl_lgs_ros.field.course import Training
from ccl_lgs_ros.field.decoded_votes import decoded_votes
from ccl_lgs_ros.field.decoder import DECODED_AT_ONCE
from ccl_lgs_ros.field.identity_learning import IdentityLearner
from ccl_lgs_ros.field.registration import FULL_CONFIDENCE, RegistrationLifter
from ccl_lgs_ros.field.trained import Score
from ccl_lgs_ros.labelling import LabelledView, LabelledViews, LevelLabels, Lifting, painted
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians, VoteTable


class IdentityEncodingLifter:
    """Trains an identity per Gaussian and level, and a linear classifier per level, with cross-entropy on tracks.

    Every so many steps some Gaussians are drawn, and what they are classified as is held to what their nearest
    neighbours are: so also those that views hardly show, within things and behind others, learn what they are part of.

    Differs from the paper: tracks come from our association, not from a video model; geometry is given, not trained
    beside; pixels without a track and those that the map hardly covers are left out, where the paper has a class for
    them; a Gaussian is no neighbour of itself, as it is in the paper's code; `decode` may be "votes".

    Args:
        slots, min_labelled: of the votes, as in RegistrationLifter.
        min_confidence: probability of its class under which a Gaussian has no track.
        channels: of an identity.
        iterations: steps, each on one view; every view once before any comes again.
        learning_rate: of identities.
        batch_px: pixels per level that a step classifies; 0 = all.
        neighbours, neighbour_weight, neighbour_sample: of the 3D regularisation.
        decode: "gaussians" classifies each Gaussian by its own identity, as the paper does; "votes" lets the
            classified views vote.
        patience: checks without better accuracy on held-out pixels after which it stops; 0 = never.
        checkpoint_every: steps between checkpoints; 0 = none.

    Source: Gaussian Grouping (Ye et al., 2024).
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
        neighbours: int,
        neighbour_weight: float,
        neighbour_sample: int,
        decode: str,
        patience: int,
        checkpoint_every: int,
    ) -> None:
        self._registration = RegistrationLifter(slots=slots, min_confidence=min_confidence, min_labelled=min_labelled)
        self._training = Training(iterations=iterations, patience=patience, checkpoint_every=checkpoint_every)
        self.channels, self.learning_rate, self.batch_px, self.decode = channels, learning_rate, batch_px, decode
        self.neighbours, self.neighbour_weight = neighbours, neighbour_weight
        self.neighbour_sample = neighbour_sample
        self.min_confidence, self.min_labelled = min_confidence, min_labelled

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
        """The label of each Gaussian at every level, with how well its identity was learnt."""
        classes = {name: classes_of(level) for name, level in labels.items() if len(level.code_of_label)}
        learner = self._learner(gaussians, classes, generator)

        def step(view: LabelledView) -> Score:
            maps = {name: painted(view.labels[name], of_label) for name, of_label in classes.items()}
            return learner.step(view, maps, rasterizer)

        course = self._training.follow(learner, step, views, checkpoint, progress)
        seen = self._registration.tables(gaussians, views, labels, rasterizer, progress)
        if self.decode == "gaussians":
            answers = {name: self._alone(learner, name) for name in classes if len(views)}
        else:
            identities = {name: learner.identities(name) for name in classes}
            tables = decoded_votes(
                self._registration, gaussians, identities, learner.classes, views, rasterizer, progress
            )
            answers = {name: self._registration.resolve(table) for name, table in tables.items()}
        found, confidence = {}, {}
        for name, table in seen.items():
            found[name], confidence[name] = self._labelled(table, classes.get(name), answers.get(name))
        return Lifting(
            gaussians=gaussians, label_of_gaussian=found, confidence=confidence, figures=course.figures("identity")
        )

    def _learner(
        self, gaussians: Gaussians, classes: Mapping[str, Tensor], generator: torch.Generator
    ) -> IdentityLearner:
        return IdentityLearner(
            gaussians,
            {name: int(of_label.max()) + 1 for name, of_label in classes.items()},
            channels=self.channels,
            learning_rate=self.learning_rate,
            batch_px=self.batch_px,
            neighbours=self.neighbours,
            neighbour_weight=self.neighbour_weight,
            neighbour_sample=self.neighbour_sample,
            generator=generator,
        )

    def _labelled(
        self, seen: VoteTable, class_of_label: Tensor | None, answer: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """The label [N] and confidence [N] of Gaussians that were classified; -1 and 0 for those of which views show
        mostly what has no track. What no view shows has what its neighbours taught it."""
        count = len(seen.lost)
        if class_of_label is None or answer is None:
            return torch.full((count,), NONE, dtype=torch.int32), torch.zeros(count, dtype=torch.uint8)
        is_known = seen.weight.sum(dim=1) + seen.lost >= self.min_labelled * seen.visibility
        found = labels_of_codes(torch.where(is_known, answer[0], NONE), seen, class_of_label)
        return found, torch.where(found == NONE, 0, answer[1]).to(torch.uint8)

    @torch.no_grad()
    def _alone(self, learner: IdentityLearner, level: str) -> tuple[Tensor, Tensor]:
        """The class [N] of each Gaussian by its own identity, -1 where none is likely enough, with its probability [N]
        of 255."""
        parts = learner.identities(level).split(DECODED_AT_ONCE)
        best = [learner.evidence(level, part).softmax(dim=1).max(dim=1) for part in parts]
        which, sure = torch.cat([part.indices for part in best]).cpu(), torch.cat([part.values for part in best]).cpu()
        return torch.where(sure >= self.min_confidence, which, NONE), (sure * FULL_CONFIDENCE).round().clamp_min(1)


def classes_of(level: LevelLabels) -> Tensor:
    """The class [L] of each label, numbered without gaps: its track; a label without one is a class of its own."""
    track = level.track_of_label
    own = int(track.max()) + 1 + torch.arange(len(track)) if len(track) else track
    return torch.unique(torch.where(track == NONE, own, track), return_inverse=True)[1]
