# SPDX-License-Identifier: Apache-2.0
"""How an instance field is learnt: features from the masks of single views, then two levels of clusters from them.

A feature is drawn as its direction, moved into the unit cube: (direction + 1) / 2, as colours are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.field.decoder import MIN_ALPHA
from ccl_lgs_ros.field.instance_losses import contrastive_loss, mask_means, pseudo_feature_loss, smoothing_loss
from ccl_lgs_ros.field.joined_clusters import joined
from ccl_lgs_ros.field.trained import Score, Trained
from ccl_lgs_ros.field.two_level_codebook import (
    Clusters,
    coarse_clusters,
    fine_clusters,
    places,
    settled_within,
)
from ccl_lgs_ros.labelling import LabelledView
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians

SMOOTHING_WEIGHT = 0.1  # of L_s beside L_c, as in the code of OpenGaussian
SOFTENING = 1.0  # of L_c, as in the code of OpenGaussian: what is as far apart as this is far enough
START_SPREAD = 0.1  # of features around one start: what hardly any view shows stays between things, and is no noise
REMEMBERED = 0.98  # of what earlier steps say of the spread of features in a mask, at each step
CLUSTERED_EVERY = 50  # steps after which Gaussians may change their cluster, as in the code of OpenGaussian


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How many steps each part of the training takes."""

    features: int
    codebook: int  # of the coarse one, and again of the fine one

    @property
    def total(self) -> int:
        return self.features + 2 * self.codebook


class InstanceLearner(Trained):
    """Holds the features of some levels and, once they are learnt, their clusters.

    Args:
        gaussians: what carries the features; never changed.
        is_seen: [N] bool, the Gaussians that any view shows; only these are clustered.
        levels: whose masks are learnt from.
        channels: C, per level.
        learning_rate: of features.
        clusters: how many coarse ones, and fine ones in each; 0 = as many as the data ask for.
        generator: draws the start, and the clusters.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        is_seen: Tensor,
        levels: Sequence[str],
        *,
        channels: int,
        learning_rate: float,
        schedule: Schedule,
        clusters: tuple[int, int],
        generator: torch.Generator,
    ) -> None:
        self._gaussians, self._seen = gaussians.detached(), torch.nonzero(is_seen)[:, 0]
        self._place = places(self._gaussians.means)[self._seen]
        self._channels, self._schedule, self._clusters = channels, schedule, clusters
        start = {name: (first_features(len(gaussians), channels, generator), learning_rate) for name in levels}
        super().__init__(start, gaussians.means.device, generator)
        self._pseudo: dict[str, Tensor] = {}  # the features as they were learnt
        self._coarse: dict[str, Clusters] = {}
        self._fine: dict[str, Clusters] = {}
        self._spread = dict.fromkeys(levels, 0.0)  # squared, of features around the mean of their mask

    def features(self, level: str) -> Tensor:
        """The features [N, C] as they are drawn, in the unit cube."""
        return (normalize(self.now[level].detach(), dim=1) + 1.0) / 2.0

    def leaves(self, level: str) -> Tensor:
        """The fine cluster [N] of each Gaussian, -1 for those that no view shows.

        Where the data choose how many there are, those that touch and differ less than a mask does are one.
        """
        leaves = self._fine[level]
        if 0 in self._clusters:
            means = self._gaussians.means.cpu()[self._seen]
            leaves = joined(leaves, self._pseudo[level][self._seen].cpu(), means, self._spread[level])
        found = torch.full((len(self._gaussians),), NONE)
        found[self._seen] = leaves.of_row
        return found

    def step(self, view: LabelledView, rasterizer: Rasterizer) -> Score:
        """Learn from a view: from its masks first, later from what clusters change in it."""
        self._begin_stage()
        learnt = {name: (normalize(values, dim=1) + 1.0) / 2.0 for name, values in self.now.items()}
        losses = self._code_losses if self._coarse else self._mask_losses
        self.steps["views"] += 1
        return Score(loss=self.descend(losses(learnt, view, rasterizer)), correct=0, total=0)

    def finish(self) -> None:
        """Cluster what was learnt, if the last step did not; afterwards there are leaves."""
        self._begin_stage()
        if not self._fine:
            self._begin_coarse()
            self._begin_fine()

    def tensors(self) -> dict[str, Tensor]:
        kept = super().tensors()
        kept["spread"] = torch.tensor(list(self._spread.values()), dtype=torch.float64)
        kept.update({f"pseudo.{name}": tensor for name, tensor in self._pseudo.items()})
        for kind, levels in (("coarse", self._coarse), ("fine", self._fine)):
            for name, clusters in levels.items():
                kept[f"{kind}.{name}"] = torch.cat([clusters.of_row, torch.tensor([clusters.count])])
        return kept

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        super().restore(kept)
        self._spread = dict(zip(self._spread, kept["spread"].tolist(), strict=True))
        for name in self.now:
            if f"pseudo.{name}" in kept:
                self._pseudo[name] = kept[f"pseudo.{name}"]
            for kind, levels in (("coarse", self._coarse), ("fine", self._fine)):
                if (row := kept.get(f"{kind}.{name}")) is not None:
                    levels[name] = Clusters(of_row=row[:-1], count=int(row[-1]))

    def _mask_losses(self, learnt: Mapping[str, Tensor], view: LabelledView, rasterizer: Rasterizer) -> list[Tensor]:
        """What the masks of a view say of its features: L_s and L_c."""
        drawn, alpha = self._drawn(torch.cat(list(learnt.values()), dim=1), view, rasterizer)
        losses = []
        for name, blended in zip(learnt, drawn.split(self._channels, dim=1), strict=True):
            row = view.rows[name].to(alpha.device).flatten().long()
            used = torch.nonzero((row != NONE) & (alpha > MIN_ALPHA))[:, 0]
            masks, mask = torch.unique(row[used], return_inverse=True)
            pixels = blended.index_select(0, used)
            means = mask_means(pixels, mask, len(masks))
            smoothing = smoothing_loss(pixels, mask, means)
            self._spread[name] += (1.0 - REMEMBERED) * (float(smoothing.detach()) - self._spread[name])
            losses.append(contrastive_loss(means, SOFTENING) + SMOOTHING_WEIGHT * smoothing)
        return losses

    def _code_losses(self, learnt: Mapping[str, Tensor], view: LabelledView, rasterizer: Rasterizer) -> list[Tensor]:
        """How much clusters change what is seen: L_p. The gradient goes past the quantising to each feature itself."""
        quantised = [values + (self._quantised(name, values) - values).detach() for name, values in learnt.items()]
        both = torch.cat([*quantised, *(self._pseudo[name] for name in learnt)], dim=1)
        drawn, alpha = self._drawn(both, view, rasterizer)
        codes, pseudo = drawn[alpha > MIN_ALPHA].chunk(2, dim=1)
        return [pseudo_feature_loss(pseudo.detach(), codes) * len(learnt)]

    def _drawn(self, features: Tensor, view: LabelledView, rasterizer: Rasterizer) -> tuple[Tensor, Tensor]:
        """The pixels [P, C] and their alpha [P] of a view."""
        rendering = rasterizer.render(self._gaussians, view.keyframe.camera, view.pose, features)
        return rendering.features.flatten(0, 1), rendering.alpha.detach().flatten()

    def _quantised(self, level: str, values: Tensor) -> Tensor:
        """The features [N, C] with those of each cluster made one."""
        clusters = (self._fine or self._coarse)[level]
        rows = values.detach()[self._seen]
        return values.detach().index_copy(0, self._seen, clusters.centres(rows)[clusters.of_row])

    def _begin_stage(self) -> None:
        """Clusters as this step needs them."""
        step, first = self.steps["views"], self._schedule.features
        second = first + self._schedule.codebook
        if step >= first and not self._coarse:
            self._begin_coarse()
        elif step >= second and not self._fine:
            self._begin_fine()
        elif self._coarse and (step - first) % CLUSTERED_EVERY == 0:
            self._cluster_again()

    def _begin_coarse(self) -> None:
        for name in self.now:
            self._pseudo[name] = self.features(name)
            rows = self._pseudo[name][self._seen]
            self._coarse[name] = coarse_clusters(
                rows, self._place, self._clusters[0], self._spread[name], self.generator
            )

    def _begin_fine(self) -> None:
        for name in self.now:
            rows = self.features(name)[self._seen]
            self._fine[name] = fine_clusters(
                rows, self._coarse[name], self._clusters[1], self._spread[name], self.generator
            )

    def _cluster_again(self) -> None:
        for name in self.now:
            rows = self.features(name)[self._seen]
            if self._fine:
                self._fine[name] = settled_within(rows, self._fine[name], self._coarse[name])
            else:
                self._coarse[name] = self._coarse[name].settled(torch.cat([rows, self._place], dim=1))


def first_features(count: int, channels: int, generator: torch.Generator) -> Tensor:
    """Features [N, C] before anything is learnt."""
    middle = torch.randn(1, channels, generator=generator)
    return middle + START_SPREAD * torch.randn(count, channels, generator=generator)
