# SPDX-License-Identifier: Apache-2.0
"""Whatever the files of a map or a recording hold: one sentence that names the file, no crash, no hang, no escape."""

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from capture_records import drive, in_order
from damage import damaged_bytes, damaged_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ros_bags import messages_of, write_bag
from test_keyframe_store import keyframe
from test_snapshot import some_map, some_segments

from ccl_lgs_ros.errors import CclLgsError, EvaluationError, MapError
from ccl_lgs_ros.storage.bag import Bag
from ccl_lgs_ros.storage.cameras import read_cameras
from ccl_lgs_ros.storage.checkpoint import FileCheckpoint
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.ply import read_splat, write_splat
from ccl_lgs_ros.storage.segment_store import SegmentStore
from ccl_lgs_ros.storage.snapshot import load, publish
from ccl_lgs_ros.structures import SemanticMap

ROOT = Path(__file__).parents[1]
MAX_SENTENCE = 1000  # characters; paths of tests are long
SNAPSHOT = ("splat.ply", "semantics.safetensors", "snapshot.json")

fuzzed = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def sound_map(path: Path) -> Path:
    """A map with everything in it."""
    directory = MapDirectory.create(path)
    with KeyframeStore(directory, writable=True) as store:
        for stamp in range(3):
            store.append(keyframe(stamp))
    publish(directory, some_map())
    FileCheckpoint(path / "checkpoint", "work").save({"reached": torch.arange(5)})
    SegmentStore(directory.segments_path, identity="a").save(0, some_segments())
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map that tests damage in a copy, or damage and mend."""
    return sound_map(tmp_path_factory.mktemp("sound") / "map")


def outcome(read: Callable[[], Any], where: str, error: type[CclLgsError] = MapError) -> Any:
    """What reading gives, None where it is refused in one sentence that says where."""
    try:
        return read()
    except error as refused:
        text = str(refused)
        assert where in text and "\n" not in text and len(text) < MAX_SENTENCE, text[:2000]
        return None


def read_keyframes(path: Path) -> None:
    """All that a node reads of keyframes, in a form that messages can carry."""
    store = KeyframeStore(MapDirectory.open(path))
    for index, entry in enumerate(store.entries):
        entry.camera_name.encode()
        assert all(not name.startswith("/") and ".." not in name for name in entry.file_names)
        found = store[index]
        assert found.image.nbytes < 1e6 and np.isfinite(found.world_from_camera).all()


def use(semantic_map: SemanticMap) -> None:
    """What a query touches."""
    count = len(semantic_map.gaussians)
    assert len(semantic_map.map_id.encode()) < 300 and len(semantic_map.map_frame.encode()) < 300
    assert all(map(math.isfinite, semantic_map.map_up))
    for level in semantic_map.levels.values():
        assert level.track_of_gaussian.shape == (count,)
        assert count == 0 or level.track_of_gaussian.max() < level.num_tracks
        assert level.num_tracks == 0 or level.entry_of_track.max() < len(level.codebook)


def mended(path: Path) -> Callable[[], None]:
    """How to put a file back as it is now."""
    content = path.read_bytes()

    def mend() -> None:
        path.write_bytes(content)

    return mend


@fuzzed
@given(st.data())
def test_map_json(sound: Path, data: st.DataObject) -> None:
    file = sound / "map.json"
    mend = mended(file)
    file.write_text(json.dumps(data.draw(damaged_json(json.loads(file.read_text())))))
    try:
        directory = outcome(lambda: MapDirectory.open(sound), str(sound))
        assert directory is None or directory.map_id.encode().isalnum()
    finally:
        mend()


@fuzzed
@given(st.data())
def test_lines_of_the_journal(sound: Path, data: st.DataObject) -> None:
    file = sound / "keyframes" / "keyframes.jsonl"
    mend = mended(file)
    lines = file.read_text().splitlines()
    frame = data.draw(damaged_json(json.loads(lines[1])))
    if data.draw(st.booleans()):
        frame = {"corrected": {"0": frame.get("transform_matrix") if isinstance(frame, dict) else frame}}
    file.write_text("\n".join([lines[0], json.dumps(frame), lines[2], ""]))
    try:
        outcome(lambda: read_keyframes(sound), str(sound))
    finally:
        mend()


@fuzzed
@given(st.data())
def test_bytes_of_keyframes(sound: Path, data: st.DataObject) -> None:
    names = ("keyframes.jsonl", "images/000000.jpg", "depth/000001.png")
    file = sound / "keyframes" / data.draw(st.sampled_from(names))
    mend = mended(file)
    file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    try:
        outcome(lambda: read_keyframes(sound), str(sound))
    finally:
        mend()


@fuzzed
@given(st.data())
def test_a_snapshot_that_fits_its_own_description(sound: Path, data: st.DataObject) -> None:
    folder = sound / "snapshots" / "000001"
    name = data.draw(st.sampled_from(SNAPSHOT))
    mends = [mended(folder / name) for name in SNAPSHOT]
    description = json.loads((folder / "snapshot.json").read_text())
    if name == "snapshot.json":
        description = data.draw(damaged_json(description))
    else:
        content = data.draw(damaged_bytes((folder / name).read_bytes()))
        (folder / name).write_bytes(content)
        description["files"][name] = {"size": len(content), "crc32": zlib.crc32(content)}
    (folder / "snapshot.json").write_text(json.dumps(description))
    try:
        found = outcome(lambda: load(MapDirectory.open(sound)), str(folder))
        if found is not None:
            use(found)
    finally:
        for mend in mends:
            mend()


@fuzzed
@given(st.data())
def test_headers_of_a_ply(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "a.ply"
    write_splat(file, some_map(4).gaussians)
    header, _, rows = file.read_bytes().partition(b"end_header\n")
    lines = header.decode().splitlines()
    odd = ["", "element vertex 1000000000000", "element vertex -1", "element face 3", "property list uchar int x"]
    odd += ["property double x", "property float", "format ascii 1.0", "format binary_big_endian 1.0", "comment x"]
    for _ in range(data.draw(st.integers(1, 3))):
        lines[data.draw(st.integers(0, len(lines) - 1))] = data.draw(st.sampled_from(odd))
    file.write_bytes("\n".join([*lines, "end_header", ""]).encode() + rows)
    outcome(lambda: read_splat(file), str(file))


@fuzzed
@given(st.data())
def test_caches_that_are_damaged_count_as_absent(sound: Path, data: st.DataObject) -> None:
    segments = next((sound / "segments").iterdir())
    files = [sound / "checkpoint", *sorted(segments.glob("000000.sp.*"))]
    file = data.draw(st.sampled_from(files))
    mend = mended(file)
    file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    try:
        FileCheckpoint(sound / "checkpoint", "work").load()
        found = SegmentStore(sound / "segments", identity="a").load(0)
        assert found is None or found["sp"].labels.max() < len(found["sp"])
    finally:
        mend()


@fuzzed
@given(st.data())
def test_posed_images_of_other_programs(sound: Path, data: st.DataObject) -> None:
    file = sound / "keyframes" / "transforms.json"
    mend = mended(file)
    file.write_text(json.dumps(data.draw(damaged_json(json.loads(file.read_text())))))
    try:
        outcome(lambda: read_cameras(file), str(file), EvaluationError)
    finally:
        mend()


@pytest.fixture(scope="module", params=["mcap", "mcap-zstd-chunks", "sqlite3", "sqlite3-zstd-message"])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bag") / "drive", messages_of(in_order(drive(4))), request.param)


def read_bag(path: Path) -> None:
    with Bag(path) as bag:
        topics = bag.topics
        assert all(map(math.isfinite, bag.span_ns))
        for _ in bag.messages(topics):
            pass


@settings(fuzzed, max_examples=60)
@given(st.data())
def test_recordings(recording: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(recording.iterdir())))
    mend = mended(file)
    file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    try:
        outcome(lambda: read_bag(recording), str(recording), CclLgsError)
    finally:
        mend()
