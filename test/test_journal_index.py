# SPDX-License-Identifier: Apache-2.0
"""Who repeats a journal elsewhere knows what each of its lines still says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from test_keyframe_store import keyframe, writer

from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.storage.journal_index import CORRECTION
from ccl_lgs_ros.storage.keyframe_pixels import EncodedPixels
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory


def test_lines_that_later_ones_took_over_say_nothing_and_a_reader_finds_the_same(tmp_path: Path) -> None:
    directory = MapDirectory.create(tmp_path / "map")
    moved = lambda x: rigid(np.eye(3), np.array([x, 0.0, 0.0]))  # noqa: E731
    with writer(directory) as store:
        store.append(keyframe(1))
        store.append(keyframe(2))
        store.correct({("front", 1): moved(1.0), ("front", 2): moved(1.0)})
        store.append(keyframe(3))
        store.correct({("front", 2): moved(2.0)})
        for index in (store.index, KeyframeStore(directory).index):
            assert [index.keyframe_of(line) for line in range(len(index))] == [0, 1, CORRECTION, 2, CORRECTION]
            assert [index.moved_by(line) for line in (2, 4)] == [[0], [1]]


def test_pixels_that_are_encoded_already_are_stored_as_they_are(tmp_path: Path) -> None:
    pixels = EncodedPixels.of(keyframe(1), 40)
    with writer(MapDirectory.create(tmp_path / "map"), jpeg_quality=95) as store:
        assert store.append(replace(keyframe(1), id=77), pixels)
        (entry,) = store.entries
        assert (entry.id, entry.num_bytes) == (0, pixels.num_bytes)
        assert (store.path / entry.image_name).read_bytes() == pixels.image
        assert (store.path / entry.depth_name).read_bytes() == pixels.depth
        assert not entry.label_name
