# SPDX-License-Identifier: Apache-2.0
"""Corrected poses of stored keyframes: durable, seen by readers, all or none."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_keyframe_store import keyframe

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import rigid, rotation_from_quat
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

BETTER = rigid(rotation_from_quat(np.array([0.8, 0.2, 0.1, -0.4])), np.array([0.1, 1 / 3, -7.0]))


@pytest.fixture
def directory(tmp_path: Path) -> MapDirectory:
    return MapDirectory.create(tmp_path / "map")


@pytest.fixture
def store(directory: MapDirectory) -> KeyframeStore:
    store = KeyframeStore(directory, writable=True)
    for stamp in (1, 2, 3):
        assert store.append(keyframe(stamp))
    return store


def test_a_corrected_pose_is_seen_by_readers_and_after_a_restart(directory: MapDirectory, store: KeyframeStore) -> None:
    reader = KeyframeStore(directory)
    before = reader[1]
    assert store.correct({("front", 2): BETTER, ("front", 99): BETTER, ("left", 2): BETTER}) == 1
    assert reader.refresh() == 0 and reader.revision == store.revision == 1
    for found in (store, reader, KeyframeStore(directory)):
        assert np.array_equal(found[1].world_from_camera, BETTER)
        assert np.array_equal(found[1].image, before.image)
        assert np.array_equal(found[0].world_from_camera, before.world_from_camera)
        assert [entry.revision for entry in found.entries] == [0, 1, 0]


def test_other_tools_see_corrected_poses(directory: MapDirectory, store: KeyframeStore) -> None:
    store.correct({("front", 3): BETTER})
    frames = json.loads((directory.keyframes_path / "transforms.json").read_text())["frames"]
    assert np.allclose(np.array(frames[2]["transform_matrix"]) @ np.diag([1, -1, -1, 1]), BETTER)


def test_a_pose_that_stays_is_no_correction(directory: MapDirectory, store: KeyframeStore) -> None:
    length = (directory.keyframes_path / "keyframes.jsonl").stat().st_size
    assert store.correct({("front", 1): store[0].world_from_camera}) == 0
    assert store.revision == 0 and (directory.keyframes_path / "keyframes.jsonl").stat().st_size == length


@pytest.mark.parametrize("pose", [np.full((4, 4), np.nan), np.zeros((4, 4)), 2 * np.eye(4), np.eye(3)])
def test_one_pose_that_is_none_leaves_all_where_they_are(store: KeyframeStore, pose: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a"):
        store.correct({("front", 1): BETTER, ("front", 2): pose})
    assert store.revision == 0 and not np.array_equal(store[0].world_from_camera, BETTER)


def test_a_torn_correction_is_as_if_it_had_not_been(directory: MapDirectory, store: KeyframeStore) -> None:
    store.correct({("front", 1): BETTER, ("front", 2): BETTER})
    store.close()
    journal = directory.keyframes_path / "keyframes.jsonl"
    journal.write_bytes(journal.read_bytes()[:-10])
    again = KeyframeStore(directory, writable=True)
    assert again.revision == 0 and len(again) == 3
    assert again.append(keyframe(4)) and again.correct({("front", 4): BETTER}) == 1


@pytest.mark.parametrize("line", ['{"corrected": {"7": %s}}', '{"corrected": {"0": [[1, 2]]}}', '{"corrected": 3}'])
def test_a_damaged_correction_is_named(directory: MapDirectory, store: KeyframeStore, line: str) -> None:
    store.close()
    with (directory.keyframes_path / "keyframes.jsonl").open("a") as file:
        file.write((line.replace("%s", json.dumps(np.eye(4).tolist())) if "%s" in line else line) + "\n")
    with pytest.raises(MapError, match=r"keyframes\.jsonl"):
        KeyframeStore(directory)


def test_a_reader_cannot_correct(directory: MapDirectory, store: KeyframeStore) -> None:
    with pytest.raises(MapError, match="writable"):
        KeyframeStore(directory).correct({("front", 1): BETTER})
