# SPDX-License-Identifier: Apache-2.0
"""LangSplat's protocol: a mask cut from the relevancy image relative to its own extremes, and the place of its peak.

Every prompt that something answers in the least returns something, for the threshold is relative; `fixed_threshold`
is the protocol that can say no. Source: LangSplat (Qin et al., CVPR 2024), as its published evaluation computes it.

Borders: the mean filter mirrors the image about its outermost pixels; the majority window is cut off at the border,
and the last row and column have no vote in it, as published.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.evaluation.metrics import Mask, mask_iou
from ccl_lgs_ros.evaluation.peer_scores import PeerUnit
from ccl_lgs_ros.evaluation.protocols import View
from ccl_lgs_ros.protocols import Progress, no_progress

MEAN_WINDOW = 30  # pixels at the size of the labels
MAJORITY_WINDOW = 7  # pixels
MASK_THRESHOLD = 0.4  # of the normalised relevancy after its lower half is cut off: 0.7 of its range
PROMPTS_AT_ONCE = 16  # bounds the memory that relevancy images take
TIE = 1e-6  # relative difference up to which peaks are tied; renderings are no more exact than that

Image = NDArray[np.floating]


class NamedView(View, Protocol):
    """A labelled view that has a name."""

    @property
    def stem(self) -> str: ...


class RelevancySubject(Protocol):
    """What is scored: something that has a relevancy image for each prompt and level."""

    def relevancies(
        self, prompts: Sequence[str], camera: Camera, world_from_camera: NDArray[np.float64]
    ) -> Mapping[str, Image]:  # level -> [P, H, W] in [0, 1]
        """The relevancy of each prompt at every level, seen from a camera."""
        ...


def langsplat_2d(
    subject: RelevancySubject,
    views: Sequence[NamedView],
    *,
    mask_threshold: float = MASK_THRESHOLD,
    progress: Progress = no_progress,
) -> tuple[PeerUnit, ...]:
    """IoU and localisation of every labelled prompt in every view of a scene."""
    units = []
    for done, view in enumerate(views):
        for prompt, levels in relevancies_of(subject, list(view.masks), view):
            values = {
                "iou": mask_iou(relevancy_mask(levels, mask_threshold), view.masks[prompt]),
                "localised": float(is_peak_inside(levels, view.boxes[prompt])),
            }
            units.append(PeerUnit(prompt=prompt, view=view.stem, values=values))
        progress("evaluate", done + 1, len(views))
    return tuple(units)


def relevancies_of(
    subject: RelevancySubject, prompts: Sequence[str], view: View
) -> Iterator[tuple[str, list[NDArray[np.float64]]]]:
    """Each prompt with its relevancy image [H, W] at every level."""
    for first in range(0, len(prompts), PROMPTS_AT_ONCE):
        block = prompts[first : first + PROMPTS_AT_ONCE]
        images = subject.relevancies(block, view.camera, view.world_from_camera)
        for index, prompt in enumerate(block):
            yield prompt, [np.asarray(of_level[index], dtype=np.float64) for of_level in images.values()]


def relevancy_mask(levels: Sequence[Image], threshold: float = MASK_THRESHOLD) -> Mask:
    """The mask [H, W] of a prompt: that of the level whose half-smoothed relevancy peaks highest, the first of equals.

    Args:
        levels: the relevancy image [H, W] at each level.
        threshold: of the half-smoothed relevancy after it is stretched to [-1, 1] and its negative part cut off.
    """
    blended = [0.5 * (mean_filtered(image) + image) for image in levels]
    chosen = blended[int(np.argmax([image.max() for image in blended]))]
    return majority(np.clip(2.0 * normalised(chosen) - 1.0, 0.0, 1.0) > threshold)


def is_peak_inside(levels: Sequence[Image], boxes: NDArray[np.floating]) -> bool:
    """Whether a peak of the smoothed relevancy lies in any of the boxes [n, 4] (two corners, in pixels).

    The level of the highest peak counts; of several equal peaks there, any. Relevancy that is the same everywhere has
    no peak, where the published evaluation counts a hit.
    """
    averaged = [mean_filtered(image) for image in levels]
    chosen = averaged[int(np.argmax([image.max() for image in averaged]))]
    peak = chosen.max()
    if peak - chosen.min() <= TIE:
        return False
    rows, columns = np.nonzero(chosen >= peak - TIE * abs(peak))
    corners = np.sort(np.asarray(boxes, dtype=np.float64).reshape(-1, 2, 2), axis=1)
    (left, top), (right, bottom) = corners[:, 0].T[..., None], corners[:, 1].T[..., None]
    return bool(((columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)).any())


def mean_filtered(image: Image) -> NDArray[np.float64]:
    """The mean [H, W] over the 30 x 30 pixels from 15 before to 14 after each."""
    blurred = cv2.blur(np.asarray(image, dtype=np.float64), (MEAN_WINDOW, MEAN_WINDOW))
    return np.asarray(blurred, dtype=np.float64)


def normalised(image: Image) -> NDArray[np.float64]:
    """An image [H, W] stretched from its own minimum and maximum to 0 and 1; 0 where it is the same everywhere."""
    low = image.min()
    return (image - low) / (image.max() - low + 1e-9)


def majority(mask: Mask) -> Mask:
    """What most pixels of the 7 x 7 around each of [H, W] are; what is outside the image or in its last row or column
    does not count, and a tie is background."""
    votes = np.ones(mask.shape, dtype=np.float32)
    votes[-1], votes[:, -1] = 0.0, 0.0
    return 2.0 * _window_sum(mask * votes) > _window_sum(votes)


def _window_sum(image: NDArray[np.float32]) -> NDArray[np.float32]:
    size = (MAJORITY_WINDOW, MAJORITY_WINDOW)
    return np.asarray(
        cv2.boxFilter(image, cv2.CV_32F, size, normalize=False, borderType=cv2.BORDER_CONSTANT), dtype=np.float32
    )
