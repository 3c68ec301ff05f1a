# SPDX-License-Identifier: Apache-2.0
"""What each Gaussian says for itself, beside the entry of its track: several entries with weights, or a product code.

A level has such a language only where a lifter made one. Its tracks still say which Gaussians belong together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ccl_lgs_ros.shapes import check_shapes

FULL_WEIGHT = 255
NOT_TRUSTED = 255  # the uncertainty of a Gaussian that says nothing that counts
DECODED_AT_ONCE = 1 << 15  # Gaussians; bounds memory


class Language(Protocol):
    """The language of each Gaussian of a level."""

    @property
    def bytes_per_gaussian(self) -> int: ...

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, to be stored."""
        ...

    def select(self, kept: Tensor) -> "Language":
        """The same for the Gaussians at an index or boolean mask."""
        ...

    def relevancy(self, of_features: Callable[[Tensor], Tensor], entries: Tensor) -> Tensor:
        """The relevancy [N] of each Gaussian; 0 where it says nothing.

        Args:
            of_features: the relevancy [n] of language vectors [n, D], as the encoder has it.
            entries: [K, D] of the level's codebook.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseCodes:
    """A few entries of the level's codebook per Gaussian, with weights.

    The relevancy of a Gaussian is the weighted mean of that of its entries, so that a query looks at K entries and then
    gathers.
    """

    entry: Tensor  # [N, S] int32, -1 none
    weight: Tensor  # [N, S] uint8, 255 is all; 0 where there is no entry

    def __post_init__(self) -> None:
        n, s = self.entry.shape
        check_shapes(entry=(self.entry, (n, s)), weight=(self.weight, (n, s)))

    @staticmethod
    def of(entry: Tensor, weight: Tensor) -> "SparseCodes":
        """Of entries [N, S], -1 none, with weights [N, S] >= 0 of any scale."""
        weight = torch.where(entry < 0, 0.0, weight.float())
        share = weight / weight.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
        scaled = (share * FULL_WEIGHT).round().to(torch.uint8)
        return SparseCodes(entry=torch.where(scaled > 0, entry, -1).to(torch.int32), weight=scaled)

    @property
    def bytes_per_gaussian(self) -> int:
        return self.entry.shape[1] * (self.entry.element_size() + self.weight.element_size())

    def tensors(self) -> dict[str, Tensor]:
        return {"entry": self.entry, "weight": self.weight}

    def select(self, kept: Tensor) -> "SparseCodes":
        return SparseCodes(entry=self.entry[kept], weight=self.weight[kept])

    def relevancy(self, of_features: Callable[[Tensor], Tensor], entries: Tensor) -> Tensor:
        of_entry = torch.cat([of_features(entries).float(), torch.zeros(1)])  # the last answers for -1
        found = torch.zeros(len(self.entry))
        for start in range(0, len(found), DECODED_AT_ONCE):
            rows = slice(start, start + DECODED_AT_ONCE)
            weight = self.weight[rows].float()
            total = (weight * of_entry[self.entry[rows].long()]).sum(dim=1)
            found[rows] = total / weight.sum(dim=1).clamp_min(1.0)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProductCodes:
    """A product code per Gaussian: each of M pieces of its vector is one of 256 centroids (Jegou et al., 2011)."""

    code: Tensor  # [N, M] uint8
    centroids: Tensor  # [M, 256, D / M]
    is_known: Tensor  # [N] bool

    def __post_init__(self) -> None:
        n, m = self.code.shape
        check_shapes(code=(self.code, (n, m)), centroids=(self.centroids, (m, None, None)), known=(self.is_known, (n,)))

    @property
    def bytes_per_gaussian(self) -> int:
        return self.code.shape[1]

    def tensors(self) -> dict[str, Tensor]:
        return {"code": self.code, "centroids": self.centroids, "is_known": self.is_known}

    def select(self, kept: Tensor) -> "ProductCodes":
        return ProductCodes(code=self.code[kept], centroids=self.centroids, is_known=self.is_known[kept])

    def decoded(self, rows: slice) -> Tensor:
        """The unit vectors [n, D] of some Gaussians."""
        code = self.code[rows].long()
        pieces = [self.centroids[m, code[:, m]] for m in range(code.shape[1])]
        return torch.nn.functional.normalize(torch.cat(pieces, dim=1), dim=1)

    def relevancy(self, of_features: Callable[[Tensor], Tensor], entries: Tensor) -> Tensor:
        found = torch.zeros(len(self.code))
        for start in range(0, len(found), DECODED_AT_ONCE):
            rows = slice(start, start + DECODED_AT_ONCE)
            found[rows] = of_features(self.decoded(rows)).float()
        return torch.where(self.is_known, found, 0.0)


KINDS: dict[str, type[SparseCodes] | type[ProductCodes]] = {"sparse": SparseCodes, "product": ProductCodes}
