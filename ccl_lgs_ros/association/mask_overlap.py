# SPDX-License-Identifier: Apache-2.0
"""How far masks and the segments of a label map coincide, counted in one pass over the masks' own pixels."""

from typing import Protocol

import torch
from torch import Tensor

SAMPLED_SIDE = 160  # pixels along the longer side of the masks that are kept to be compared with each other


class LabelMaps(Protocol):
    """The segment [H, W] int32 of each pixel, -1 none, by keyframe; loaded when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


def areas(labels: Tensor, num_segments: int) -> Tensor:
    """The pixels [M] int64 of each segment of a label map [H, W], -1 none."""
    return torch.bincount(labels.flatten().long() + 1, minlength=num_segments + 1)[1:]


def masks_of(labels: Tensor, segments: Tensor) -> Tensor:
    """The masks [K, H, W] bool of segments [K] of a label map [H, W]."""
    return labels[None] == segments.to(labels.dtype)[:, None, None]


def intersections(labels: Tensor, masks: Tensor, num_segments: int) -> Tensor:
    """The pixels [M, K] int64 that each segment of a label map [H, W] shares with each of the masks [K, H, W].

    One joint histogram of segment and mask over the pixels that the masks cover, not a comparison of M times K images.

    Raises:
        ValueError: if masks and label map differ in size.
    """
    if masks.shape[1:] != labels.shape:
        raise ValueError(f"masks: expected [K, {labels.shape[0]}, {labels.shape[1]}], got {list(masks.shape)}")
    mask, pixel = torch.nonzero(masks.flatten(1), as_tuple=True)
    bins = num_segments + 1
    cell = mask * bins + labels.flatten().to(masks.device)[pixel].long() + 1
    counts = torch.bincount(cell, minlength=masks.shape[0] * bins).reshape(masks.shape[0], bins)
    return counts[:, 1:].T.cpu()


def iou(shared: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The IoU [A, B] float64 of what has `first` [A] and `second` [B] pixels and shares [A, B]; 0 of nothing."""
    union = first[:, None] + second[None] - shared
    return shared.double() / union.clamp_min(1).double()


def sampled(masks: Tensor) -> Tensor:
    """Masks [K, H, W] as bits [K, ceil(P / 8)] uint8 at a regular grid of P pixels, to be kept by the thousand."""
    stride = -(-max(masks.shape[1:]) // SAMPLED_SIDE)
    bits = masks[:, stride // 2 :: stride, stride // 2 :: stride].flatten(1).cpu()
    bits = torch.nn.functional.pad(bits, (0, -bits.shape[1] % 8)).to(torch.uint8).unflatten(1, (-1, 8))
    return (bits << torch.arange(8, dtype=torch.uint8)).sum(dim=2, dtype=torch.uint8)


def coincidence(bits: Tensor) -> Tensor:
    """The IoU [K, K] float64 of sampled masks [K, ceil(P / 8)] with each other; NaN where either is empty."""
    pixels = ((bits[:, :, None] >> torch.arange(8, dtype=torch.uint8)) & 1).flatten(1).float()
    area = pixels.sum(dim=1)
    result = iou(pixels @ pixels.T, area, area)
    is_empty = area == 0
    result[is_empty], result[:, is_empty] = torch.nan, torch.nan
    return result
