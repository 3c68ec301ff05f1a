# SPDX-License-Identifier: Apache-2.0
"""The segments of one level: proposals of its granularities, filtered and made non-overlapping."""

import math

import torch
from torch import Tensor

from ccl_lgs_ros.structures import NONE, MaskProposals

# Subpart and part; part and whole. Those of LangSplat: each by itself.
GRANULARITIES = {"sp": (0, 1), "wp": (1, 2), "s": (0,), "m": (1,), "l": (2,)}
INNER_SHARE, OUTER_SHARE = 0.85, 0.5  # LangSplat's: from this share on a mask lies in one that it fills less than that
MAX_COMPARED_PIXELS = 160 * 120  # masks are compared on a grid of at most this many pixels


def label_map(
    proposals: MaskProposals,
    level: str,
    *,
    min_area_px: int,
    min_quality: float,
    max_overlap: float,
    max_inner: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """The segments of one level as a label map, each with its quality.

    Masks are dropped that are too small, too poor, or too much like a better one; the rest are painted from the
    poorest to the best, so that the better one wins where two overlap. A segment that is hidden below the least area
    by better ones is dropped as well; so a part that is poorer than the whole around it vanishes, and a better one is
    cut out of it. LangSplat drops inner masks by a test of their own, better ones too; `max_inner` 0.5 does so.

    Args:
        proposals: masks of all granularities.
        level: "sp" takes granularities 0 and 1, "wp" takes 1 and 2; "s", "m" and "l" take 0, 1 and 2.
        min_area_px: pixels that a mask, and what is still seen of it, must have.
        min_quality: predicted IoU times stability that a mask must have.
        max_overlap: IoU with a better mask above which a mask is dropped.
        max_inner: a mask of which at least 0.85 lies in another one, which it fills by less than 0.5, is dropped if
            1 minus the product of these shares is above this; 1 drops none.

    Returns:
        labels: [H, W] int32, the segment of each pixel, -1 none.
        quality: [M] float32, predicted IoU times stability of each segment.

    Raises:
        ValueError: if there is no such level.

    Source: CCL-LGS, 2025, section 3.2; the overlap and inner tests are LangSplat's mask suppression. There, masks that
    were dropped still suppress others; here, only those that are kept do.
    """
    if level not in GRANULARITIES:
        raise ValueError(f"level: expected one of {tuple(GRANULARITIES)}, got {level!r}")
    quality = (proposals.predicted_iou * proposals.stability).float().clamp(0.0, 1.0)
    wanted = torch.isin(proposals.granularity, torch.tensor(GRANULARITIES[level], device=quality.device))
    wanted &= (quality >= min_quality) & (quality > 0.0)
    candidates = wanted.nonzero()[:, 0]
    candidates = candidates[_areas(proposals.masks, candidates) >= min_area_px]
    candidates = candidates[quality[candidates].argsort(descending=True, stable=True)]
    candidates = candidates[_is_distinct(proposals.masks, candidates, max_overlap, max_inner)]
    labels = _painted(proposals.masks, candidates)
    seen = torch.bincount(labels[labels != NONE].long(), minlength=len(candidates)) >= min_area_px
    number = torch.where(seen, seen.cumsum(0) - 1, NONE)
    number = torch.cat([number, number.new_tensor([NONE])])  # the last answers for -1
    return number[labels.long()].to(torch.int32), quality[candidates[seen]]


def _areas(masks: Tensor, which: Tensor) -> Tensor:
    """The pixels of some masks; one by one, because that is the fast way to count booleans."""
    return torch.tensor([int(torch.count_nonzero(masks[index])) for index in which.tolist()], device=which.device)


def _is_distinct(masks: Tensor, which: Tensor, max_overlap: float, max_inner: float) -> Tensor:
    """Which of some masks, best first, are not much like a better mask that is kept, nor an inner part of any."""
    step = math.ceil((masks.shape[1] * masks.shape[2] / MAX_COMPARED_PIXELS) ** 0.5)
    flat = masks[:, ::step, ::step][which].flatten(1).float()
    shared = flat @ flat.T
    area = flat.sum(dim=1)
    redundant = shared > max_overlap * (area[:, None] + area[None] - shared)
    kept = torch.ones(len(which), dtype=torch.bool, device=masks.device)
    for index in range(1, len(which)):
        kept[index] = not bool((redundant[index, :index] & kept[:index]).any())
    inside = shared / area[:, None].clamp_min(1.0)  # [i, j]: the share of i that lies in j
    is_inner = (inside >= INNER_SHARE) & (inside.T < OUTER_SHARE) & (1.0 - inside * inside.T > max_inner)
    return kept & ~(is_inner & kept).any(dim=1)


def _painted(masks: Tensor, which: Tensor) -> Tensor:
    """The position in `which` [H, W] of the first mask that covers each pixel; -1 none."""
    labels = torch.full(masks.shape[1:], NONE, dtype=torch.int32, device=masks.device)
    for position, index in reversed(list(enumerate(which.tolist()))):
        labels.masked_fill_(masks[index], position)
    return labels
