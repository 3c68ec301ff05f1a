# SPDX-License-Identifier: Apache-2.0
"""The segments of one level: proposals of its granularities, filtered and made non-overlapping."""

import torch
from torch import Tensor

from ccl_lgs_ros.structures import NONE, MaskProposals

GRANULARITIES = {"sp": (0, 1), "wp": (1, 2)}  # subpart and part; part and whole
MAX_COMPARED_PIXELS = 320 * 240  # masks are compared on a grid of at most this many pixels
# A mask is the inner part of a better one when it lies in it almost wholly and covers little of it (LangSplat's code).
INNER_COVERED, INNER_SHARE = 0.85, 0.5


def label_map(
    proposals: MaskProposals, level: str, *, min_area_px: int, min_quality: float, max_overlap: float
) -> tuple[Tensor, Tensor]:
    """The segments of one level as a label map, each with its quality.

    Masks are dropped that are too small, too poor, or too much like a better one; the rest are painted from the
    poorest to the best, so that the better one wins where two overlap. A segment that is hidden below the least area
    by better ones is dropped as well.

    Args:
        proposals: masks of all granularities.
        level: "sp" takes granularities 0 and 1, "wp" takes 1 and 2.
        min_area_px: pixels that a mask, and what is still seen of it, must have.
        min_quality: predicted IoU times stability that a mask must have.
        max_overlap: IoU with a better mask above which a mask is dropped.

    Returns:
        labels: [H, W] int32, the segment of each pixel, -1 none.
        quality: [M] float32, predicted IoU times stability of each segment.

    Raises:
        ValueError: if there is no such level.

    Source: CCL-LGS, 2025, section 3.2; the overlap test is that of LangSplat's mask suppression.
    """
    if level not in GRANULARITIES:
        raise ValueError(f"level: expected one of {tuple(GRANULARITIES)}, got {level!r}")
    quality = (proposals.predicted_iou * proposals.stability).float().clamp(0.0, 1.0)
    wanted = torch.isin(proposals.granularity, torch.tensor(GRANULARITIES[level], device=quality.device))
    wanted &= (quality >= min_quality) & (quality > 0.0)
    candidates = wanted.nonzero()[:, 0]
    area = proposals.masks[candidates].flatten(1).sum(dim=1)
    candidates = candidates[area >= min_area_px]
    candidates = candidates[quality[candidates].argsort(descending=True, stable=True)]
    candidates = candidates[_is_distinct(proposals.masks[candidates], max_overlap)]
    labels = _painted(proposals.masks[candidates])
    seen = torch.bincount(labels[labels != NONE].long(), minlength=len(candidates)) >= min_area_px
    number = torch.where(seen, seen.cumsum(0) - 1, NONE)
    number = torch.cat([number, number.new_tensor([NONE])])  # the last answers for -1
    return number[labels.long()].to(torch.int32), quality[candidates[seen]]


def _is_distinct(masks: Tensor, max_overlap: float) -> Tensor:
    """Which masks [M, H, W], best first, are neither much like a better mask that is kept nor an inner part of it."""
    step = max(1, round((masks.shape[1] * masks.shape[2] / MAX_COMPARED_PIXELS) ** 0.5))
    flat = masks[:, ::step, ::step].flatten(1).float()
    shared = flat @ flat.T
    area = flat.sum(dim=1).clamp_min(1.0)
    iou = shared / (area[:, None] + area[None] - shared)
    redundant = iou > max_overlap
    kept = torch.ones(len(masks), dtype=torch.bool, device=masks.device)
    for index in range(1, len(masks)):
        kept[index] = not bool((redundant[index, :index] & kept[:index]).any())
    return kept


def _painted(masks: Tensor) -> Tensor:
    """The index [H, W] of the first mask that covers each pixel; -1 none."""
    labels = torch.full(masks.shape[1:], NONE, dtype=torch.int32, device=masks.device)
    for index in range(len(masks) - 1, -1, -1):
        labels[masks[index]] = index
    return labels
