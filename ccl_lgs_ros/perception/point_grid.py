# SPDX-License-Identifier: Apache-2.0
"""Mask proposals from a uniform grid of point prompts, three granularities per point."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.structures import MaskProposals

STABILITY_OFFSET = 1.0  # logits; SAM's: how far the threshold is moved up and down to see whether a mask stays
MAX_BOX_IOU = 0.7  # SAM's and LangSplat's: boxes of one granularity that share more show one thing
GRANULARITIES = 3  # masks per point: subpart, part, whole

Decode = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How densely an image is asked, and which answers count."""

    points_per_side: int
    point_batch: int  # prompts that are decoded at once
    min_predicted_iou: float
    min_stability: float


def grid_points(per_side: int, width: int, height: int) -> Tensor:
    """The centres [P, 2] of per_side x per_side equal cells of an image, x y in pixels, row by row."""
    steps = (torch.arange(per_side) + 0.5) / per_side
    y, x = torch.meshgrid(steps * height, steps * width, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def propose_on_grid(decode: Decode, width: int, height: int, grid: Grid) -> MaskProposals:
    """The masks of all points that are believed in and stable, without near duplicates of one granularity.

    Masks that were found and wait for the rest are kept as one bit per pixel.

    Args:
        decode: answers points [B, 2] with mask logits [B, 3, H, W], 0 at the outline, and predicted IoU [B, 3], both
            by granularity: subpart, part, whole.

    Returns:
        Proposals on the CPU, best predicted IoU first; none is a normal answer.

    Source: Segment Anything (Kirillov et al., 2023), automatic mask generation; unlike there, granularity is kept.
    """
    points = grid_points(grid.points_per_side, width, height)
    batches = [_Batch.of(*decode(some), grid) for some in points.split(grid.point_batch)]
    found = _Batch.joined(batches)
    kept = _distinct(found)
    bits = np.unpackbits(found.packed[kept.numpy()], axis=1, count=width * height)
    return MaskProposals(
        masks=torch.from_numpy(bits.view(np.bool_)).reshape(-1, height, width),
        predicted_iou=found.predicted_iou[kept].clamp(0.0, 1.0),
        stability=found.stability[kept],
        granularity=found.granularity[kept],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    packed: NDArray[np.uint8]  # [M, ceil(H W / 8)]
    boxes: Tensor  # [M, 4] xyxy pixels
    predicted_iou: Tensor  # [M]
    stability: Tensor  # [M]
    granularity: Tensor  # [M] int64

    @staticmethod
    def of(logits: Tensor, predicted_iou: Tensor, grid: Grid) -> "_Batch":
        """What counts of the answers to some points."""
        believed = predicted_iou >= grid.min_predicted_iou
        granularity = torch.arange(GRANULARITIES, device=logits.device).expand_as(believed)[believed]
        logits, predicted_iou = logits[believed], predicted_iou[believed].float()
        stability = stability_of(logits)
        masks = logits > 0.0
        kept = (stability >= grid.min_stability) & masks.flatten(1).any(dim=1)
        masks = masks[kept].cpu()
        return _Batch(
            packed=np.packbits(masks.flatten(1).numpy(), axis=1),
            boxes=boxes_of(masks),
            predicted_iou=predicted_iou[kept].cpu(),
            stability=stability[kept].cpu(),
            granularity=granularity[kept].cpu(),
        )

    @staticmethod
    def joined(batches: "list[_Batch]") -> "_Batch":
        return _Batch(
            packed=np.concatenate([batch.packed for batch in batches]),
            boxes=torch.cat([batch.boxes for batch in batches]),
            predicted_iou=torch.cat([batch.predicted_iou for batch in batches]),
            stability=torch.cat([batch.stability for batch in batches]),
            granularity=torch.cat([batch.granularity for batch in batches]),
        )


def stability_of(logits: Tensor) -> Tensor:
    """The IoU [M] of each mask [M, H, W] under a stricter and a looser threshold; 0 for an empty one."""
    strict = (logits > STABILITY_OFFSET).flatten(1).sum(dim=1).float()
    loose = (logits > -STABILITY_OFFSET).flatten(1).sum(dim=1).float()
    return strict / loose.clamp_min(1.0)


def boxes_of(masks: Tensor) -> Tensor:
    """The boxes [M, 4] xyxy of masks [M, H, W] of at least a pixel, in pixels; the far edges are outside."""
    bounds = []
    for occupied in (masks.any(dim=1), masks.any(dim=2)):  # columns, rows
        as_bytes = occupied.to(torch.uint8)
        bounds.append((as_bytes.argmax(dim=1), occupied.shape[1] - as_bytes.flip(1).argmax(dim=1)))
    (left, right), (top, bottom) = bounds
    return torch.stack([left, top, right, bottom], dim=1).float()


def _distinct(found: _Batch) -> Tensor:
    """Which masks [n] int64 are no near duplicate of a better one of their granularity, best first."""
    from torchvision.ops import batched_nms

    return batched_nms(found.boxes, found.predicted_iou, found.granularity, MAX_BOX_IOU)
