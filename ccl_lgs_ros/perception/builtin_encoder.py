# SPDX-License-Identifier: Apache-2.0
"""An encoder that knows colour words and nothing else, and says which words it did not understand.

It proves the path and is of use on a bare robot; it is not language. A feature is the square root of how a segment's
colour spreads over the colour families, so its length is 1, the cosine of two features is the Bhattacharyya
coefficient of the two distributions, and a mean of features is close to the feature of the mean.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from torch import Tensor

from ccl_lgs_ros.answers import Prompt
from ccl_lgs_ros.perception.colour_families import FAMILIES, NEUTRALS, acceptance, colour_table, lab_of, memberships
from ccl_lgs_ros.perception.colour_words import colours_in
from ccl_lgs_ros.structures import NONE

BIN_SHIFT = 3  # colours are counted in bins of 8 levels per channel, each bin by the mean of what fell into it
WHOLE_SHARE = 0.5  # weight of the segment's middle colour beside that of its single pixels
LAB_STEPS, LAB_BINS, LAB_LOWEST = 2, 512, (0.0, -128.0, -128.0)  # bins per unit, bins, first value per channel
SMOOTHING_PX = 5  # median filter that removes sensor and JPEG noise


class BuiltinEncoder:
    """Segments and texts as distributions over colour families."""

    @property
    def identity(self) -> str:
        return "builtin/1"

    @property
    def dim(self) -> int:
        return len(FAMILIES)

    @property
    def threshold(self) -> float:
        return 0.5  # a tie with the strongest rival

    def encode_segments(self, image: NDArray[np.uint8], labels: Tensor, count: int) -> Tensor:
        """Unit features [M, D] of the segments 0 to count - 1 of a label map [H, W]; zeros where there is no pixel."""
        label = labels.cpu().numpy()
        if label.shape != image.shape[:2]:
            raise ValueError(f"labels: expected {image.shape[:2]}, got {label.shape}")
        inside = _inner_pixels(label, count)
        if not inside.any():
            return torch.zeros(count, self.dim)
        segment = label[inside].astype(np.int64)
        rgb = np.asarray(cv2.medianBlur(image, SMOOTHING_PX), np.uint8)[inside]
        spread = _pixel_spread(rgb, segment, count)
        has_pixels = spread.any(axis=1)
        whole = np.zeros_like(spread)
        whole[has_pixels] = memberships(_middle_colours(rgb, segment, count)[has_pixels])
        return torch.from_numpy(np.sqrt((1.0 - WHOLE_SHARE) * spread + WHOLE_SHARE * whole).astype(np.float32))

    def understand(self, text: str) -> Prompt:
        """The colours that a text names, with the words that are no colours."""
        rows, unknown = colours_in(text)
        accepted = np.zeros(self.dim, np.float32)
        for row in rows:
            accepted = np.maximum(accepted, acceptance(int(colour_table().families[row])))
        feature = accepted / max(float(np.linalg.norm(accepted)), 1.0)
        return Prompt(text=text, feature=torch.from_numpy(feature), unknown_words=unknown, encoder=self.identity)

    def relevancy(self, features: Tensor, prompt: Prompt) -> Tensor:
        """How much of each feature [..., D] is for the prompt, against its strongest rival.

        Every family's share of the segment is split by the prompt's acceptance a of it: a for, 1 - a against. The
        score is all that is for, over that plus the strongest rival; 0.5 is a tie. Rivals are the families that are
        accepted in part, taken together; black, grey and white, taken together; and every other family by itself.
        """
        if not prompt.is_understood:
            return torch.zeros(features.shape[:-1])
        accepted = (prompt.feature / prompt.feature.max()).to(features)
        share = features.square()
        against = share * (1.0 - accepted)
        is_kin = accepted > 0.0
        is_neutral = torch.tensor([name in NEUTRALS for name in FAMILIES], device=features.device) & ~is_kin
        rivals = [
            (against * is_kin).sum(dim=-1),
            (against * is_neutral).sum(dim=-1),
            (against * ~(is_kin | is_neutral)).amax(dim=-1),
        ]
        support = (share * accepted).sum(dim=-1)
        return support / (support + torch.stack(rivals).amax(dim=0)).clamp_min(torch.finfo(share.dtype).tiny)


def _inner_pixels(label: NDArray, count: int) -> NDArray[np.bool_]:
    """The pixels of segments, without their rims (whose colour is mixed) where a segment has more than a rim."""
    kernel = np.ones((3, 3), np.uint8)
    as_float = label.astype(np.float32)
    inner = (cv2.erode(as_float, kernel) == as_float) & (cv2.dilate(as_float, kernel) == as_float)
    known = (label != NONE) & (label < count)
    if not count:
        return known
    has_inner = np.bincount(label[inner & known], minlength=count) > 0
    return known & (inner | ~has_inner[np.where(known, label, 0)])


def _pixel_spread(rgb: NDArray[np.uint8], segment: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """The mean family membership [M, F] of each segment's pixels."""
    coarse = rgb.astype(np.int64) >> BIN_SHIFT
    levels = 256 >> BIN_SHIFT
    code = (coarse[:, 0] * levels + coarse[:, 1]) * levels + coarse[:, 2]
    _, bins, size = np.unique(code, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(bins, weights=rgb[:, c], minlength=len(size)) for c in range(3)], axis=1)
    pixels = np.bincount(segment, minlength=count).astype(np.float32)
    counted = coo_array((1.0 / pixels[segment], (segment, bins)), shape=(count, len(size))).tocsr()
    return (counted @ memberships(lab_of(mean / size[:, None]))).astype(np.float32)


def _middle_colours(rgb: NDArray[np.uint8], segment: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """The median CIELAB colour [M, 3] of each segment, channel by channel, to half a unit."""
    lab = lab_of(rgb)
    medians = np.zeros((count, 3), np.float32)
    for channel, lowest in enumerate(LAB_LOWEST):
        step = np.clip((lab[:, channel] - lowest) * LAB_STEPS, 0, LAB_BINS - 1).astype(np.int64)
        counts = np.bincount(segment * LAB_BINS + step, minlength=count * LAB_BINS).reshape(count, LAB_BINS)
        reached = counts.cumsum(axis=1) * 2 >= counts.sum(axis=1, keepdims=True)
        medians[:, channel] = lowest + (reached.argmax(axis=1) + 0.5) / LAB_STEPS
    return medians
