# SPDX-License-Identifier: Apache-2.0
"""Masks as a promptable segmenter would propose them for a frame whose truth is known: merged, split, missed, jittered.

Errors of one frame do not depend on those of another, as with a segmenter that sees single images.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.structures import MaskProposals
from ccl_lgs_ros.synthetic.perception_noise import PerceptionNoise, chance, size_difficulty
from ccl_lgs_ros.synthetic.truth import FrameTruth

Mask = NDArray[np.bool_]

SUBPART, PART, WHOLE = 0, 1, 2
BELIEF = {WHOLE: 0.93, PART: 0.88, SUBPART: 0.80}  # predicted IoU and stability of a good mask, by granularity
SPURIOUS_BELIEF = 0.75
JITTER_SCALE = 0.25  # wavelength of the boundary's waves over the square root of the area
REACH = 1.0  # how far a mask that runs into the room reaches, over the square root of its area
MIN_PX = 4  # pixels under which nothing is proposed
BLOB_SHARE = (0.004, 0.04)  # share of the image that a spurious segment covers


def perceived_masks(truth: FrameTruth, noise: PerceptionNoise, key: tuple[int, ...]) -> MaskProposals:
    """The proposals for a frame; equal keys (seed, frame) give equal masks.

    Wholes are the things in view (granularity 2), parts the parts of those that have several (1); a mask that splits
    gives subparts (0) as well. Without noise the masks are exact.
    """
    random = np.random.default_rng([*key, 31])
    found: list[tuple[Mask, int, float]] = []
    for granularity, labels in ((WHOLE, truth.things), (PART, truth.parts)):
        for label in np.unique(labels):
            mask = labels == label
            thing = int(truth.things[mask][0])
            found += _proposed(mask, thing, granularity, truth, noise, random)
    found += _spurious(truth, noise, random)
    found = [(mask, granularity, belief) for mask, granularity, belief in found if mask.sum() >= MIN_PX]
    return _proposals(found, truth.things.shape, noise, random)


def jittered(mask: Mask, amount: float, random: np.random.Generator) -> Mask:
    """A mask whose boundary wanders by about `amount` times the square root of its area."""
    if amount <= 0 or not mask.any():
        return mask
    side = float(np.sqrt(mask.sum()))
    height, width = mask.shape
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    step = max(1.0, JITTER_SCALE * side)
    coarse = random.normal(size=(max(2, round(height / step)), max(2, round(width / step)))).astype(np.float32)
    waves = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return inside - outside + amount * side * waves > np.where(mask, 0.0, 0.5)


def neighbours(mask: Mask, things: NDArray[np.int32]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The things along the rim of a mask, and how many pixels of the rim each has."""
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~mask
    found, count = np.unique(things[rim], return_counts=True)
    return found, count


def difficulty_of(mask: Mask, thing: int, truth: FrameTruth, noise: PerceptionNoise) -> float:
    """How hard a mask of a thing is to see right, 0 to 1: small, or of a thing that is mostly hidden."""
    small = size_difficulty(float(mask.mean()), noise.small_share)
    return 1.0 - (1.0 - small) * float(truth.seen[thing])


def _proposed(
    mask: Mask, thing: int, granularity: int, truth: FrameTruth, noise: PerceptionNoise, random: np.random.Generator
) -> list[tuple[Mask, int, float]]:
    difficulty = difficulty_of(mask, thing, truth, noise)
    is_missed, is_merged, is_split = random.random(3) < [
        chance(noise.miss, difficulty),
        chance(noise.merge, difficulty),
        chance(noise.split, difficulty),
    ]
    if is_missed:
        return []
    if is_merged:
        mask = _merged(mask, truth, random)
    if is_split:
        return [
            (jittered(piece, noise.jitter, random), level, BELIEF[level])
            for piece in _halves(mask, random)
            for level in {granularity, SUBPART}
        ]
    return [(jittered(mask, noise.jitter, random), granularity, BELIEF[granularity])]


def _merged(mask: Mask, truth: FrameTruth, random: np.random.Generator) -> Mask:
    """A mask together with a neighbour: all of an object, or what is near of the room."""
    found, count = neighbours(mask, truth.things)
    own = truth.things[mask][0]
    count = np.where(found == own, 0, count)
    if count.sum() == 0:
        return mask
    other = int(random.choice(found, p=count / count.sum()))
    added = truth.things == other
    if other >= truth.num_objects:
        reach = REACH * float(np.sqrt(mask.sum())) * random.uniform(0.3, 1.0)
        added &= cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) < reach
    return mask | added


def _halves(mask: Mask, random: np.random.Generator) -> tuple[Mask, Mask]:
    """A mask cut along a random line near its middle."""
    rows, columns = np.nonzero(mask)
    angle = random.uniform(0, np.pi)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    along = np.cos(angle) * x + np.sin(angle) * y
    cut = np.quantile(np.cos(angle) * columns + np.sin(angle) * rows, random.uniform(0.3, 0.7))
    return mask & (along < cut), mask & (along >= cut)


def _spurious(truth: FrameTruth, noise: PerceptionNoise, random: np.random.Generator) -> list[tuple[Mask, int, float]]:
    """Patches of the room that no thing ends at."""
    height, width = truth.things.shape
    free = truth.things >= truth.num_objects
    found = []
    y, x = np.mgrid[:height, :width]
    for _ in range(random.poisson(noise.spurious)):
        area = random.uniform(*BLOB_SHARE) * height * width
        stretch, angle = random.uniform(0.4, 1.0), random.uniform(0, np.pi)
        dx, dy = x - random.uniform(0, width), y - random.uniform(0, height)
        u = (np.cos(angle) * dx + np.sin(angle) * dy) * stretch
        v = np.cos(angle) * dy - np.sin(angle) * dx
        blob = (u * u + v * v < area * stretch / np.pi) & free
        found.append((jittered(blob, noise.jitter, random), int(random.integers(3)), SPURIOUS_BELIEF))
    return found


def _proposals(
    found: list[tuple[Mask, int, float]],
    shape: tuple[int, int],
    noise: PerceptionNoise,
    random: np.random.Generator,
) -> MaskProposals:
    masks = np.stack([mask for mask, _, _ in found]) if found else np.zeros((0, *shape), np.bool_)
    belief = np.array([belief for _, _, belief in found], dtype=np.float32)
    beliefs = np.clip(belief + noise.belief * random.normal(size=(2, len(found))), 0.05, 1.0)
    return MaskProposals(
        masks=torch.from_numpy(masks),
        predicted_iou=torch.from_numpy(beliefs[0].astype(np.float32)),
        stability=torch.from_numpy(beliefs[1].astype(np.float32)),
        granularity=torch.tensor([granularity for _, granularity, _ in found], dtype=torch.int64),
    )
