# SPDX-License-Identifier: Apache-2.0
"""Masks as a video model would carry them from frame to frame: lost when things hide, slipping onto neighbours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.synthetic.perceived_masks import jittered, neighbours
from ccl_lgs_ros.synthetic.perception_noise import PerceptionNoise, chance
from ccl_lgs_ros.synthetic.truth import FrameTruth

Mask = NDArray[np.bool_]

MAIN_SHARE = 0.2  # share of a prompted mask that a thing must fill to be followed
COVERED = 0.3  # share of a thing that the mask must cover for it


@dataclass(slots=True)
class _Follower:
    """What one prompt follows."""

    regions: set[int]  # things, or parts where the prompt was less than a thing
    is_part: bool
    was_seen: bool = True
    is_lost: bool = False


def followed_masks(
    truths: Sequence[FrameTruth], prompts: NDArray[np.bool_], noise: PerceptionNoise, key: tuple[int, ...]
) -> Iterator[NDArray[np.bool_]]:
    """The masks [K, H, W] in each frame, from the prompted one on; equal keys give equal masks.

    Args:
        truths: of the frames in the order in which the video runs, the prompted one first.
        prompts: [K, H, W] in the first frame.
    """
    random = np.random.default_rng([*key, 47])
    followers = [_follower(mask, truths[0]) for mask in prompts]
    yield prompts.copy()
    for truth in truths[1:]:
        yield np.stack([_step(follower, truth, noise, random) for follower in followers])


def _follower(mask: Mask, truth: FrameTruth) -> _Follower:
    whole = _covered_regions(mask, truth.things)
    if whole:
        return _Follower(regions=whole, is_part=False)
    parts = _covered_regions(mask, truth.parts)
    if not parts and mask.any():
        parts = {int(np.bincount(truth.parts[mask]).argmax())}
    return _Follower(regions=parts, is_part=True)


def _covered_regions(mask: Mask, labels: NDArray[np.int32]) -> set[int]:
    """The regions that fill a good share of a mask and are mostly covered by it."""
    found = set()
    for label, count in zip(*np.unique(labels[mask], return_counts=True), strict=True):
        is_main = count >= MAIN_SHARE * mask.sum()
        if is_main and count >= COVERED * (labels == label).sum():
            found.add(int(label))
    return found


def _step(follower: _Follower, truth: FrameTruth, noise: PerceptionNoise, random: np.random.Generator) -> Mask:
    labels = truth.parts if follower.is_part else truth.things
    nothing = np.zeros(labels.shape, np.bool_)
    if follower.is_lost:
        return nothing
    mask = np.isin(labels, list(follower.regions))
    if not mask.any():
        follower.was_seen = False
        return nothing
    if not follower.was_seen and random.random() >= noise.find_again:
        follower.is_lost = True
        return nothing
    follower.was_seen = True
    hidden = 1.0 - float(truth.seen[np.unique(truth.things[mask])].mean())
    if random.random() < chance(noise.lose, hidden):
        follower.is_lost = True
        return nothing
    if random.random() < noise.slip:
        found, count = neighbours(mask, labels)
        if len(found):
            follower.regions = follower.regions | {int(found[count.argmax()])}
            mask = np.isin(labels, list(follower.regions))
    return jittered(mask, noise.jitter, random)
