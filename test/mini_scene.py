# SPDX-License-Identifier: Apache-2.0
"""A scene of boxes covered with Gaussians, and votes made up as views of it, without any rendering."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.association.geometric import GeometricAssociator
from ccl_lgs_ros.association.tracks import extended, merged, relabelled
from ccl_lgs_ros.codebook.online import OnlineFitter
from ccl_lgs_ros.field.registration import RegistrationLifter
from ccl_lgs_ros.structures import (
    NONE,
    Codebook,
    Gaussians,
    Segments,
    SemanticLevel,
    SemanticMap,
    Tracks,
    Votes,
    VoteTable,
)

RED, BLUE, GREEN = torch.eye(8)[:3]


def associator() -> GeometricAssociator:
    return GeometricAssociator(min_overlap=0.25, min_agreement=0.7, min_votes=10.0)


def lifter() -> RegistrationLifter:
    return RegistrationLifter(slots=4, min_confidence=0.3, min_labelled=0.2)


def box_surface(
    center: tuple[float, float, float], size: tuple[float, float, float], seed: int = 0, spacing: float = 0.01
) -> NDArray[np.float32]:
    """Points [n, 3] on the four sides and the top of a box that stands on the ground."""
    generator = np.random.default_rng(seed)
    faces = []
    for axis, sign in ((0, -1), (0, 1), (1, -1), (1, 1), (2, 1)):
        others = [a for a in range(3) if a != axis]
        count = max(int(size[others[0]] * size[others[1]] / spacing**2), 1)
        face = generator.uniform(-0.5, 0.5, (count, 3))
        face[:, axis] = 0.5 * sign
        faces.append(face * size + center)
    return np.concatenate(faces).astype(np.float32)


def gaussians_at(points: NDArray[np.floating] | Tensor, scale: float = 0.006) -> Gaussians:
    means = torch.as_tensor(points, dtype=torch.float32)
    n = len(means)
    return Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(n, 1),
        log_scales=torch.full((n, 3), scale).log(),
        logit_opacities=torch.full((n,), 3.0),
        sh=torch.zeros(n, 1, 3),
    )


def votes_of(segment_of_gaussian: Tensor, is_visible: Tensor | None = None) -> Votes:
    """One vote of weight 1 from each visible Gaussian for its segment [N], -1 none."""
    visible = torch.ones(len(segment_of_gaussian), dtype=torch.bool) if is_visible is None else is_visible
    gaussian = torch.nonzero((segment_of_gaussian != NONE) & visible)[:, 0]
    return Votes(
        gaussian=gaussian,
        label=segment_of_gaussian[gaussian].long(),
        weight=torch.ones(len(gaussian)),
        visibility=visible.float(),
    )


def segments_of(features: Tensor) -> Segments:
    """Segments with these features [M, D]; their pixels play no part here."""
    return Segments(
        labels=torch.full((2, 2), NONE, dtype=torch.int32), features=features, quality=torch.ones(len(features))
    )


class Mapper:
    """The live path over made-up views."""

    def __init__(self, num_gaussians: int, dim: int = 8, slots: int = 4) -> None:
        self.table = VoteTable.empty(num_gaussians, slots)
        self.tracks = Tracks.empty(dim)

    def add(self, segment_of_gaussian: Tensor, features: Tensor, is_visible: Tensor | None = None) -> Tensor:
        """Register a view; the track of each of its segments."""
        segments, votes = segments_of(features), votes_of(segment_of_gaussian, is_visible)
        track = associator().associate(segments, votes, self.table, self.tracks)
        self.tracks = extended(self.tracks, segments, votes, track)
        self.table = lifter().accumulate(self.table, relabelled(votes, track))
        return track

    def merge(self) -> None:
        self.tracks, self.table = merged(self.tracks, self.table, associator().merge(self.table, self.tracks))

    def track_of_gaussian(self) -> Tensor:
        return lifter().resolve(self.table)[0]

    def level(self) -> SemanticLevel:
        codebook = OnlineFitter(merge_cosine=0.95).fit(
            self.tracks.features, torch.arange(len(self.tracks)), self.tracks.weight, None
        )
        track, confidence = lifter().resolve(self.table)
        return SemanticLevel(
            track_of_gaussian=track,
            confidence=confidence,
            entry_of_track=codebook.assign(self.tracks.features),
            codebook=codebook,
        )


def map_of(points: NDArray[np.floating], track_of_gaussian: Tensor, features: Tensor) -> SemanticMap:
    """A map with one level, whose tracks have these features [T, D], each its own entry."""
    level = SemanticLevel(
        track_of_gaussian=track_of_gaussian.to(torch.int32),
        confidence=torch.full((len(points),), 255, dtype=torch.uint8),
        entry_of_track=torch.arange(len(features)),
        codebook=codebook_of(features),
    )
    return SemanticMap(gaussians=gaussians_at(points), levels={"wp": level}, encoder="test/1", version=3)


def codebook_of(entries: Tensor) -> Codebook:
    return Codebook(entries=entries, weight=torch.ones(len(entries)))


def partition(label: Tensor) -> set[frozenset[int]]:
    """The sets of places that share a label, whatever the labels are called."""
    return {frozenset(torch.nonzero(label == x)[:, 0].tolist()) for x in label.unique() if x != NONE}


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of one thread, the best of three: what else the machine does plays little part."""
    threads, seconds = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for _ in range(3):
            began = time.process_time()
            work()
            seconds.append(time.process_time() - began)
    finally:
        torch.set_num_threads(threads)
    return min(seconds)
