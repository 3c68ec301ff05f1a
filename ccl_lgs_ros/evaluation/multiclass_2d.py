# SPDX-License-Identifier: Apache-2.0
"""The protocols of the 3D-OVS data set, whose scenes have a closed list of classes.

`iou` and `accuracy` are multi-class (3D-OVS, Liu et al., NeurIPS 2023): each pixel is the class of highest relevancy.
`mask_iou` is of a mask per class, at the level and threshold at which it is most stable (Occam's LGS, Cheng et al.,
BMVC 2025, as its published evaluation computes them); that level gives the class's relevancy for the former too.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import medfilt

from ccl_lgs_ros.evaluation.langsplat_2d import Image, NamedView, RelevancySubject, majority, normalised, relevancies_of
from ccl_lgs_ros.evaluation.metrics import Mask, mask_iou
from ccl_lgs_ros.evaluation.peer_scores import PeerUnit
from ccl_lgs_ros.protocols import Progress, no_progress

STABILITY = 0.4  # change of mean response and of mask size per unit of threshold, under which a mask is stable
MIN_SIZE, MAX_SIZE = 0.005, 0.9  # share of the image that a candidate mask may take
THRESHOLDS = np.arange(1, 100) / 100.0  # that are tried
MIN_RUN = 5  # neighbouring thresholds that must be stable
MEDIAN_WINDOW = 5  # thresholds over which changes are smoothed
UNSTABLE_THRESHOLD = 0.5  # where no threshold is stable

NOTHING = -1


def multiclass_2d(
    subject: RelevancySubject,
    views: Sequence[NamedView],
    classes: Sequence[str],
    *,
    progress: Progress = no_progress,
) -> tuple[PeerUnit, ...]:
    """The IoUs of every class in every view, and of every view the share of labelled pixels that are right.

    A class that a view does not show is not scored there; pixels without a label count nowhere in `iou`. Views
    without any label are passed over.
    """
    units = []
    views = [view for view in views if any(mask.any() for mask in view.masks.values())]
    for done, view in enumerate(views):
        responses, masks = [], {}
        for name, levels in relevancies_of(subject, classes, view):
            level, threshold = stable_choice(levels)
            masks[name] = majority(normalised(levels[level]) > threshold)
            responses.append(levels[level])
        truth = label_image(view.masks, classes)
        predicted = np.where(truth == NOTHING, NOTHING, np.argmax(responses, axis=0))
        for index, name in enumerate(classes):
            if name in view.masks:
                iou = mask_iou(predicted == index, truth == index)
                values = {"iou": iou, "mask_iou": mask_iou(masks[name], view.masks[name])}
                units.append(PeerUnit(prompt=name, view=view.stem, values=values))
        labelled = truth != NOTHING
        accuracy = float((predicted == truth)[labelled].mean())
        units.append(PeerUnit(prompt="", view=view.stem, values={"accuracy": accuracy}))
        progress("evaluate", done + 1, len(views))
    return tuple(units)


def label_image(masks: Mapping[str, Mask], classes: Sequence[str]) -> NDArray[np.int64]:
    """The class [H, W] of each pixel, the first where masks overlap, -1 where there is none."""
    found = np.full(next(iter(masks.values())).shape, NOTHING, dtype=np.int64)
    for index in reversed(range(len(classes))):
        if classes[index] in masks:
            found[masks[classes[index]]] = index
    return found


def stable_choice(levels: Sequence[Image]) -> tuple[int, float]:
    """The level, and the threshold of its normalised relevancy, at which a mask changes least.

    A threshold is stable where the mean response inside the mask and the size of the mask change slowly with it and
    the mask is neither a speck nor the image. The last run of stable thresholds of each level is looked at: the level
    whose mean response changes least along its run wins, at the middle of the run. Without any run it is the first
    level at one half.
    """
    best, choice = np.inf, (0, UNSTABLE_THRESHOLD)
    for level, image in enumerate(levels):
        response, size = response_and_size(normalised(image))
        run = _last_run(_is_stable(response, size))
        if run is not None:
            first, last = run
            span = THRESHOLDS[last] - THRESHOLDS[first]
            change = (response[last] - response[first]) / (span + 1e-9)
            if change < best:
                best, choice = change, (level, float(THRESHOLDS[first] + THRESHOLDS[last]) / 2)
    return choice


def response_and_size(image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each of THRESHOLDS, the mean of what of an image [H, W] in [0, 1] is above it (0 without any) and its share
    of the image."""
    ascending = np.sort(image, axis=None)
    total = ascending.sum() - np.concatenate([[0.0], np.cumsum(ascending)])
    below = np.searchsorted(ascending, THRESHOLDS, side="right")
    count = ascending.size - below
    return np.where(count > 0, total[below] / np.maximum(count, 1), 0.0), count / ascending.size


def _is_stable(response: NDArray[np.float64], size: NDArray[np.float64]) -> Mask:
    changes = [np.abs(np.gradient(values, THRESHOLDS)) for values in (response, size)]
    slow = [medfilt(change, MEDIAN_WINDOW) < STABILITY for change in changes]
    return slow[0] & slow[1] & (size > MIN_SIZE) & (size < MAX_SIZE)


def _last_run(is_stable: Mask) -> tuple[int, int] | None:
    """The last run of at least MIN_RUN stable thresholds: its first, and the one that ends it, as published: the first
    unstable one, or the last of all."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_stable, [False]]).astype(np.int8)))
    runs = [(int(start), int(end)) for start, end in edges.reshape(-1, 2) if end - start >= MIN_RUN]
    return (runs[-1][0], min(runs[-1][1], len(is_stable) - 1)) if runs else None
