# SPDX-License-Identifier: Apache-2.0
"""A segmenter without weights: regions of one colour between depth edges, at a fine and a coarse scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.segmentation import slic
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.perception.colour_families import lab_of, perceived
from ccl_lgs_ros.perception.region_merging import Partition, Regions, merge_regions
from ccl_lgs_ros.structures import NONE, MaskProposals

WORKING_WIDTH = 320  # pixels; larger images are segmented at this width
SUPERPIXEL_AREA = 64  # working pixels
COMPACTNESS = 8.0  # CIELAB units that weigh as much as one superpixel's width
COLOUR_SCALE = 40.0  # units of lightness that the distance 1 in the plane of hue and saturation weighs
LIGHTNESS_DISCOUNT = 0.5  # of a step in lightness counts as a step in colour, because light varies over a surface
DEPTH_STEP = 0.04  # share of the distance that two neighbours on one surface may differ by
LOG_DEPTH_SCALE = 100.0  # units of colour that an e-fold of depth weighs among superpixels
MIN_DEPTH = 0.01  # metres; nearer is taken as this
UNKNOWN_DEPTH = 1e6  # metres; farther than any that is known
DEPTH_COST = 25.0  # what an edge in depth counts as, in units of colour
MIN_REGION_PX = 40  # working pixels; smaller regions join their most similar neighbour first
STABILITY_STEP = 1.3  # a stable region is still the same when the limit is this much stricter or looser
SUBPART, WHOLE = 0, 2
MAX_PROPOSALS = 256  # the largest are kept


@dataclass(frozen=True, slots=True)
class Scale:
    """A granularity and the difference up to which neighbours are one region."""

    granularity: int
    limit: float

    @property
    def limits(self) -> tuple[float, float, float]:
        """A stricter limit, the limit, a looser one."""
        return self.limit / STABILITY_STEP, self.limit, self.limit * STABILITY_STEP


SCALES = (Scale(SUBPART, 8.0), Scale(WHOLE, 10.0))


class BuiltinSegmenter:
    """Proposes regions of one colour between depth edges."""

    def propose(self, keyframe: Keyframe) -> MaskProposals:
        """Masks of granularity 0 (fine regions) and 2 (coarse regions); the regions of one granularity do not overlap.

        predicted_iou says how much an outline stands out against the difference that would have been merged;
        stability is the mean IoU with the same region under a stricter and a looser limit.
        """
        height, width = keyframe.image.shape[:2]
        size = (min(width, WORKING_WIDTH), max(1, round(height * min(1.0, WORKING_WIDTH / width))))
        image = np.asarray(cv2.resize(keyframe.image, size, interpolation=cv2.INTER_AREA), np.uint8)
        appearance = _appearance(image)
        labels = _superpixels(appearance, _nearness(keyframe.depth, size))
        partition = Partition.of(labels, appearance, _depth_edges(keyframe.depth, size) * DEPTH_COST)
        limits = sorted({limit for scale in SCALES for limit in scale.limits})
        regions = dict(zip(limits, merge_regions(partition, limits, MIN_REGION_PX), strict=True))
        found = [_proposals(partition, regions, scale) for scale in SCALES]
        labels, predicted_iou, stability = zip(*found, strict=True)
        granularity = [np.full(len(p), scale.granularity) for p, scale in zip(predicted_iou, SCALES, strict=True)]
        return MaskProposals(
            masks=_masks(labels, [len(p) for p in predicted_iou], height, width),
            predicted_iou=torch.from_numpy(np.concatenate(predicted_iou).astype(np.float32)),
            stability=torch.from_numpy(np.concatenate(stability).astype(np.float32)),
            granularity=torch.from_numpy(np.concatenate(granularity).astype(np.int64)),
        )


def _proposals(
    partition: Partition, regions_of_limit: Mapping[float, Regions], scale: Scale
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """The largest regions of one scale as a label map [H, W] (-1 elsewhere), their predicted IoU and stability."""
    strict, regions, loose = (regions_of_limit[limit] for limit in scale.limits)
    labels = regions.region_of_superpixel[partition.labels]
    contrast = 1.0 - scale.limit / (2.0 * np.maximum(regions.contrast, scale.limit))
    predicted_iou = contrast * _inner_share(labels, regions.area)
    stability = (_best_iou(partition, regions, strict) + _best_iou(partition, regions, loose)) / 2.0
    kept = np.argsort(-regions.area, kind="stable")[: MAX_PROPOSALS // len(SCALES)]
    kept = kept[regions.area[kept] >= MIN_REGION_PX]
    number = np.full(len(regions.area), NONE, np.int32)
    number[kept] = np.arange(len(kept))
    return number[labels], predicted_iou[kept], stability[kept]


def _masks(labels: Sequence[NDArray[np.int32]], counts: Sequence[int], height: int, width: int) -> Tensor:
    """The regions of several label maps as masks [M, H, W] at the image's size."""
    masks = torch.empty(sum(counts), height, width, dtype=torch.bool)
    first = 0
    for label, count in zip(labels, counts, strict=True):
        full = cv2.resize(label.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
        full = torch.from_numpy(full.astype(np.int16))
        for index in range(count):
            torch.eq(full, index, out=masks[first + index])
        first += count
    return masks


def _appearance(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Discounted lightness and saturation-scaled colour [H, W, 3] of an image, edges kept and noise removed."""
    lab = lab_of(cv2.bilateralFilter(image, d=5, sigmaColor=30, sigmaSpace=3))
    return np.concatenate([lab[..., :1] * LIGHTNESS_DISCOUNT, perceived(lab)[..., :2] * COLOUR_SCALE], axis=-1)


def _depth_edges(depth: NDArray[np.float32] | None, size: tuple[int, int]) -> NDArray[np.float32]:
    """Where [H, W] at working size depth jumps between known neighbours, 0 to 1; 0 where there is no depth."""
    if depth is None:
        return np.zeros(size[::-1], np.float32)
    known = np.isfinite(depth)
    far = np.where(known, depth, 0.0).astype(np.float32)
    near = np.where(known, depth, UNKNOWN_DEPTH).astype(np.float32)
    reach = max(1, round(depth.shape[1] / size[0]))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    farthest, nearest = cv2.dilate(far, kernel), cv2.erode(near, kernel)
    jump = farthest > nearest * (1.0 + 2 * DEPTH_STEP)
    return np.asarray(cv2.resize(jump.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def _nearness(depth: NDArray[np.float32] | None, size: tuple[int, int]) -> NDArray[np.float32]:
    """Log depth [H, W, 1] at working size in units of colour; where unknown that of the nearest known pixel."""
    if depth is None or not np.isfinite(depth).any():
        return np.zeros((*size[::-1], 1), np.float32)
    known = np.isfinite(depth)
    unknown = (~known).astype(np.uint8)
    _, place = cv2.distanceTransformWithLabels(unknown, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    place = np.asarray(place, np.int64)
    of_place = np.zeros(int(place.max()) + 1, np.float32)
    of_place[place[known]] = np.log(np.maximum(depth[known], MIN_DEPTH))
    filled = cv2.resize(of_place[place], size, interpolation=cv2.INTER_NEAREST)
    return cv2.medianBlur(filled, 5)[..., None] * LOG_DEPTH_SCALE


def _superpixels(appearance: NDArray[np.float32], nearness: NDArray[np.float32]) -> NDArray[np.int64]:
    """A label map [H, W] of small regions that keep to edges in colour and depth."""
    height, width = appearance.shape[:2]
    seen = np.concatenate([appearance, nearness], axis=-1)
    span = float(seen.max() - seen.min()) or 1.0  # slic scales what it is given to span 0 to 1
    return slic(
        seen,
        n_segments=max(1, height * width // SUPERPIXEL_AREA),
        compactness=COMPACTNESS / span,
        max_num_iter=5,
        convert2lab=False,
        start_label=0,
        channel_axis=-1,
    )


def _inner_share(labels: NDArray[np.int64], area: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of each region that stays if its outline is wrong by one pixel: low for thin strips and specks."""
    as_float = labels.astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    inner = (cv2.erode(as_float, kernel) == as_float) & (cv2.dilate(as_float, kernel) == as_float)
    return np.bincount(labels[inner], minlength=len(area)) / area


def _best_iou(partition: Partition, regions: Regions, others: Regions) -> NDArray[np.float64]:
    """For each region the greatest IoU with a region of another partition of the same superpixels."""
    ours, theirs = regions.region_of_superpixel, others.region_of_superpixel
    shared = np.zeros((len(regions.area), len(others.area)))
    np.add.at(shared, (ours, theirs), partition.area)
    return (shared / (regions.area[:, None] + others.area[None] - shared)).max(axis=1)
