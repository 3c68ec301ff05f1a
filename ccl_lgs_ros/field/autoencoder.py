# SPDX-License-Identifier: Apache-2.0
"""The autoencoder of a scene: language vectors as a few numbers, and back.

A decoder to vectors is stored as those to codes are, weights by name; its names begin with "vector.".
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, linear, normalize, relu

from ccl_lgs_ros.structures import NONE

FULL_DIM = 512  # length of the vectors for which these inner layers were published
ENCODER, DECODER = (256, 128, 64, 32), (16, 32, 64, 128, 256, 256)
LEAST_UNITS = 32  # of an inner layer that shrinks with the vectors
COSINE_WEIGHT = 1e-3  # as in LangSplat's code
INTO, OUT = "latent.", "vector."  # begin the names of encoder and decoder
DECODED_AT_ONCE = 16384  # rows; bounds memory


def new_autoencoder(dim: int, channels: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights and biases by name, for vectors of length D = `dim`; weights keep the size of what goes through ReLUs.

    Source: LangSplat (Qin et al., 2024); its inner layers shrink with D, and it normalises batches between them, where
    weights start as He et al. (2015) have them here.
    """
    encoder, decoder = (dim, *_scaled(ENCODER, dim), channels), (channels, *_scaled(DECODER, dim), dim)
    return {**_drawn(INTO, encoder, generator), **_drawn(OUT, decoder, generator)}


def encoded(autoencoder: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """The latents [..., C], unit, of vectors [..., D]."""
    return normalize(_through(autoencoder, INTO, features), dim=-1)


def decoded(decoder: Mapping[str, Tensor], latents: Tensor) -> Tensor:
    """The vectors [..., D], unit, of latents [..., C], of which only the direction counts: blends are shorter."""
    return normalize(_through(decoder, OUT, normalize(latents, dim=-1)), dim=-1)


def reconstruction_loss(found: Tensor, features: Tensor) -> Tensor:
    """The mean squared difference of vectors [B, D], and a little of 1 - their mean cosine.

    Source: LangSplat (Qin et al., 2024), its code; the paper has an L1 distance in place of the squared one.
    """
    distance = (found - features).square().mean()
    return distance + COSINE_WEIGHT * (1.0 - cosine_similarity(found, features, dim=1).mean())


def decoder_of(autoencoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The half that a map keeps."""
    return {name: tensor for name, tensor in autoencoder.items() if name.startswith(OUT)}


def says_vectors(decoder: Mapping[str, Tensor]) -> bool:
    """Whether a field's decoder gives vectors, not the evidence of codes."""
    return f"{OUT}weight0" in decoder


@torch.no_grad()
def nearest_codes(decoder: Mapping[str, Tensor], entries: Tensor, rendered: Tensor, is_covered: Tensor) -> Tensor:
    """The codebook entry [H, W] int32 nearest to what each covered pixel decodes to; -1 elsewhere.

    Args:
        entries: [K, D] unit rows, K >= 1.
        rendered: [H, W, C] latents blended into a view.
        is_covered: [H, W] bool.
    """
    codes = torch.full(is_covered.shape, NONE, dtype=torch.int32, device=is_covered.device)
    parts = rendered[is_covered].split(DECODED_AT_ONCE)
    found = [(decoded(decoder, part) @ entries.to(part).T).argmax(dim=1).to(torch.int32) for part in parts]
    codes[is_covered] = torch.cat(found)
    return codes


def _scaled(units: Sequence[int], dim: int) -> tuple[int, ...]:
    """Inner layers for vectors of another length; none grows, and none shrinks below what a small scene needs."""
    return tuple(min(size, max(LEAST_UNITS, size * dim // FULL_DIM)) for size in units)


def _drawn(start: str, sizes: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
    drawn = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        bound = (6.0 / inputs) ** 0.5
        drawn[f"{start}weight{layer}"] = (torch.rand(outputs, inputs, generator=generator) * 2 - 1) * bound
        drawn[f"{start}bias{layer}"] = torch.zeros(outputs)
    return drawn


def _through(network: Mapping[str, Tensor], start: str, rows: Tensor) -> Tensor:
    last = sum(name.startswith(f"{start}weight") for name in network) - 1
    for layer in range(last + 1):
        rows = linear(rows, network[f"{start}weight{layer}"], network[f"{start}bias{layer}"])
        rows = relu(rows) if layer < last else rows
    return rows
