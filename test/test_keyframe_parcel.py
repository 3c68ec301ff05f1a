# SPDX-License-Identifier: Apache-2.0
"""A keyframe travels to another map without the loss of a bit; a parcel that makes no sense changes nothing there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_keyframe_store import keyframe, writer

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.ros.keyframe_parcel import NOTHING, packed, taken, unpacked
from ccl_lgs_ros.storage import map_copy
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.received import ReceivedLines

MOVED = rigid(np.eye(3), np.array([1.0, 2.0, 1 / 3]))


@pytest.fixture
def source(tmp_path: Path) -> KeyframeStore:
    store = writer(MapDirectory.create(tmp_path / "source"))
    labels = np.arange(24 * 32, dtype=np.int32).reshape(24, 32)
    for number in range(3):
        store.append(replace(keyframe(number, has_depth=number != 1), labels=labels if number == 2 else None))
    return store


@pytest.fixture
def target(tmp_path: Path) -> KeyframeStore:
    return writer(MapDirectory.create(tmp_path / "target"), jpeg_quality=10)


def files_of(store: KeyframeStore) -> list[bytes]:
    return [(store.path / name).read_bytes() for entry in store.entries for name in entry.file_names]


def parts_of(parcel: bytes) -> tuple[dict, bytes]:
    head, _, body = parcel.partition(b"\n")
    return json.loads(head), body


def parcel_of(fields: dict, body: bytes) -> bytes:
    return json.dumps(fields).encode() + b"\n" + body


def test_every_bit_of_a_keyframe_arrives_and_storing_it_twice_changes_nothing(source, target) -> None:
    for line in [0, 0, 1, 2, 1]:
        taken(target, unpacked(packed(source, line)))
    assert [entry.frame() for entry in target.entries] == [entry.frame() for entry in source.entries]
    assert files_of(target) == files_of(source) and len(files_of(source)) == 3 + 2 + 1


def test_corrected_poses_arrive_by_camera_and_stamp_and_only_the_newest(source, target) -> None:
    taken(target, unpacked(packed(source, 2)))  # so that ids differ
    source.correct({("front", 0): MOVED, ("front", 2): MOVED @ MOVED})
    source.correct({("front", 0): MOVED @ MOVED})
    source.correct({("front", 0): MOVED})
    assert packed(source, 4) == NOTHING
    taken(target, unpacked(packed(source, 0)))
    for line in range(len(source.index)):
        taken(target, unpacked(packed(source, line)))
    assert {e.stamp_ns: e.world_from_camera.tolist() for e in target.entries} == {
        e.stamp_ns: e.world_from_camera.tolist() for e in source.entries
    }


def test_an_image_that_is_lost_cannot_be_sent(source) -> None:
    (source.path / source.entries[1].image_name).unlink()
    with pytest.raises(MapError, match=r"000001\.jpg"):
        packed(source, 1)


def test_names_of_files_are_never_taken_from_a_parcel(source, target, tmp_path: Path) -> None:
    fields, body = parts_of(packed(source, 0))
    fields["frame"]["id"] = 7
    fields["frame"]["file_path"] = "keyframes.jsonl"
    taken(target, unpacked(parcel_of(fields, body)))
    assert [(entry.id, entry.image_name) for entry in target.entries] == [(0, "images/000000.jpg")]
    fields["frame"]["file_path"] = "../../outside.jpg"
    with pytest.raises(ValueError, match="outside"):
        unpacked(parcel_of(fields, body))
    assert not list(tmp_path.rglob("outside*"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("bytes",), [1, 2]),
        (("bytes",), "12"),
        (("bytes", 0), -1),
        (("bytes", 0), 2**80),
        (("frame",), []),
        (("frame", "w"), 33),
        (("frame", "w"), 10**6),
        (("frame", "fl_x"), 0),
        (("frame", "stamp_ns"), 2**63),
        (("frame", "stamp_ns"), -1),
        (("frame", "transform_matrix"), [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        (("frame", "transform_matrix"), [[float("nan")] * 4] * 4),
        (("frame", "camera"), "\ud800"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_keyframe_that_makes_no_sense_is_refused(source, path: tuple, value) -> None:
    fields, body = parts_of(packed(source, 0))
    holder = fields
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    with pytest.raises(ValueError):
        unpacked(parcel_of(fields, body))


def test_pictures_that_are_none_or_claim_another_size_are_refused(source) -> None:
    fields, body = parts_of(packed(source, 0))
    image, depth, _ = fields["bytes"]
    with pytest.raises(ValueError):
        unpacked(parcel_of(fields, bytes(image) + body[image:]))
    with pytest.raises(ValueError):
        unpacked(parcel_of(fields, body[:image] + body[image : image + 60] + bytes(depth - 60)))
    claims = body[image : image + 16] + (60_000).to_bytes(4, "big") * 2 + body[image + 24 :]
    with pytest.raises(ValueError, match="60000"):
        unpacked(parcel_of(fields, body[:image] + claims))


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"[]\n", b"3\n", b'"frame"\n', b"{", b"\xff\n", b'{"corrected": 3}\n', b"[" * 100_000]
    + [json.dumps({"corrected": value}).encode() for value in ([["front", 0]], [["front", 0, [[1]]]], [[0, "x", []]])],
    ids=lambda content: repr(content[:30]),
)
def test_what_is_no_parcel_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        unpacked(content)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2**31))
def test_a_parcel_that_was_damaged_anywhere_is_refused_or_read_never_more(noise: bytes, at: int) -> None:
    content = b'{"corrected": [["front", 1, [[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]]]}\n'
    at %= len(content)
    try:
        parcel = unpacked(content[:at] + noise + content[at + len(noise) :])
    except ValueError:
        return
    assert parcel.keyframe is None


def test_how_much_was_received_outlives_the_process_and_damage_is_named(target) -> None:
    directory = MapDirectory.open(target.path.parent)
    lines = ReceivedLines(directory)
    assert lines["a"] == 0
    for number in range(150):
        lines.put(f"map {number}", number)
    lines.put("a", 3)
    again = ReceivedLines(directory)
    assert (again["a"], again["map 149"], again["map 0"]) == (3, 149, 0)
    (target.path / "received.json").write_text("[")
    with pytest.raises(MapError, match="remove it"):
        ReceivedLines(directory)


def test_a_copy_that_is_made_while_keyframes_come_never_counts_one_that_it_lacks(
    source, target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = MapDirectory.open(target.path.parent)
    lines = ReceivedLines(directory)
    copy = map_copy.shutil.copy2

    def copy_while_one_comes(*paths: Any) -> None:
        copy(*paths)
        number = lines["a"]
        if number < len(source.index):
            taken(target, unpacked(packed(source, number)))
            lines.put("a", number + 1)

    copy_while_one_comes(target.path / "keyframes.jsonl", tmp_path)
    monkeypatch.setattr(map_copy.shutil, "copy2", copy_while_one_comes)
    folder, _ = map_copy.copy_map(directory, tmp_path / "copy", include_keyframes=True, overwrite=False)
    copied = MapDirectory.open(folder)
    assert lines["a"] == len(source.index)
    assert 0 < ReceivedLines(copied)["a"] <= len(KeyframeStore(copied))
