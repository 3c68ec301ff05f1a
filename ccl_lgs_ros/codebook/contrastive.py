# SPDX-License-Identifier: Apache-2.0
"""The contrastive codebook of CCL-LGS: entries near their features, one per track, apart from other tracks'."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.codebook.losses import assignment_loss, pair_counts, pull_loss, push_loss
from ccl_lgs_ros.codebook.ordering import own_order
from ccl_lgs_ros.codebook.seeding import distinct, plus_plus, revived, usage
from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.structures import NONE, Codebook

SEGMENTS_PER_TRACK = 4  # in a batch, so that there are pairs of one track; more where there are few tracks
RATE_END = 0.1  # of the learning rate, reached linearly at the last step, as in LEGaussians
REVIVE_EVERY = 50  # steps between looks for entries that nothing uses


class ContrastiveFitter:
    """Learns entries by gradient descent on L_max + w_pull L_pull + w_push L_push.

    The gradient goes through the entries, not through the choice of the nearest. Where the paper is silent: entries
    begin as k-means++ draws them; a batch holds as many untracked segments as is their share, at most half, and
    otherwise a few segments of each of many tracks, so that large tracks do not prevail; all pairs of a batch count;
    entries that nothing uses begin anew at the feature served worst, and have weight 0 if that did not help.

    Args:
        size: entries K at most; no more than there are distinct features.
        iterations: steps of Adam.
        learning_rate: of Adam, decaying to a tenth.
        batch: features in a step.
        pull_weight: weight of L_pull, 0.25 in the paper.
        push_weight: weight of L_push, 0.25 in the paper.
        margin: m of L_push, 0.7 in the paper.
        seed: of every draw.

    Source: CCL-LGS (Tian et al., 2025), contrastive codebook learning.
    """

    def __init__(
        self,
        *,
        size: int,
        iterations: int,
        learning_rate: float,
        batch: int,
        pull_weight: float,
        push_weight: float,
        margin: float,
        seed: int,
    ) -> None:
        self.size, self.iterations, self.learning_rate, self.batch = size, iterations, learning_rate, batch
        self.pull_weight, self.push_weight, self.margin, self.seed = pull_weight, push_weight, margin, seed

    def fit(
        self,
        features: Tensor,
        track_of_feature: Tensor,
        weight: Tensor,
        start: Codebook | None,
        progress: Progress = no_progress,
    ) -> Codebook:
        """A codebook for features [B, D] of tracks [B], -1 none; weights [B] draw its beginning and add up in it.

        Entries of `start` are where learning begins, and none of them is left out.
        """
        known = start if start is not None else Codebook.empty(features.shape[1])
        if len(features) == 0:
            return Codebook(entries=known.entries, weight=torch.zeros(len(known)))
        generator = torch.Generator().manual_seed(self.seed)
        data = distinct(features, weight)
        begin = plus_plus(data, known.entries, self.size, generator)
        order = own_order(features, track_of_feature, weight)
        entries = self._learnt(begin, features[order], track_of_feature[order], data.features, generator, progress)
        return Codebook(entries=entries, weight=usage(features, weight, entries))

    def _learnt(
        self,
        begin: Tensor,
        features: Tensor,
        track: Tensor,
        unique: Tensor,
        generator: torch.Generator,
        progress: Progress,
    ) -> Tensor:
        """Unit entries [K, D] after all steps."""
        entries = begin.clone().requires_grad_()
        adam = torch.optim.Adam([entries], lr=self.learning_rate)
        for step, rows in enumerate(batches(track, self.batch, self.iterations, generator)):
            for group in adam.param_groups:
                group["lr"] = self.learning_rate * (1.0 - (1.0 - RATE_END) * step / self.iterations)
            adam.zero_grad(set_to_none=True)
            self.loss(entries, features[rows], track[rows]).backward()
            adam.step()
            if (step + 1) % REVIVE_EVERY == 0 and step + 1 < self.iterations:
                _revive(entries, adam, unique)
            progress("codebook", step + 1, self.iterations)
        return normalize(entries.detach(), dim=1)

    def loss(self, entries: Tensor, features: Tensor, track: Tensor) -> Tensor:
        """L_max + w_pull L_pull + w_push L_push of a batch of unit features [B, D] of tracks [B]."""
        unit = normalize(entries, dim=1)
        with torch.no_grad():
            code = (features @ unit.T).argmax(dim=1)
        total = assignment_loss(features, unit, code)
        if self.pull_weight == 0 and self.push_weight == 0:
            return total
        cosine = unit @ unit.T
        same, different = pair_counts(code, track, len(entries))
        pulled, pushed = pull_loss(cosine, same), push_loss(cosine, different, self.margin)
        return total + self.pull_weight * pulled + self.push_weight * pushed


def batches(track: Tensor, size: int, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows [size] of each of `count` batches, drawn with equal chances for every track [B], -1 none.

    A batch has distinct tracks, and rows of a small track more than once.
    """
    alone = torch.nonzero(track == NONE)[:, 0]
    tracked = torch.nonzero(track != NONE)[:, 0]
    _, members = torch.unique(track[tracked], return_counts=True)
    tracked = tracked[track[tracked].argsort(stable=True)]
    first = (members.cumsum(0) - members).cpu()
    members = members.cpu()
    num_alone = min(round(size * len(alone) / max(len(track), 1)), size // 2) if len(members) else size
    num_tracked = size - num_alone
    num_tracks = max(1, min(len(members), num_tracked // SEGMENTS_PER_TRACK))
    for _ in range(count):
        draw = torch.rand(size, generator=generator, dtype=torch.float64)
        rows = [alone[(draw[:num_alone] * len(alone)).long().to(alone.device)]]
        if num_tracked:
            chosen = torch.randperm(len(members), generator=generator)[:num_tracks]
            chosen = chosen.repeat(num_tracked // num_tracks + 1)[:num_tracked]
            place = first[chosen] + (draw[num_alone:] * members[chosen]).long()
            rows.append(tracked[place.to(tracked.device)])
        yield torch.cat(rows)


def _revive(entries: Tensor, adam: torch.optim.Adam, features: Tensor) -> None:
    """Begins entries anew that no feature uses, in place, and forgets how they moved."""
    is_new, renewed = revived(features, normalize(entries.detach(), dim=1))
    if not bool(is_new.any()):
        return
    with torch.no_grad():
        entries[is_new] = renewed[is_new]
    for moment in ("exp_avg", "exp_avg_sq"):
        adam.state[entries][moment][is_new] = 0.0
