# SPDX-License-Identifier: Apache-2.0
"""Product codes of language vectors: each piece of a vector is named by the nearest of 256 centroids.

The centroids of a language space are fitted once and serve every map (scripts/fit_product_codes.py); those of a map's
own segments serve that map alone.

Source: Jegou, Douze and Schmid, "Product quantization for nearest neighbor search" (2011).
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ccl_lgs_ros.errors import ConfigError

CENTROIDS = 256  # of each piece, so that a byte names one
MAX_PIECES = 128  # Dr. Splat (Jun-Seong et al., 2025): 128 bytes for a vector
ROUNDS = 25  # of Lloyd's iteration; the error falls by less than a percent in further ones
ENCODED_AT_ONCE = 1 << 14  # vectors; bounds memory
KEY = "centroids"


def num_pieces(dim: int) -> int:
    """Into how many pieces of one length a vector is cut: the most that MAX_PIECES allows."""
    return next(count for count in range(min(MAX_PIECES, dim), 0, -1) if dim % count == 0)


def fitted_centroids(features: Tensor, generator: torch.Generator) -> Tensor:
    """Centroids [M, 256, D / M] for vectors like those given [n, D], n >= 1; equal generators give equal ones."""
    pieces = features.float().reshape(len(features), num_pieces(features.shape[1]), -1)
    return torch.stack([_k_means(pieces[:, m], generator) for m in range(pieces.shape[1])])


def encoded(features: Tensor, centroids: Tensor) -> Tensor:
    """The nearest centroid [n, M] uint8 of each piece of vectors [n, D]; of equally near ones any, always the same."""
    pieces = features.float().reshape(len(features), *centroids.shape[::2])
    codes = torch.zeros(pieces.shape[:2], dtype=torch.uint8)
    for start in range(0, len(pieces), ENCODED_AT_ONCE):
        rows = slice(start, start + ENCODED_AT_ONCE)
        for m, known in enumerate(centroids):
            codes[rows, m] = _nearest(pieces[rows, m], known).to(torch.uint8)
    return codes


def write_centroids(path: Path, centroids: Tensor) -> None:
    """Keep centroids [M, 256, D / M] in a file."""
    path.write_bytes(save({KEY: centroids.contiguous()}))


def read_centroids(path: Path) -> Tensor:
    """The centroids [M, 256, D / M] of a file.

    Raises:
        ConfigError: if it cannot be read or holds something else.
    """
    advice = f"option 'field.product_codes': {path} holds no centroids; make them with scripts/fit_product_codes.py"
    try:
        centroids = load(path.expanduser().read_bytes()).get(KEY)
    except (OSError, SafetensorError) as error:
        raise ConfigError(advice) from error
    if centroids is None or centroids.ndim != 3 or centroids.shape[1] != CENTROIDS or centroids.dtype != torch.float32:
        raise ConfigError(advice)
    return centroids


def _k_means(points: Tensor, generator: torch.Generator) -> Tensor:
    """256 centroids of points [n, d]; where there are no more distinct ones, those, the last again and again."""
    distinct = points.unique(dim=0)
    if len(distinct) <= CENTROIDS:
        return torch.cat([distinct, distinct[-1:].expand(CENTROIDS - len(distinct), -1)])
    known = distinct[torch.randperm(len(distinct), generator=generator)[:CENTROIDS]]
    for _ in range(ROUNDS):
        nearest = _nearest(points, known)
        count = torch.bincount(nearest, minlength=CENTROIDS)[:, None]
        sums = torch.zeros_like(known).index_add_(0, nearest, points)
        known = torch.where(count > 0, sums / count.clamp_min(1), known)
    return known


def _nearest(points: Tensor, known: Tensor) -> Tensor:
    """The index [n] of the nearest of known points [K, d]."""
    return torch.cdist(points, known, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
