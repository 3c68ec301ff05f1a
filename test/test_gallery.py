# SPDX-License-Identifier: Apache-2.0
"""The pictures of the documentation are small, used, and made by the script; what it writes stays under its bound."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from mapped_rooms import MappedRoom

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
ALL_TOGETHER = 3_000_000  # bytes


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_gallery", ROOT / "scripts" / "make_gallery.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_is_small_and_all_of_them_are(script: ModuleType) -> None:
    sizes = {path.name: path.stat().st_size for path in IMAGES.iterdir()}
    assert max(sizes.values()) <= script.MAX_BYTES, sizes
    assert sum(sizes.values()) <= ALL_TOGETHER


def test_every_picture_is_made_by_the_script_and_shown_in_the_documentation(script: ModuleType) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {
        Path(name).stem for page in pages for name in re.findall(r"\]\((?:docs/)?(images/\S+)\)", page.read_text())
    }
    kept = {path.stem for path in IMAGES.iterdir()}
    assert kept == shown
    assert kept == set(script.PICTURES)


def test_pictures_are_made_of_a_room_as_anyone_maps_it(
    script: ModuleType, mapped_room: Callable[[str], MappedRoom], tmp_path: Path
) -> None:
    room = mapped_room("plain")
    names = ["relation", "stage_3_masks", "stage_5_tracks", "floor_plan"]
    script.main([str(room.folder), str(room.map), "-o", str(tmp_path), "--only", *names])
    for name in names:
        shown = cv2.imread(str(tmp_path / f"{name}.jpg"))
        assert shown.shape[1] > 500 and shown.std() > 30, name
    tracks = cv2.imread(str(tmp_path / "stage_5_tracks.jpg"))
    colourful = cv2.cvtColor(tracks[tracks.shape[0] // 2 + 40 :], cv2.COLOR_BGR2HSV)[..., 1] > 80
    assert colourful.mean() > 0.5  # most segments have a track


def test_a_picture_that_is_hard_to_compress_still_stays_under_the_bound(script: ModuleType, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
    assert script.write_small(tmp_path / "noise.jpg", noise, 120_000) <= 120_000
    assert cv2.imread(str(tmp_path / "noise.jpg")).shape == noise.shape


def test_a_camera_looks_at_what_it_is_turned_to(script: ModuleType) -> None:
    eye, target, up = np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.5, 1.0]), np.array([0.0, -1.0, 0.0])
    pose = script.looking_at(eye, target, up)
    local = pose[:3, :3].T @ (target - pose[:3, 3])
    np.testing.assert_allclose(local[:2], 0.0, atol=1e-9)
    assert local[2] > 0 and pose[:3, 1] @ up < 0  # y is down in a camera
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
