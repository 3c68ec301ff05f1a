# SPDX-License-Identifier: Apache-2.0
"""Merges neighbouring regions of an image, most similar first, until none are more alike than a limit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MEAN_WEIGHTS = np.array([0.5, 1.0, 1.0])  # lightness counts less in means, which shading moves, than across outlines
OUTLINE_WEIGHT = 0.65  # of the step across the common outline, against the difference of the regions' means
SMALL_FACTOR = 0.35  # a region below the least area merges at this share of its true cost


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Small regions of an image with what merging needs to know of them and of the outlines they share."""

    labels: NDArray[np.int64]  # [H, W]
    area: NDArray[np.float64]  # [R] pixels
    appearance: NDArray[np.float64]  # [R, C] mean
    pairs: NDArray[np.int64]  # [E, 2] neighbours, the smaller first
    length: NDArray[np.float64]  # [E] pixels of common outline
    step: NDArray[np.float64]  # [E, C] mean step across it, with its sign: second minus first
    barrier: NDArray[np.float64]  # [E] mean of the barrier along it

    @staticmethod
    def of(labels: NDArray, appearance: NDArray[np.float32], barrier: NDArray[np.float32]) -> "Partition":
        """The partition of an image [H, W, C] by a label map without gaps; `barrier` [H, W] adds to outlines."""
        labels = labels.astype(np.int64)
        count = int(labels.max()) + 1
        area = np.bincount(labels.ravel(), minlength=count).astype(np.float64)
        mean = _sums(labels.ravel(), appearance.reshape(-1, appearance.shape[-1]), count) / area[:, None]
        key, step, height = [], [], []
        for axis in (0, 1):
            first, second = (np.take(labels, range(a, labels.shape[axis] - 1 + a), axis) for a in (0, 1))
            edge = first != second
            # two pixels to either side, because an outline in a photograph is two pixels wide
            ahead, behind = (np.roll(appearance, shift, axis) for shift in (-2, 1))
            ahead, behind = (np.take(x, range(labels.shape[axis] - 1), axis) for x in (ahead, behind))
            a, b = first[edge], second[edge]
            sign = np.where(a < b, 1.0, -1.0)[:, None]
            key.append(np.minimum(a, b) * count + np.maximum(a, b))
            step.append((ahead[edge] - behind[edge]) * sign)
            sides = (np.take(barrier, range(s, labels.shape[axis] - 1 + s), axis)[edge] for s in (0, 1))
            height.append(np.maximum(*sides))
        unique, where, length = np.unique(np.concatenate(key), return_inverse=True, return_counts=True)
        return Partition(
            labels=labels,
            area=area,
            appearance=mean,
            pairs=np.stack([unique // count, unique % count], axis=1),
            length=length.astype(np.float64),
            step=_sums(where, np.concatenate(step), len(unique)) / length[:, None],
            barrier=np.bincount(where, weights=np.concatenate(height), minlength=len(unique)) / length,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The result of a merging."""

    region_of_superpixel: NDArray[np.int64]  # [R]
    area: NDArray[np.float64]  # [M] pixels
    contrast: NDArray[np.float64]  # [M] mean cost along the outline; infinite for a region without neighbours


def merge_regions(partition: Partition, limits: Sequence[float], min_area: float) -> list[Regions]:
    """Merge mutual best neighbours, in rounds, while their cost is below a limit; one result for each rising limit."""
    region = np.arange(len(partition.area))
    results = []
    for limit in limits:
        while True:
            graph = _Graph.of(partition, region)
            cost = graph.cost * np.where(graph.smaller_area < min_area, SMALL_FACTOR, 1.0)
            chosen = _mutual_best(graph.pairs, cost, len(graph.area)) & (cost < limit)
            if not chosen.any():
                break
            joined = np.arange(len(graph.area))
            joined[graph.pairs[chosen, 1]] = graph.pairs[chosen, 0]
            region = np.unique(joined[region], return_inverse=True)[1]
        results.append(Regions(region_of_superpixel=region, area=graph.area, contrast=graph.contrast()))
    return results


@dataclass(frozen=True, slots=True, eq=False)
class _Graph:
    area: NDArray[np.float64]  # [M]
    pairs: NDArray[np.int64]  # [E, 2]
    length: NDArray[np.float64]  # [E]
    cost: NDArray[np.float64]  # [E]

    @property
    def smaller_area(self) -> NDArray[np.float64]:
        return self.area[self.pairs].min(axis=1) if len(self.pairs) else np.zeros(0)

    @staticmethod
    def of(partition: Partition, region: NDArray[np.int64]) -> "_Graph":
        """The neighbourhood of the regions that the superpixels form now."""
        count = int(region.max()) + 1
        area = _sums(region, partition.area[:, None], count)[:, 0]
        mean = _sums(region, partition.appearance * partition.area[:, None], count) / area[:, None]
        a, b = region[partition.pairs].T
        outer = a != b
        sign = np.where(a < b, 1.0, -1.0)[outer, None]
        key, where = np.unique((np.minimum(a, b) * count + np.maximum(a, b))[outer], return_inverse=True)
        length = partition.length[outer]
        total = _sums(where, length[:, None], len(key))[:, 0]
        step = _sums(where, partition.step[outer] * sign * length[:, None], len(key)) / total[:, None]
        barrier = np.bincount(where, weights=partition.barrier[outer] * length, minlength=len(key)) / total
        pairs = np.stack([key // count, key % count], axis=1)
        difference = np.linalg.norm((mean[pairs[:, 0]] - mean[pairs[:, 1]]) * MEAN_WEIGHTS, axis=1)
        cost = (1.0 - OUTLINE_WEIGHT) * difference + OUTLINE_WEIGHT * np.linalg.norm(step, axis=1) + barrier
        return _Graph(area=area, pairs=pairs, length=total, cost=cost)

    def contrast(self) -> NDArray[np.float64]:
        """The mean cost [M] along each region's outline."""
        ends, count = self.pairs.T.ravel(), len(self.area)
        outline = np.bincount(ends, weights=np.tile(self.length, 2), minlength=count)
        weighted = np.bincount(ends, weights=np.tile(self.length * self.cost, 2), minlength=count)
        return np.divide(weighted, outline, out=np.full(count, np.inf), where=outline > 0)


def _mutual_best(pairs: NDArray[np.int64], cost: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Which pairs [E] are the cheapest of both their ends; equal costs are told apart by position."""
    order = np.argsort(cost, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    best = np.full(count, len(order))
    np.minimum.at(best, pairs[:, 0], rank)
    np.minimum.at(best, pairs[:, 1], rank)
    return (best[pairs[:, 0]] == rank) & (best[pairs[:, 1]] == rank)


def _sums(index: NDArray[np.int64], values: NDArray, count: int) -> NDArray[np.float64]:
    """Rows of values [B, C] summed by index [B] to [count, C]."""
    columns = [np.bincount(index, weights=values[:, c], minlength=count) for c in range(values.shape[1])]
    return np.stack(columns, axis=1).astype(np.float64)
