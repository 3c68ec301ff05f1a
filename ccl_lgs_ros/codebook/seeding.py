# SPDX-License-Identifier: Apache-2.0
"""Where the entries of a codebook begin, and what is done about entries that nothing uses."""

from dataclasses import dataclass

import torch
from torch import Tensor

SAME = 1e-6  # distance 1 - cosine at which a feature has an entry of its own: rounding of unit rows in float32
COMPARED_AT_ONCE = 4096  # features; bounds memory where there are as many entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """Features without repetition, in an order that does not depend on how they came."""

    features: Tensor  # [U, D] unit rows
    weight: Tensor  # [U] > 0 where any is: the sum over equal features
    row: Tensor  # [B]: the distinct feature of each feature given


def distinct(features: Tensor, weight: Tensor) -> Distinct:
    """The distinct rows of features [B, D] with weights [B]; weights that are all 0 count as 1."""
    rows, inverse = torch.unique(features, dim=0, return_inverse=True)
    given = weight.double() if bool((weight > 0).any()) else torch.ones_like(weight, dtype=torch.float64)
    total = torch.zeros(len(rows), dtype=torch.float64, device=features.device).index_add_(0, inverse, given)
    return Distinct(features=rows, weight=total, row=inverse)


def plus_plus(data: Distinct, known: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Entries [K, D]: those known [L, D], then features drawn by their distance to the nearest entry so far.

    K is `size`, or less where every feature has an entry, never less than L. The distance is that on the unit
    sphere, 1 - cosine, which is half the squared distance of k-means++.

    Source: Arthur and Vassilvitskii, 2007, "k-means++", section 2.2.
    """
    entries = list(known.to(data.features))
    distance = torch.full((len(data.features),), 1.0, device=data.features.device)
    if entries:
        distance = _distances(data.features, torch.stack(entries))
    while len(entries) < size:
        chance = torch.where(distance > SAME, distance.double() * data.weight, 0.0).cumsum(0)
        if len(chance) == 0 or float(chance[-1]) <= 0:
            break
        at = torch.rand(1, generator=generator, dtype=torch.float64).to(chance.device) * chance[-1]
        chosen = data.features[int(torch.searchsorted(chance, at, right=True))]
        entries.append(chosen)
        distance = torch.minimum(distance, 1.0 - data.features @ chosen)
    return torch.stack(entries) if entries else data.features.new_zeros(0, data.features.shape[1])


def revived(features: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """Which entries [K] of unit rows [K, D] no feature [B, D] uses and now begin anew; and all entries.

    Each begins at the feature that the entries so far serve worst; none begins where every feature has one.
    """
    entries, is_new = entries.clone(), torch.zeros(len(entries), dtype=torch.bool, device=entries.device)
    cosine, code = (features @ entries.T).max(dim=1)
    is_dead = torch.bincount(code, minlength=len(entries)) == 0
    for index in torch.nonzero(is_dead)[:, 0].tolist():
        worst = int(cosine.argmin())
        if 1.0 - float(cosine[worst]) <= SAME:
            break
        entries[index], is_new[index] = features[worst], True
        cosine = torch.maximum(cosine, features @ entries[index])
    return is_new, entries


def usage(features: Tensor, weight: Tensor, entries: Tensor) -> Tensor:
    """The weight [K] of the features [B, D] that each entry [K, D] is nearest to."""
    code = torch.cat([(part @ entries.T).argmax(dim=1) for part in features.split(COMPARED_AT_ONCE)])
    return torch.bincount(code, weights=weight.double(), minlength=len(entries)).float()


def _distances(features: Tensor, entries: Tensor) -> Tensor:
    """1 - cosine [B] of each feature [B, D] to the nearest entry [L, D]."""
    return 1.0 - (features @ entries.T).amax(dim=1)
