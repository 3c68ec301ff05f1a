# SPDX-License-Identifier: Apache-2.0
"""What one keyframe shows: its segments at every level, each with its language vector, kept for the next time."""

from collections.abc import Mapping
from typing import Protocol

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.masks.levels import label_map
from ccl_lgs_ros.options import MaskOptions
from ccl_lgs_ros.protocols import Encoder, Segmenter
from ccl_lgs_ros.structures import Segments


class SegmentCache(Protocol):
    """Where the segments of keyframes are kept."""

    def load(self, keyframe_id: int) -> Mapping[str, Segments] | None: ...

    def save(self, keyframe_id: int, segments: Mapping[str, Segments]) -> None: ...


class Perceiver:
    """Runs the models over a keyframe, once."""

    def __init__(self, segmenter: Segmenter, encoder: Encoder, options: MaskOptions, cache: SegmentCache) -> None:
        self._segmenter, self._encoder, self._options, self._cache = segmenter, encoder, options, cache

    def segments(self, keyframe: Keyframe) -> Mapping[str, Segments]:
        """The segments of a keyframe by level."""
        known = self._cache.load(keyframe.id)
        if known is not None:
            return known
        options = self._options
        proposals = self._segmenter.propose(keyframe)
        segments = {}
        for level in options.level_names:
            labels, quality = label_map(
                proposals,
                level,
                min_area_px=options.min_area_px,
                min_quality=options.min_quality,
                max_overlap=options.max_overlap,
                max_inner=options.max_inner,
            )
            features = self._encoder.encode_segments(keyframe.image, labels, len(quality)).cpu()
            segments[level] = Segments(labels=labels.cpu(), features=features, quality=quality.cpu())
        self._cache.save(keyframe.id, segments)
        return segments
