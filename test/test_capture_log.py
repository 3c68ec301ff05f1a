# SPDX-License-Identifier: Apache-2.0
"""What became of a capture's images is kept with the map, capture by capture, and survives being damaged."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ccl_lgs_ros.ingest.drops import REASONS
from ccl_lgs_ros.storage.capture_log import KEPT_CAPTURES, NAME, CaptureLog, CaptureRecord, captures
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

FIRST = CaptureRecord(
    source="drive",
    images=10,
    kept=4,
    dropped={"blur": 5, "tf": 1},
    first={"blur": "sharpness 3, the running median is 90"},
    notes=("depth was measured in millimetres",),
)


@pytest.fixture
def directory(tmp_path: Path) -> MapDirectory:
    made = MapDirectory.create(tmp_path / "map")
    KeyframeStore(made, writable=True).close()
    return made


def test_a_capture_that_goes_on_replaces_its_own_record_and_no_other(directory: MapDirectory) -> None:
    CaptureLog(directory).put(FIRST)
    second = CaptureLog(directory)
    for kept in (1, 2):
        second.put(CaptureRecord(source="live topics", images=kept, kept=kept))
    found = captures(directory)
    assert [(record["source"], record["images"]) for record in found] == [("drive", 10), ("live topics", 2)]
    assert {name: found[0][name] for name in ("kept", "dropped", "first", "notes")} == {
        "kept": FIRST.kept,
        "dropped": FIRST.dropped,
        "first": FIRST.first,
        "notes": FIRST.notes,
    }


def test_the_newest_captures_are_kept(directory: MapDirectory) -> None:
    for number in range(KEPT_CAPTURES + 3):
        CaptureLog(directory).put(replace(FIRST, images=number))
    assert [record["images"] for record in captures(directory)] == list(range(3, KEPT_CAPTURES + 3))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"captures": 3}',
        b'{"captures": [{}]}',
        b'{"captures": [3]}',
        b'{"captures": [{"began": "", "source": "", "images": "many", "kept": 0, "dropped": {}, "first": {}}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_log_counts_as_none_and_is_written_anew(directory: MapDirectory, content: bytes) -> None:
    (directory.keyframes_path / NAME).write_bytes(content)
    assert captures(directory) == []
    CaptureLog(directory).put(FIRST)
    assert len(captures(directory)) == 1


def test_a_reason_that_is_no_word_is_damage(directory: MapDirectory) -> None:
    CaptureLog(directory).put(FIRST)
    path = directory.keyframes_path / NAME
    content = json.loads(path.read_text())
    content["captures"][0]["dropped"] = {"<script>": 1}
    path.write_text(json.dumps(content))
    assert captures(directory) == []


def test_every_reason_of_the_capture_may_be_kept(directory: MapDirectory) -> None:
    CaptureLog(directory).put(replace(FIRST, dropped=dict.fromkeys(REASONS, 1)))
    assert captures(directory)[0]["dropped"] == dict.fromkeys(REASONS, 1)


def test_a_map_without_keyframes_has_no_captures(tmp_path: Path) -> None:
    assert captures(MapDirectory.create(tmp_path / "map")) == []
