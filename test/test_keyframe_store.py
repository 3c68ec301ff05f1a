# SPDX-License-Identifier: Apache-2.0
"""What the keyframe store has acknowledged is there after anything, and comes back as it was."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import rigid, rotation_from_quat
from ccl_lgs_ros.storage import keyframe_store
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

CAMERA = Camera(width=32, height=24, fx=31.25, fy=30.125, cx=16.3, cy=11.9)
JPEG_ERROR = 12  # grey values; smooth images at quality 95


def keyframe(stamp_ns: int = 0, name: str = "front", *, has_depth: bool = True) -> Keyframe:
    v, u = np.mgrid[0:24, 0:32].astype(np.float32)
    depth = 0.5 + 0.05 * u + 0.01 * v + 0.0001 * (stamp_ns % 7)
    depth[3:5, 7:9] = np.nan
    return Keyframe(
        id=0,
        stamp_ns=stamp_ns,
        camera=CAMERA,
        world_from_camera=rigid(rotation_from_quat(np.array([0.9, 0.1, -0.3, 0.2])), np.array([1.0, -2.0, 1 / 3])),
        image=np.stack([4 * u + stamp_ns % 50, 6 * v, 100 + u + v], axis=-1).astype(np.uint8),
        depth=depth.astype(np.float32) if has_depth else None,
        camera_name=name,
        sharpness=12.5,
    )


def writer(directory: MapDirectory, **options) -> KeyframeStore:
    return KeyframeStore(directory, writable=True, **options)


@pytest.fixture
def directory(tmp_path: Path) -> MapDirectory:
    return MapDirectory.create(tmp_path / "map")


def test_a_keyframe_comes_back_as_it_was(directory: MapDirectory) -> None:
    stored = keyframe(123456789012345678)
    with writer(directory) as store:
        assert store.append(stored)
    found = KeyframeStore(directory)[0]
    assert (found.id, found.stamp_ns, found.camera_name) == (0, stored.stamp_ns, stored.camera_name)
    assert (found.camera, found.sharpness) == (stored.camera, stored.sharpness)
    assert np.array_equal(found.world_from_camera, stored.world_from_camera)
    assert np.abs(found.image.astype(int) - stored.image).max() <= JPEG_ERROR
    assert stored.depth is not None and found.depth is not None
    assert np.array_equal(np.isnan(found.depth), np.isnan(stored.depth))
    assert np.nanmax(np.abs(found.depth - stored.depth)) <= 0.000501


def test_what_was_read_is_stored_again_without_any_loss_of_depth(directory: MapDirectory, tmp_path: Path) -> None:
    with writer(directory) as store:
        store.append(keyframe(1))
        once = store[0]
    with writer(MapDirectory.create(tmp_path / "second")) as second:
        second.append(once)
        assert np.array_equal(second[0].depth, once.depth, equal_nan=True)


def test_depth_that_16_bits_cannot_hold_is_unknown(directory: MapDirectory) -> None:
    depth = np.full((24, 32), 65.534, np.float32)
    depth[0, :6] = [0.0, -1.0, np.inf, -np.inf, 65.6, 0.0004]
    with writer(directory) as store:
        store.append(replace(keyframe(1), depth=depth))
        found = store[0].depth
    assert found is not None
    assert np.isnan(found[0, :6]).all()
    assert np.isfinite(found[1:]).all()


def test_a_keyframe_without_depth_comes_back_without(directory: MapDirectory) -> None:
    with writer(directory) as store:
        store.append(keyframe(1, has_depth=False))
        assert store[0].depth is None
    assert "depth_file_path" not in json.loads((directory.keyframes_path / "transforms.json").read_text())["frames"][0]


def test_ids_are_places_and_the_same_view_is_stored_once(directory: MapDirectory) -> None:
    with writer(directory) as store:
        assert [store.append(k) for k in (keyframe(5), keyframe(5), keyframe(5, "rear"), keyframe(6))] == [
            True,
            False,
            True,
            True,
        ]
        assert [k.id for k in store] == [0, 1, 2]
        assert store[-1].stamp_ns == 6
        with pytest.raises(IndexError):
            store[3]
    with writer(directory) as again:
        assert not again.append(keyframe(6))
        assert len(again) == 3


def test_other_programs_find_nerfstudio_files(directory: MapDirectory) -> None:
    with writer(directory) as store:
        store.append(keyframe(7))
    content = json.loads((directory.keyframes_path / "transforms.json").read_text())
    frame = content["frames"][0]
    for key in ("file_path", "depth_file_path"):
        assert (directory.keyframes_path / frame[key]).is_file()
    opengl = np.array(frame["transform_matrix"])
    assert np.allclose(opengl[:3, :3] @ [0, 0, -1], keyframe(7).world_from_camera[:3, :3] @ [0, 0, 1])  # looks ahead
    assert np.allclose(opengl[:3, :3] @ [0, 1, 0], keyframe(7).world_from_camera[:3, :3] @ [0, -1, 0])  # up
    assert {"fl_x", "fl_y", "cx", "cy", "w", "h", "id", "stamp_ns", "camera", "sharpness"} <= frame.keys()


def test_a_reader_sees_what_a_writer_appends(directory: MapDirectory) -> None:
    reader = KeyframeStore(directory)
    assert len(reader) == 0
    with writer(directory) as store:
        for stamp in range(3):
            store.append(keyframe(stamp))
            assert reader.refresh() == 1
            assert reader[stamp].stamp_ns == stamp
    assert reader.refresh() == 0


def test_two_writers_are_one_too_many(directory: MapDirectory) -> None:
    with writer(directory), pytest.raises(MapError, match="keyframes"):
        writer(MapDirectory.open(directory.path))
    with writer(MapDirectory.open(directory.path)) as store:
        assert store.append(keyframe(1))


def test_a_reader_cannot_append(directory: MapDirectory) -> None:
    with pytest.raises(MapError, match="writable"):
        KeyframeStore(directory).append(keyframe(1))


@pytest.mark.parametrize("rest", [b'{"id": 1, "stamp', b"\x00\x00\x00\x00\n", b'{"id": 1}'])
def test_a_line_that_a_crash_tore_is_ignored_and_repaired(directory: MapDirectory, rest: bytes) -> None:
    with writer(directory) as store:
        store.append(keyframe(0))
    journal = directory.keyframes_path / "keyframes.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + rest)
    assert len(KeyframeStore(directory)) == 1
    assert journal.read_bytes() == whole + rest  # a reader repairs nothing
    with writer(directory) as store:
        assert journal.read_bytes() == whole
        assert store.append(keyframe(1))
    assert [k.stamp_ns for k in KeyframeStore(directory)] == [0, 1]


def test_damage_in_the_middle_is_named(directory: MapDirectory) -> None:
    with writer(directory) as store:
        for stamp in range(3):
            store.append(keyframe(stamp))
    journal = directory.keyframes_path / "keyframes.jsonl"
    lines = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([lines[0], b"garbage", lines[2], b""]))
    with pytest.raises(MapError, match="line 2"):
        KeyframeStore(directory)


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_an_image_that_is_lost_is_named(directory: MapDirectory, content: bytes | None) -> None:
    with writer(directory) as store:
        store.append(keyframe(0))
    image = directory.keyframes_path / "images" / "000000.jpg"
    image.unlink() if content is None else image.write_bytes(content)
    with pytest.raises(MapError, match=r"000000\.jpg"):
        KeyframeStore(directory)[0]


def test_the_budget_is_kept_and_named(directory: MapDirectory) -> None:
    with writer(directory, max_disk_gb=3e-6) as store:
        with pytest.raises(MapError, match=r"keyframes\.max_disk_gb"):
            for stamp in range(100):
                store.append(keyframe(stamp))
        kept = len(store)
        on_disk = sum(p.stat().st_size for folder in ("images", "depth") for p in (store.path / folder).iterdir())
        assert 0 < on_disk == store.num_bytes <= 3000
    with writer(directory) as store:
        assert len(store) == kept
        assert store.append(keyframe(1000))


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_disk_that_fills_up_leaves_the_store_intact(
    directory: MapDirectory, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    with writer(directory) as store:
        store.append(keyframe(0))
        with monkeypatch.context() as patch:
            real, calls = os.fsync, []

            def sync(descriptor: int) -> None:
                calls.append(descriptor)
                if len(calls) >= failing:
                    raise OSError(errno.ENOSPC, "No space left on device")
                real(descriptor)

            patch.setattr(os, "fsync", sync)
            with pytest.raises(MapError, match="the disk is full"):
                store.append(keyframe(1))
        assert len(store) == 1
        assert store.append(keyframe(1))
    assert [k.stamp_ns for k in KeyframeStore(directory)] == [0, 1]
    assert sorted(p.name for p in (directory.keyframes_path / "images").iterdir()) == ["000000.jpg", "000001.jpg"]


def test_memory_stays_bounded(directory: MapDirectory) -> None:
    with writer(directory) as store:
        for stamp in range(keyframe_store.CACHED_KEYFRAMES + 4):
            store.append(keyframe(stamp))
        assert store[0] is store[0]
        first = store[0]
        for index in range(1, len(store)):
            store[index]
        assert len(store._cache) == keyframe_store.CACHED_KEYFRAMES
        assert store[0] is not first


def test_memory_of_large_images_is_bounded_in_bytes(directory: MapDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    with writer(directory) as store:
        for stamp in range(6):
            store.append(keyframe(stamp))
        size = store[0].num_bytes
        assert size == 24 * 32 * (3 + 4)
        monkeypatch.setattr(keyframe_store, "CACHED_BYTES", 3 * size)
        for index in range(6):
            store[index]
        assert len(store._cache) == 3
        monkeypatch.setattr(keyframe_store, "CACHED_BYTES", 1)
        assert store[0] is store[0]
        assert len(store._cache) == 1


def test_other_tools_see_all_after_closing_and_nearly_all_before(directory: MapDirectory) -> None:
    def seen() -> int:
        return len(json.loads((directory.keyframes_path / "transforms.json").read_text())["frames"])

    with writer(directory) as store:
        for stamp in range(150):
            store.append(keyframe(stamp))
        assert 150 - keyframe_store.MIN_TRANSFORMS_EVERY < seen() < 150
    assert seen() == 150


def test_making_the_list_for_other_tools_anew_costs_less_often_as_it_grows(
    directory: MapDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyframe_store, "MIN_TRANSFORMS_EVERY", 2)
    with writer(directory) as store:
        written = []
        real = store._write_transforms
        monkeypatch.setattr(store, "_write_transforms", lambda: (written.append(len(store)), real()))
        for stamp in range(60):
            store.append(keyframe(stamp))
    assert sum(written[:-1]) < 6 * 60  # each keyframe is written some five times, however many there are


def test_keyframes_share_what_they_have_in_common(directory: MapDirectory) -> None:
    with writer(directory) as store:
        for stamp in range(3):
            store.append(keyframe(stamp))
    entries = KeyframeStore(directory).entries
    assert all(entry.camera is entries[0].camera and entry.camera_name is entries[0].camera_name for entry in entries)


APPENDER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from test_keyframe_store import keyframe, writer
from ccl_lgs_ros.storage.map_directory import MapDirectory
assert "torch" not in sys.modules
store = writer(MapDirectory.open(sys.argv[1]))
stamp = len(store)
while True:
    assert store.append(keyframe(stamp))
    print(stamp, flush=True)
    stamp += 1
"""


def test_killing_the_writer_loses_no_acknowledged_keyframe(directory: MapDirectory) -> None:
    for delay in (0.0, 0.002, 0.007, 0.013, 0.03):
        command = [sys.executable, "-c", APPENDER, str(directory.path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as appender:
            assert appender.stdout is not None
            told = [int(appender.stdout.readline())]
            time.sleep(delay)
            appender.send_signal(signal.SIGKILL)
            told += [int(line) for line in appender.stdout.read().split()]
        store = KeyframeStore(directory)
        assert len(store) in (told[-1] + 1, told[-1] + 2)  # the last may not have come to telling
        for stamp in (0, told[0], len(store) - 1):
            assert store[stamp].stamp_ns == stamp
            assert store[stamp].depth is not None


def test_the_keyframe_store_never_loads_torch() -> None:
    code = "import sys, ccl_lgs_ros.storage.keyframe_store; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
