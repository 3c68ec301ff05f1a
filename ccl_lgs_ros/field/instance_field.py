# SPDX-License-Identifier: Apache-2.0
"""An instance field: things found in 3D by features that only single masks taught, and named by the masks they fit."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.field.course import Course, Training
from ccl_lgs_ros.field.instance_language import Instances, instance_language
from ccl_lgs_ros.field.instance_learning import InstanceLearner, Schedule
from ccl_lgs_ros.field.registration import FULL_CONFIDENCE, RegistrationLifter
from ccl_lgs_ros.field.track_vote import voted_instances
from ccl_lgs_ros.labelling import LabelledViews, LevelLabels, Lifting
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, VoteTable

CODEBOOK_SHARE = 4  # the features take so many times the steps of either codebook


class InstanceFieldLifter:
    """Trains a feature per Gaussian with the masks of single views, clusters Gaussians twice, and names the clusters.

    Its labels are its own: one per instance, with a codebook entry each that no fitter compressed. Tracks of segments
    teach it nothing; they have a say only where `track_vote` asks for it.

    Differs from the paper: geometry is given and stays; clusters are as many as the data ask for unless told, and those
    that touch and differ less than one mask does are joined; codes are held to the features as they are drawn, not to
    the mean of each mask; Gaussians that views mostly show without a mask are of no instance.

    Args:
        slots, min_labelled: of the votes that tell which Gaussians masks show, as in RegistrationLifter.
        min_confidence: share of those votes that a track must have for `track_vote`.
        channels: per Gaussian and level; 6 in the paper.
        iterations: steps that train features, each on one view; each codebook takes a quarter as many besides.
        learning_rate: of features.
        coarse_clusters, fine_clusters: over features and places, and inside each over features; 0 = from the data.
        track_vote: split and join instances by tracks.
        checkpoint_every: steps between checkpoints; 0 = none.

    Source: OpenGaussian (Wu et al., NeurIPS 2024, arXiv 2406.02058).
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
        coarse_clusters: int,
        fine_clusters: int,
        track_vote: bool,
        checkpoint_every: int,
    ) -> None:
        self._registration = RegistrationLifter(slots=slots, min_confidence=min_confidence, min_labelled=min_labelled)
        self._schedule = Schedule(features=iterations, codebook=iterations // CODEBOOK_SHARE)
        self.channels, self.learning_rate = channels, learning_rate
        self.clusters = (coarse_clusters, fine_clusters)
        self._training = Training(iterations=self._schedule.total, patience=0, checkpoint_every=checkpoint_every)
        self.track_vote = track_vote

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
        """The instance of each Gaussian at every level, with labels and codes that are those of instances."""
        seen = self._registration.tables(gaussians, views, labels, rasterizer, progress)
        shown = {name: level for name, level in labels.items() if len(level.table) and bool(_shown(seen[name]).any())}
        course, made = Course(), {}
        if shown:
            is_seen = torch.stack([_shown(seen[name]) for name in shown]).any(dim=0)
            learner = InstanceLearner(
                gaussians,
                is_seen,
                list(shown),
                channels=self.channels,
                learning_rate=self.learning_rate,
                schedule=self._schedule,
                clusters=self.clusters,
                generator=generator,
            )
            course = self._training.follow(
                learner, lambda view: learner.step(view, rasterizer), views, checkpoint, progress
            )
            learner.finish()
            made = {
                name: self._named(name, level, learner, seen[name], gaussians, views, rasterizer, progress)
                for name, level in shown.items()
            }
        nothing = torch.full((len(gaussians),), NONE, dtype=torch.int32), torch.zeros(len(gaussians), dtype=torch.uint8)
        return Lifting(
            gaussians=gaussians,
            label_of_gaussian={name: made[name][0] if name in made else nothing[0] for name in labels},
            confidence={name: made[name][1] if name in made else nothing[1] for name in labels},
            labels={name: own for name, (_, _, own) in made.items()},
            figures={
                "field_steps": course.step,
                "field_loss": course.loss,
                "instances": sum(len(own.codebook) for _, _, own in made.values()),
            },
        )

    def _named(
        self,
        name: str,
        level: LevelLabels,
        learner: InstanceLearner,
        seen: VoteTable,
        gaussians: Gaussians,
        views: LabelledViews,
        rasterizer: Rasterizer,
        progress: Progress,
    ) -> tuple[Tensor, Tensor, LevelLabels]:
        """The instance and its confidence of each Gaussian at a level, and the labels that instances are."""
        leaf = torch.where(self._is_labelled(seen), learner.leaves(name), NONE)
        if self.track_vote:
            label, _ = self._registration.resolve(seen)
            track = torch.cat([level.track_of_label, torch.tensor([NONE])])[label.long()]
            leaf = voted_instances(leaf, track)
        features = learner.features(name).cpu()
        instances = Instances.of(leaf, features)
        found = instance_language(
            gaussians,
            instances,
            views,
            name,
            level.table,
            rasterizer,
            lambda done, total: progress("associate instances", done, total),
        )
        is_named = found.weight > 0
        named = torch.where(is_named, is_named.cumsum(0) - 1, NONE)
        label = torch.cat([named, torch.tensor([NONE])])[instances.of_gaussian]
        nearness = 1.0 - (features - instances.painted()).abs().mean(dim=1)
        confidence = (nearness.clamp(0.0, 1.0) * FULL_CONFIDENCE).round().clamp_min(1)
        own = LevelLabels(
            table=level.table,
            label_of_row=torch.cat([named, torch.tensor([NONE])])[found.instance_of_row],
            track_of_label=torch.full((int(is_named.sum()),), NONE),
            code_of_label=torch.arange(int(is_named.sum())),
            codebook=Codebook(entries=found.entries[is_named], weight=found.weight[is_named]),
        )
        return label.int(), torch.where(label == NONE, 0, confidence).to(torch.uint8), own

    def _is_labelled(self, seen: VoteTable) -> Tensor:
        """Whether enough of what was seen of each Gaussian [N] lay in masks."""
        voted = seen.weight.sum(dim=1) + seen.lost
        return (voted > 0) & (voted >= self._registration.min_labelled * seen.visibility)


def _shown(seen: VoteTable) -> Tensor:
    """Whether any view shows some of each Gaussian [N] in a mask."""
    return seen.track[:, 0] != NONE
