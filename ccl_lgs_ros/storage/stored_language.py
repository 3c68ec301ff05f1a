# SPDX-License-Identifier: Apache-2.0
"""What each Gaussian says for itself, as arrays of a snapshot."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.languages import KINDS, Language, ProductCodes, SparseCodes

CENTROIDS = 256


def language_arrays(level: str, language: Language) -> dict[str, NDArray]:
    """The language of a level, as arrays by name."""
    kind = next(name for name, kind in KINDS.items() if isinstance(language, kind))
    tensors = language.tensors().items()
    return {f"{level}.{kind}.{name}": tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors}


def language_in(
    arrays: Mapping[str, NDArray], level: str, num_gaussians: int, entries: tuple[int, ...]
) -> Language | None:
    """The language of a level among the arrays of a snapshot, None where it has none.

    Args:
        entries: the shape [K, D] of the level's codebook.

    Raises:
        ValueError: if it does not fit the map.
    """
    for name, kind in KINDS.items():
        start = f"{level}.{name}."
        tensors = {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}
        if tensors:
            language = kind(**{key: torch.from_numpy(array) for key, array in tensors.items()})
            _check(language, num_gaussians, entries)
            return language
    return None


def _check(language: Language, num_gaussians: int, entries: tuple[int, ...]) -> None:
    first = next(iter(language.tensors().values()))
    if len(first) != num_gaussians:
        raise ValueError(f"the language of {len(first)} Gaussians, where there are {num_gaussians}")
    if isinstance(language, SparseCodes):
        entry = language.entry.numpy()
        if entry.dtype.kind != "i" or (entry.size and not -1 <= entry.min() <= entry.max() < entries[0]):
            raise ValueError(f"sparse codes outside of {entries[0]} entries")
    if isinstance(language, ProductCodes):
        pieces, count, length = language.centroids.shape
        if count != CENTROIDS or pieces * length != entries[1] or not np.isfinite(language.centroids.numpy()).all():
            raise ValueError(f"product codes of {pieces} x {length} numbers for vectors of {entries[1]}")
