# SPDX-License-Identifier: Apache-2.0
"""The network that reads codes off blended features: three layers on each pixel, ReLU between, softmax over codes."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize, relu

from ccl_lgs_ros.structures import NONE, SemanticField

HIDDEN = (128, 256)  # units of the inner layers, as in LEGaussians, on which CCL-LGS builds
MIN_ALPHA = 0.5  # a pixel that the map covers less shows something else
DECODED_AT_ONCE = 16384  # rows; bounds memory


def new_decoder(channels: int, num_codes: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights and biases by name, drawn evenly from plus and minus 1 / sqrt(inputs)."""
    sizes = (channels, *HIDDEN, num_codes)
    decoder = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        bound = inputs**-0.5
        decoder[f"weight{layer}"] = (torch.rand(outputs, inputs, generator=generator) * 2 - 1) * bound
        decoder[f"bias{layer}"] = (torch.rand(outputs, generator=generator) * 2 - 1) * bound
    return decoder


def logits(decoder: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """The evidence [..., K] for each code in blended features [..., C], of which only the direction counts.

    Source: CCL-LGS (Tian et al., 2025), the index decoder; sizes and normalisation of LEGaussians (Shi et al., 2024).
    """
    hidden = normalize(features, dim=-1)
    for layer in range(len(HIDDEN)):
        hidden = relu(linear(hidden, decoder[f"weight{layer}"], decoder[f"bias{layer}"]))
    return linear(hidden, decoder[f"weight{len(HIDDEN)}"], decoder[f"bias{len(HIDDEN)}"])


@torch.no_grad()
def most_likely(decoder: Mapping[str, Tensor], features: Tensor) -> tuple[Tensor, Tensor]:
    """The code [B] of most evidence in features [B, C], and its probability [B]."""
    parts = [logits(decoder, part).softmax(dim=1).max(dim=1) for part in features.split(DECODED_AT_ONCE)]
    return torch.cat([part.indices for part in parts]), torch.cat([part.values for part in parts])


def decoded_codes(field: SemanticField, level: str, rendered: Tensor, alpha: Tensor) -> Tensor:
    """The code of each pixel [H, W] int32, -1 where the map covers less than half of it.

    Args:
        rendered: [H, W, C] the field's features of this level, blended into a view.
        alpha: [H, W] of that view.
    """
    codes = torch.full_like(alpha, NONE, dtype=torch.int32)
    is_covered = alpha > MIN_ALPHA
    codes[is_covered] = most_likely(field.decoders[level], rendered[is_covered])[0].to(torch.int32)
    return codes
