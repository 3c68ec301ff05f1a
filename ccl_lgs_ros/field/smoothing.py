# SPDX-License-Identifier: Apache-2.0
"""LEGaussians' losses: a learned uncertainty excuses pixels from their codes, a network of place smooths features."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, relu

MOST_UNCERTAIN = 1.0 - 1e-6  # of a pixel: at 1 the price would be infinite
LEAST_SMOOTHED = 0.1  # the weight of smoothing where a Gaussian is certain; where it is not, it is 1
HIDDEN = (128, 128, 128, 128)  # units of the network of place, layer by layer


def excused_cross_entropy(logits: Tensor, codes: Tensor, uncertainty: Tensor, price: float) -> Tensor:
    """The mean over pixels of (1 - u) times the cross-entropy, plus `price` times -log(1 - u).

    With a price of 1 a pixel gains by uncertainty as soon as its code is less likely than 1 / e, and is best off with
    1 - u = 1 / cross-entropy.

    Args:
        logits: [B, K].
        codes: [B] int64.
        uncertainty: [B] u, blended into the view, in [0, 1].

    Source: LEGaussians (Shi et al., 2024), semantic loss and regulariser of the uncertainty.
    """
    trust = 1.0 - uncertainty.clamp(0.0, MOST_UNCERTAIN)
    return (trust * cross_entropy(logits, codes, reduction="none") - price * trust.log()).mean()


def smoothness(features: Tensor, smooth: Tensor, uncertainty: Tensor) -> tuple[Tensor, Tensor]:
    """How far what the network of place says lies from the features, and the features from it, squared, as means.

    The first teaches only the network, the second only the features: the more, the less certain a Gaussian is.

    Args:
        features, smooth: [n, C].
        uncertainty: [n] in [0, 1]; not taught here.

    Source: LEGaussians (Shi et al., 2024), spatial smoothing.
    """
    weight = LEAST_SMOOTHED + (1.0 - LEAST_SMOOTHED) * uncertainty.detach()
    of_network = (smooth - features.detach()).square().mean(dim=1).mean()
    of_features = (weight * (smooth.detach() - features).square().mean(dim=1)).mean()
    return of_network, of_features


def encoded_places(places: Tensor, frequencies: int) -> Tensor:
    """Places [n, 3] with sines and cosines of 1, 2, 4 ... times themselves: [n, 3 + 6 frequencies]."""
    waves = [wave(places * 2.0**octave) for octave in range(frequencies) for wave in (torch.sin, torch.cos)]
    return torch.cat([places, *waves], dim=1)


def new_place_network(inputs: int, channels: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights and biases by name, drawn evenly from plus and minus 1 / sqrt(inputs)."""
    network = {}
    for layer, (size, following) in enumerate(pairwise((inputs, *HIDDEN, channels))):
        bound = size**-0.5
        network[f"weight{layer}"] = (torch.rand(following, size, generator=generator) * 2 - 1) * bound
        network[f"bias{layer}"] = (torch.rand(following, generator=generator) * 2 - 1) * bound
    return network


def smooth_features(network: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
    """What the network says [n, C] of encoded places [n, E]: ReLU between its layers."""
    hidden = encoded
    for layer in range(len(HIDDEN)):
        hidden = relu(linear(hidden, network[f"weight{layer}"], network[f"bias{layer}"]))
    return linear(hidden, network[f"weight{len(HIDDEN)}"], network[f"bias{len(HIDDEN)}"])
