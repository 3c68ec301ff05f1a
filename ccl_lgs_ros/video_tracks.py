# SPDX-License-Identifier: Apache-2.0
"""Tracks from a video model: in place of those of shared Gaussians, or as a second vote on them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.association.second_vote import agreed
from ccl_lgs_ros.association.tracker import tracked
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.labelling import SegmentTable
from ccl_lgs_ros.parts import Parts
from ccl_lgs_ros.protocols import Progress
from ccl_lgs_ros.recent import Recent
from ccl_lgs_ros.recollection import Recollection


def with_video(
    table: SegmentTable, level: str, seen: Recollection, parts: Parts, config: MapConfig, progress: Progress
) -> SegmentTable:
    """The table of one level with the tracks that the options ask for."""
    assert parts.propagator is not None
    options = config.association

    def image(index: int) -> NDArray[np.uint8]:
        return seen.keyframes[index].image

    def labels(index: int) -> Tensor:
        return seen.perceiver.segments(seen.keyframes[index])[level].labels

    followed = tracked(
        Recent(lambda: len(seen), image, options.window),
        Recent(lambda: len(seen), labels, options.window),
        table.start.diff().tolist(),
        parts.propagator,
        match_iou=options.match_iou,
        reseed=options.reseed,
        backward=options.backward,
        window=options.window,
        progress=progress,
    )
    track = table.track.new_tensor([t for rows in followed for t in rows.tolist()])
    if options.associator != "tracker":
        track = agreed(
            table.track, track, table.keyframe, table.features, table.weight, min_agreement=options.min_agreement
        )
    return replace(table, track=track)
