# SPDX-License-Identifier: Apache-2.0
"""Evaluation sets on disk: what is written is read, and what is wrong is said in a sentence."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.geometry import rigid, rotation_from_quat
from ccl_lgs_ros.storage.evaluation_set import EvaluationSet, LabelledView, ObjectTruth, read_evaluation_set
from ccl_lgs_ros.storage.evaluation_writer import ViewToWrite, write_evaluation_set
from ccl_lgs_ros.storage.polygons import mask_of_polygons, polygons_of_mask

CAMERA = Camera(width=32, height=24, fx=30.0, fy=31.0, cx=15.5, cy=12.5)
TURN = rotation_from_quat(np.array([0.5, 0.5, -0.5, 0.5]))


def blobs(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((24, 32)) > 0.55


def view(stem: str, seed: int) -> ViewToWrite:
    masks = {"red mug": blobs(seed), "blue box": np.zeros((24, 32), dtype=bool)}
    masks["blue box"][5:9, 20:27] = True
    labelled = LabelledView(
        stem=stem,
        camera=CAMERA,
        world_from_camera=rigid(TURN, np.array([1.0, 2.0, seed])),
        masks=masks,
        boxes={},
        depth=np.where(blobs(seed + 50), 1.2345, np.nan).astype(np.float32),
    )
    image = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    return ViewToWrite(view=labelled, image=image, stamp_ns=None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    truth = ObjectTruth(
        id=1,
        category="red mug",
        kind="mug",
        centroid=np.array([1.0, 2.0, 3.0]),
        box=Box(center=np.array([1.0, 2.0, 3.1]), rotation=TURN, size=np.array([0.1, 0.2, 0.3])),
    )
    write_evaluation_set(tmp_path / "set", [view("a", 1), view("b", 2)], ["green lamp", "pink vase"], [truth])
    return tmp_path / "set"


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_is_written_is_read(root: Path) -> None:
    found = read_evaluation_set(root)
    assert isinstance(found, EvaluationSet)
    assert found.absent == ("green lamp", "pink vase")
    assert found.categories == ("red mug", "blue box")
    for read, written in zip(found.views, (view("a", 1).view, view("b", 2).view), strict=True):
        assert read.stem == written.stem
        assert read.camera == written.camera
        assert np.allclose(read.world_from_camera, written.world_from_camera)
        assert all(np.array_equal(read.masks[name], written.masks[name]) for name in written.masks)
        assert read.boxes["blue box"].tolist() == [[20.0, 5.0, 26.0, 8.0]]
        assert read.depth is not None and written.depth is not None
        assert np.allclose(read.depth, written.depth, atol=5.1e-4, equal_nan=True)
    truth = found.objects[0]
    assert (truth.id, truth.category, truth.kind) == (1, "red mug", "mug")
    assert np.allclose(truth.box.rotation, TURN)
    assert np.allclose(truth.box.size, [0.1, 0.2, 0.3])


@pytest.mark.parametrize("seed", range(5))
def test_any_mask_survives_as_polygons_with_its_holes(seed: int) -> None:
    """Holes are kept; only pixels that a slit to a hole crosses may be added, and such slits are short."""
    shape = np.kron(np.random.default_rng(seed).random((8, 10)) > 0.35, np.ones((5, 5))).astype(bool)
    assert np.array_equal(mask_of_polygons(polygons_of_mask(shape), *shape.shape), shape)


def test_a_ring_keeps_its_hole() -> None:
    ring = np.ones((7, 9), dtype=bool)
    ring[0], ring[2:5, 3:6] = False, False
    polygons = polygons_of_mask(ring)
    assert len(polygons) == 1
    assert np.array_equal(mask_of_polygons(polygons, 7, 9), ring)


def test_an_empty_mask_has_no_polygon() -> None:
    assert polygons_of_mask(np.zeros((4, 4), dtype=bool)) == []


def test_opencv_poses_are_taken_as_they_are(root: Path) -> None:
    opengl = read_evaluation_set(root).views[0].world_from_camera
    pose = json.loads((root / "transforms.json").read_text())["frames"][0]["transform_matrix"]
    edit(root / "transforms.json", lambda c: c.update(camera_convention="opencv"))
    opencv = read_evaluation_set(root).views[0].world_from_camera
    assert np.allclose(opencv, pose)
    assert np.allclose(opencv[:3, 2], -opengl[:3, 2])
    edit(root / "transforms.json", lambda c: c.pop("camera_convention"))
    assert np.allclose(read_evaluation_set(root).views[0].world_from_camera, opengl)  # opengl is the default


def test_intrinsics_may_stand_once_for_all_frames(root: Path) -> None:
    def move_up(content: dict) -> None:
        for frame in content["frames"]:
            content.update({name: frame.pop(name) for name in ("w", "h", "fl_x", "fl_y", "cx", "cy")})

    edit(root / "transforms.json", move_up)
    assert read_evaluation_set(root).views[0].camera == CAMERA


def test_labels_of_half_size_are_scored_at_half_size(root: Path) -> None:
    def halve(content: dict) -> None:
        content["info"].update(width=16, height=12)

    def without_depth(content: dict) -> None:
        for frame in content["frames"]:
            frame.pop("depth_file_path")

    edit(root / "labels" / "a.json", halve)
    edit(root / "transforms.json", without_depth)
    first = read_evaluation_set(root).views[0]
    assert first.camera == CAMERA.resized(16, 12)
    assert first.masks["blue box"].shape == (12, 16)
    assert first.depth is None


def test_absent_prompts_and_objects_are_optional(root: Path) -> None:
    (root / "absent.txt").unlink()
    (root / "objects.json").unlink()
    found = read_evaluation_set(root)
    assert found.absent == () and found.objects == ()


def test_images_without_labels_are_no_views(root: Path) -> None:
    (root / "labels" / "b.json").unlink()
    assert [v.stem for v in read_evaluation_set(root).views] == ["a"]


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no transforms": (lambda r: (r / "transforms.json").unlink(), "cannot read"),
    "no labels": (lambda r: [p.unlink() for p in (r / "labels").glob("*.json")], "label at least one image"),
    "broken json": (lambda r: (r / "transforms.json").write_text("{"), "not valid JSON"),
    "a list": (lambda r: (r / "transforms.json").write_text("[]"), "must hold a JSON object"),
    "bytes": (lambda r: (r / "absent.txt").write_bytes(b"\xff\xfe\x00"), "cannot read"),
    "convention": (
        lambda r: edit(r / "transforms.json", lambda c: c.update(camera_convention="unity")),
        "opengl or opencv",
    ),
    "no frames": (lambda r: edit(r / "transforms.json", lambda c: c.update(frames=[])), "has no frames"),
    "unposed label": (
        lambda r: edit(r / "transforms.json", lambda c: c["frames"].pop()),
        "no frame for the label b.json",
    ),
    "twins": (
        lambda r: edit(r / "transforms.json", lambda c: c["frames"].append(c["frames"][0])),
        "two frames named a",
    ),
    "no matrix": (
        lambda r: edit(r / "transforms.json", lambda c: c["frames"][0].pop("transform_matrix")),
        "must have file_path and transform_matrix",
    ),
    "short matrix": (
        lambda r: edit(r / "transforms.json", lambda c: c["frames"][0].update(transform_matrix=[[1.0]])),
        "4 rows of 4",
    ),
    "scaled": (
        lambda r: edit(
            r / "transforms.json", lambda c: c["frames"][0].update(transform_matrix=np.diag([2.0, 2, 2, 1]).tolist())
        ),
        "no rigid pose",
    ),
    "distorted": (lambda r: edit(r / "transforms.json", lambda c: c.update(k1=0.1)), "undistort"),
    "no focal": (
        lambda r: edit(r / "transforms.json", lambda c: [f.pop("fl_x") for f in c["frames"]]),
        "must hold w, h, fl_x",
    ),
    "other shape": (
        lambda r: edit(r / "labels" / "a.json", lambda c: c["info"].update(width=10)),
        "label the whole image",
    ),
    "no category": (
        lambda r: edit(r / "labels" / "a.json", lambda c: c["objects"][0].pop("category")),
        "must hold info",
    ),
    "flat polygon": (
        lambda r: edit(r / "labels" / "a.json", lambda c: c["objects"][0].update(segmentation=[1, 2, 3])),
        "no list of \\[x, y\\] points",
    ),
    "no depth file": (lambda r: (r / "depth" / "a.png").unlink(), "16-bit PNG"),
    "short box": (
        lambda r: edit(r / "objects.json", lambda c: c["objects"][0]["box"].update(size=[1, 2])),
        "3 finite numbers",
    ),
    "zero quaternion": (
        lambda r: edit(r / "objects.json", lambda c: c["objects"][0]["box"].update(quaternion_xyzw=[0, 0, 0, 0])),
        "must list objects",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_in_one_sentence(root: Path, fault: str) -> None:
    breaks, text = FAULTS[fault]
    breaks(root)
    with pytest.raises(EvaluationError, match=text) as caught:
        read_evaluation_set(root)
    assert "\n" not in str(caught.value)
    assert re.search(r"\S; \S|must|label", str(caught.value))  # and what to do about it


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no evaluation set at .*nowhere"):
        read_evaluation_set(tmp_path / "nowhere")


def test_nothing_is_written_over(root: Path) -> None:
    with pytest.raises(EvaluationError, match="exists already"):
        write_evaluation_set(root, [], [], [])
