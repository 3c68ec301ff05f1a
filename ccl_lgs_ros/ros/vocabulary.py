# SPDX-License-Identifier: Apache-2.0
"""What the things of a map are called, of a fixed list of names."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.level_names import coarsest
from ccl_lgs_ros.protocols import Encoder
from ccl_lgs_ros.query.relevancy import relevancy_of_tracks
from ccl_lgs_ros.structures import SemanticLevel, SemanticMap

MOST_NAMES = 65_535  # that a label of 16 bits tells apart


class Vocabulary:
    """Names, numbered from 1; 0 is what looks like none of them.

    Args:
        text: names separated by commas.
    """

    def __init__(self, text: str) -> None:
        names = (" ".join(name.split()) for name in text.split(","))
        self.names = tuple(dict.fromkeys(name for name in names if name))[:MOST_NAMES]
        self._known: tuple[tuple[str, int, float], NDArray[np.uint16]] | None = None

    def label_of_track(self, semantic_map: SemanticMap, encoder: Encoder, threshold: float) -> NDArray[np.uint16]:
        """The name's number [T] of each track at the whole level: what it looks most like, if enough."""
        key = (semantic_map.map_id, semantic_map.version, threshold)
        if self._known is None or self._known[0] != key:
            self._known = (key, self._labels(whole_level(semantic_map), encoder, threshold))
        return self._known[1]

    def counts(self, semantic_map: SemanticMap, encoder: Encoder, threshold: float) -> list[tuple[str, int]]:
        """Names and how many things have each, the most frequent first, without those that none has."""
        level = whole_level(semantic_map)
        if level is None:
            return []
        has_gaussians = np.bincount(level.track_of_gaussian.numpy() + 1, minlength=level.num_tracks + 1)[1:] > 0
        labels = self.label_of_track(semantic_map, encoder, threshold)[has_gaussians]
        count = np.bincount(labels, minlength=len(self.names) + 1)[1:]
        ranked = [int(i) for i in np.argsort(-count, kind="stable") if count[i]]
        return [(self.names[i], int(count[i])) for i in ranked]

    def _labels(self, level: SemanticLevel | None, encoder: Encoder, threshold: float) -> NDArray[np.uint16]:
        if level is None or not self.names:
            return np.zeros(0 if level is None else level.num_tracks, np.uint16)
        best, label = np.zeros(level.num_tracks, np.float32), np.zeros(level.num_tracks, np.uint16)
        for number, name in enumerate(self.names, start=1):
            relevancy = encoder.relevancy(level.codebook.entries, encoder.understand(name))
            of_track = relevancy_of_tracks(level, relevancy).numpy()
            is_better = (of_track >= threshold) & (of_track > best)
            best[is_better], label[is_better] = of_track[is_better], number
        return label


def label_of_gaussian(level: SemanticLevel, label_of_track: Sequence[int] | NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The label [N] of each Gaussian: that of its track; 0 where it has none."""
    table = np.append(np.asarray(label_of_track, np.uint16), np.uint16(0))  # -1 reads the last place
    return table[level.track_of_gaussian.numpy()]


def whole_level(semantic_map: SemanticMap) -> SemanticLevel | None:
    """The coarsest level that the map has."""
    return semantic_map.levels.get(coarsest(semantic_map.levels))
