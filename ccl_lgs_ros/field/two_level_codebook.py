# SPDX-License-Identifier: Apache-2.0
"""A codebook of two levels over Gaussians: coarse clusters of feature and place, fine ones in each by feature alone.

Place keeps things apart that no view shows together, which nothing taught to differ; within a cluster the feature does.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST = (
    64,
    10,
)  # clusters, coarse and fine in each, where the data choose: OpenGaussian has so many in larger scenes
LEFT = (
    0.5,
    0.1,
)  # of the spread of features in one mask, what coarse and fine clusters may leave where the data choose
ROUNDS = 10  # of Lloyd's iteration from scratch
FITTED_AT_MOST = 4096  # rows that clusters are fitted to from scratch; all rows are assigned
ASSIGNED_AT_ONCE = 16384  # rows; bounds memory
SIZES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64)  # that are tried where the data choose


def places(means: Tensor) -> Tensor:
    """Coordinates [N, 3] scaled so that nine tenths of the map along its longest axis take a length of one."""
    if len(means) == 0:
        return means
    low, high = means.quantile(0.05, dim=0), means.quantile(0.95, dim=0)
    extent = (high - low).max().clamp_min(torch.finfo(means.dtype).tiny)
    return ((means - (low + high) / 2.0) / extent).clamp(-1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clusters:
    """Which cluster each row is in."""

    of_row: Tensor  # [n] int64
    count: int

    def centres(self, rows: Tensor) -> Tensor:
        """The mean row [k, C] of each cluster; zeros for one without rows."""
        sums = rows.new_zeros(self.count, rows.shape[1]).index_add(0, self.of_row, rows)
        size = torch.bincount(self.of_row, minlength=self.count).to(rows)
        return sums / size.clamp_min(1.0)[:, None]

    def settled(self, rows: Tensor) -> "Clusters":
        """One more round of Lloyd's iteration; a cluster that had no rows stays without."""
        centres = self.centres(rows)
        is_empty = torch.bincount(self.of_row, minlength=self.count) == 0
        centres = torch.where(is_empty[:, None], torch.inf, centres)
        return Clusters(of_row=nearest(rows, centres), count=self.count)


def nearest(rows: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre [n] of each row; centres [k, C] that are infinite are nobody's."""
    finite = centres.isfinite().all(dim=1)
    known, number = centres[finite], torch.nonzero(finite)[:, 0]
    return torch.cat([number[torch.cdist(part, known).argmin(dim=1)] for part in rows.split(ASSIGNED_AT_ONCE)])


def clustered(rows: Tensor, count: int, generator: torch.Generator) -> Clusters:
    """At most `count` clusters of rows [n, C], n > 0, by Lloyd's iteration begun as k-means++."""
    drawn = rows
    if len(rows) > FITTED_AT_MOST:
        drawn = rows[torch.randperm(len(rows), generator=generator)[:FITTED_AT_MOST].sort().values]
    centres = _spread(drawn, count, generator)
    for _ in range(ROUNDS):
        clusters = Clusters(of_row=nearest(drawn, centres), count=len(centres))
        is_empty = torch.bincount(clusters.of_row, minlength=len(centres)) == 0
        centres = torch.where(is_empty[:, None], centres, clusters.centres(drawn))
    return Clusters(of_row=nearest(rows, centres), count=len(centres))


def chosen(rows: Tensor, channels: int, largest: int, left: float, generator: torch.Generator) -> Clusters:
    """The fewest clusters of rows [n, C], of the SIZES up to `largest`, that leave so little unexplained.

    Args:
        channels: the first of each row, which are to be explained.
        left: squared distance of a row's channels to those of its cluster's centre, on average, that may remain.
    """
    found = clustered(rows, 1, generator)
    for size in (size for size in SIZES if 1 < size <= largest):
        if _remainder(rows[:, :channels], found) <= left:
            break
        found = clustered(rows, size, generator)
    return found


def coarse_clusters(features: Tensor, place: Tensor, count: int, spread: float, generator: torch.Generator) -> Clusters:
    """Clusters of features [n, C] joined with places [n, 3]; as many as the data ask for where `count` is 0.

    Args:
        spread: squared distance of a pixel's feature to the mean of its mask, on average.
    """
    rows = torch.cat([features, place], dim=1)
    if count:
        return clustered(rows, count, generator)
    return chosen(rows, features.shape[1], LARGEST[0], LEFT[0] * spread, generator)


def fine_clusters(
    features: Tensor, coarse: Clusters, count: int, spread: float, generator: torch.Generator
) -> Clusters:
    """Clusters of features [n, C] inside each coarse one, numbered without gaps over all of them."""
    of_row, total = torch.zeros_like(coarse.of_row), 0
    for cluster in range(coarse.count):
        member = torch.nonzero(coarse.of_row == cluster)[:, 0]
        if len(member) == 0:
            continue
        rows = features[member]
        if count:
            found = clustered(rows, count, generator)
        else:
            found = chosen(rows, rows.shape[1], LARGEST[1], LEFT[1] * spread, generator)
        of_row[member] = found.of_row + total
        total += found.count
    return Clusters(of_row=of_row, count=total)


def settled_within(features: Tensor, fine: Clusters, coarse: Clusters) -> Clusters:
    """One more round of Lloyd's iteration in which no row leaves its coarse cluster."""
    of_row, parent = fine.of_row.clone(), torch.zeros(fine.count, dtype=torch.int64)
    parent[fine.of_row] = coarse.of_row
    is_used = torch.bincount(fine.of_row, minlength=fine.count) > 0
    centres = fine.centres(features)
    for cluster in range(coarse.count):
        member = torch.nonzero(coarse.of_row == cluster)[:, 0]
        if len(member):
            own = torch.nonzero(is_used & (parent == cluster))[:, 0]
            of_row[member] = own[nearest(features[member], centres[own])]
    return Clusters(of_row=of_row, count=fine.count)


def _spread(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """At most `count` rows, each drawn by its squared distance to those before; fewer where rows repeat.

    Source: Arthur and Vassilvitskii, 2007, "k-means++", section 2.2.
    """
    first = int(torch.randint(len(rows), (1,), generator=generator))
    centres, squared = [rows[first]], (rows - rows[first]).square().sum(dim=1).double()
    while len(centres) < count:
        chance = squared.cumsum(0)
        if float(chance[-1]) <= 0:
            break
        at = torch.rand(1, generator=generator, dtype=torch.float64) * chance[-1]
        row = rows[int(torch.searchsorted(chance, at, right=True).clamp_max(len(rows) - 1))]
        centres.append(row)
        squared = torch.minimum(squared, (rows - row).square().sum(dim=1).double())
    return torch.stack(centres)


def _remainder(rows: Tensor, clusters: Clusters) -> float:
    """The mean squared distance of rows [n, C] to the centres of their clusters."""
    return float((rows - clusters.centres(rows)[clusters.of_row]).square().sum(dim=1).mean())
