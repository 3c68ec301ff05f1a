# SPDX-License-Identifier: Apache-2.0
"""Readers of public data sets, on tiny ones that are written here in the published layouts."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.geometry import OPTICAL_FROM_OPENGL, quat_from_rotation, rotation_from_quat
from ccl_lgs_ros.scene_capture import capture_scene
from ccl_lgs_ros.storage.datasets.colmap import find_model, read_colmap, read_points
from ccl_lgs_ros.storage.datasets.lerf_ovs import lerf_ovs_scenes, read_lerf_ovs
from ccl_lgs_ros.storage.datasets.ovs_3d import ovs_3d_scenes, read_3d_ovs
from ccl_lgs_ros.storage.datasets.scannet import read_scannet, scannet_scenes
from ccl_lgs_ros.storage.datasets.scene_images import SceneImages, is_scene
from ccl_lgs_ros.storage.evaluation_set import LabelledView
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

WIDTH, HEIGHT = 40, 30
PINHOLE, SIMPLE_PINHOLE, SIMPLE_RADIAL, FISHEYE = 1, 0, 2, 5
# A camera at (1, 2, 3) that looks along the world's x axis: its x axis is -y, its y axis is -z.
LOOKS_ALONG_X = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
PLACE = np.array([1.0, 2.0, 3.0])
NAMES = ("frame_00007.jpg", "frame_00041.jpg")


def poses() -> list[np.ndarray]:
    """world_from_camera of the images."""
    turned, plain = np.eye(4), np.eye(4)
    turned[:3, :3], turned[:3, 3] = LOOKS_ALONG_X, PLACE
    return [plain, turned]


def camera_from_world(pose: np.ndarray) -> list[float]:
    inverse = np.linalg.inv(pose)
    return [*quat_from_rotation(inverse[:3, :3]).tolist(), *inverse[:3, 3].tolist()]


def write_binary(
    model: Path, names=NAMES, camera=(PINHOLE, (50.0, 51.0, 20.0, 15.0)), size: tuple[int, int] = (WIDTH, HEIGHT)
) -> None:
    model.mkdir(parents=True, exist_ok=True)
    number, params = camera
    data = struct.pack("<QiiQQ", 1, 3, number, *size) + struct.pack(f"<{len(params)}d", *params)
    (model / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(names))
    for index, (name, pose) in enumerate(zip(names, poses(), strict=True)):
        data += struct.pack("<i7di", index + 1, *camera_from_world(pose), 3) + name.encode() + b"\0"
        data += struct.pack("<Q", index) + index * struct.pack("<ddq", 1.0, 2.0, -1)
    (model / "images.bin").write_bytes(data)
    data = struct.pack("<Q", 2)
    data += struct.pack("<Q3d3BdQ", 9, 0.5, -0.5, 2.0, 255, 128, 0, 0.7, 2) + struct.pack("<4i", 1, 0, 2, 0)
    data += struct.pack("<Q3d3BdQ", 12, 1.0, 2.0, 3.0, 1, 2, 3, 0.1, 0)
    (model / "points3D.bin").write_bytes(data)


def write_text(model: Path) -> None:
    model.mkdir(parents=True, exist_ok=True)
    (model / "cameras.txt").write_text(f"# cameras\n3 PINHOLE {WIDTH} {HEIGHT} 50 51 20 15\n")
    lines = ["# images"]
    for index, (name, pose) in enumerate(zip(NAMES, poses(), strict=True)):
        numbers = " ".join(map(repr, camera_from_world(pose)))
        lines += [f"{index + 1} {numbers} 3 {name}", "1.0 2.0 -1" if index else ""]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    (model / "points3D.txt").write_text("9 0.5 -0.5 2.0 255 128 0 0.7 1 0 2 0\n12 1 2 3 1 2 3 0.1\n")


@pytest.mark.parametrize("write", [write_binary, write_text])
def test_a_colmap_model_gives_cameras_poses_and_points(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "sparse" / "0")
    model = find_model(tmp_path)
    assert model == tmp_path / "sparse" / "0"
    images = read_colmap(model)
    assert [image.name for image in images] == list(NAMES)
    assert [image.stem for image in images] == ["frame_00007", "frame_00041"]
    camera = images[0].camera
    assert (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy) == (40, 30, 50, 51, 20, 15)
    for image, pose in zip(images, poses(), strict=True):
        assert np.allclose(image.world_from_camera, pose)
    points = read_points(model)
    assert points.positions.tolist() == [[0.5, -0.5, 2.0], [1.0, 2.0, 3.0]]
    assert points.colours.tolist() == [[255, 128, 0], [1, 2, 3]]
    assert points.seen_by(2).tolist() == points.seen_by(1).tolist() == [[0.5, -0.5, 2.0]]
    assert points.seen_by(3).tolist() == []


def test_a_single_focal_length_is_both_and_zero_distortion_is_none(tmp_path: Path) -> None:
    write_binary(tmp_path, camera=(SIMPLE_PINHOLE, (60.0, 20.0, 15.0)))
    assert (read_colmap(tmp_path)[0].camera.fx, read_colmap(tmp_path)[0].camera.fy) == (60.0, 60.0)
    write_binary(tmp_path, camera=(SIMPLE_RADIAL, (60.0, 20.0, 15.0, 0.0)))
    assert read_colmap(tmp_path)[0].camera.cy == 15.0


@pytest.mark.parametrize(
    "camera", [(SIMPLE_RADIAL, (60.0, 20.0, 15.0, 0.1)), (FISHEYE, (60.0, 60.0, 20.0, 15.0, *4 * [0.0]))]
)
def test_a_distorted_camera_is_refused_with_the_command_that_helps(tmp_path: Path, camera) -> None:
    write_binary(tmp_path, camera=camera)
    with pytest.raises(EvaluationError, match="colmap image_undistorter"):
        read_colmap(tmp_path)


def test_a_damaged_or_empty_model_is_named(tmp_path: Path) -> None:
    write_binary(tmp_path)
    whole = (tmp_path / "images.bin").read_bytes()
    (tmp_path / "images.bin").write_bytes(whole[:-30])
    with pytest.raises(EvaluationError, match="no readable COLMAP model"):
        read_colmap(tmp_path)
    (tmp_path / "images.bin").write_bytes(struct.pack("<Q", 0))
    with pytest.raises(EvaluationError, match="lists no images"):
        read_colmap(tmp_path)
    (tmp_path / "points3D.bin").write_bytes(b"\1")
    with pytest.raises(EvaluationError, match="points3D"):
        read_points(tmp_path)
    assert find_model(tmp_path / "none") is None


# LERF-OVS


def write_lerf(root: Path, width: int = WIDTH, height: int = HEIGHT) -> Path:
    """One scene with one labelled view: two mugs and an egg."""
    write_binary(root / "ramen" / "sparse" / "0")
    (root / "label" / "ramen").mkdir(parents=True)
    objects = [
        {"category": "mug", "segmentation": [[2.9, 3.9], [5, 3], [5, 6], [2, 6]], "bbox": [2, 3, 5, 6]},
        {"category": "egg", "segmentation": [[20, 20], [22, 20], [22, 21], [20, 21]], "bbox": [22, 21, 20, 20]},
        {"category": "mug", "segmentation": [[10, 10], [11, 10], [11, 11], [10, 11]], "bbox": [9, 9, 12, 12]},
    ]
    content = {"info": {"name": "frame_00041.jpg", "width": width, "height": height}, "objects": objects}
    label = root / "label" / "ramen" / "frame_00041.json"
    label.write_text(json.dumps(content))
    return label


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_polygons_of_one_name_are_one_mask_with_a_box_each(tmp_path: Path) -> None:
    write_lerf(tmp_path)
    assert lerf_ovs_scenes(tmp_path) == ("ramen",)
    (view,) = read_lerf_ovs(tmp_path, "ramen")
    assert view.stem == "frame_00041"
    assert np.allclose(view.world_from_camera, poses()[1])
    mug = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mug[3:7, 2:6] = True  # a polygon covers its edge; 2.9, 3.9 is the pixel 2, 3
    mug[10:12, 10:12] = True
    assert (view.masks["mug"] == mug).all()
    assert view.boxes["mug"].tolist() == [[2, 3, 5, 6], [9, 9, 12, 12]]
    assert view.masks["egg"].sum() == 6
    assert view.depth is None


def test_labels_of_half_size_get_the_camera_of_half_size(tmp_path: Path) -> None:
    write_lerf(tmp_path, WIDTH * 2, HEIGHT * 2)
    (view,) = read_lerf_ovs(tmp_path, "ramen")
    assert (view.camera.width, view.camera.fx, view.camera.cy) == (80, 100.0, 30.0)
    assert view.masks["mug"].shape == (60, 80)


def test_cameras_may_come_from_transforms_json(tmp_path: Path) -> None:
    label = write_lerf(tmp_path)
    for path in (tmp_path / "ramen" / "sparse" / "0").iterdir():
        path.unlink()
    frame = {"file_path": "images/frame_00041.jpg", "transform_matrix": (poses()[1] @ OPTICAL_FROM_OPENGL).tolist()}
    content = {"w": WIDTH, "h": HEIGHT, "fl_x": 50, "fl_y": 51, "cx": 20, "cy": 15, "frames": [frame]}
    (tmp_path / "ramen" / "transforms.json").write_text(json.dumps(content))
    (view,) = read_lerf_ovs(tmp_path, "ramen")
    assert np.allclose(view.world_from_camera, poses()[1])
    (tmp_path / "ramen" / "transforms.json").unlink()
    with pytest.raises(EvaluationError, match=r"sparse/0 .* or transforms.json"):
        read_lerf_ovs(tmp_path, "ramen")
    assert label.exists()


LERF_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no info": (lambda label: edit(label, lambda c: c.pop("info")), "must hold info"),
    "no category": (lambda label: edit(label, lambda c: c["objects"][0].pop("category")), "must hold info"),
    "flat polygon": (lambda label: edit(label, lambda c: c["objects"][0].update(segmentation=[1, 2])), "no list of"),
    "short box": (lambda label: edit(label, lambda c: c["objects"][0].update(bbox=[1, 2])), "bbox of 'mug'"),
    "unknown image": (lambda label: edit(label, lambda c: c["info"].update(name="x.jpg")), "register it with COLMAP"),
    "other shape": (lambda label: edit(label, lambda c: c["info"].update(width=30)), "30x30, but its camera is 40x30"),
    "no JSON": (lambda label: label.write_text("{"), "not valid JSON"),
    "no label": (lambda label: label.unlink(), "give the folder lerf_ovs, which holds label"),
}


@pytest.mark.parametrize("fault", LERF_FAULTS)
def test_what_is_wrong_with_lerf_labels_is_said_in_one_sentence(tmp_path: Path, fault: str) -> None:
    breaks, text = LERF_FAULTS[fault]
    breaks(write_lerf(tmp_path))
    with pytest.raises(EvaluationError, match=text) as caught:
        read_lerf_ovs(tmp_path, "ramen")
    assert "\n" not in str(caught.value)
    assert re.search(r"; |must", str(caught.value))


def test_a_missing_lerf_folder_or_scene_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no folder .*none"):
        lerf_ovs_scenes(tmp_path / "none")
    write_lerf(tmp_path)
    with pytest.raises(EvaluationError, match="no scene teatime; it has ramen"):
        read_lerf_ovs(tmp_path, "teatime")
    (tmp_path / "ramen").rename(tmp_path / "moved")
    with pytest.raises(EvaluationError, match="no folder ramen with its cameras"):
        read_lerf_ovs(tmp_path, "ramen")


# 3D-OVS


def write_3d_ovs(root: Path, folder: str = "01", scale: int = 1) -> Path:
    """One scene with one labelled view: a mug at the left, the wall at the right, no sofa."""
    scene = root / "bed"
    write_binary(scene / "sparse" / "0")
    (scene / "images").mkdir()
    for name in NAMES:
        (scene / "images" / name).write_bytes(b"")
    segmentations = scene / "segmentations" / folder
    segmentations.mkdir(parents=True)
    (scene / "segmentations" / "classes.txt").write_text("red mug\nwall \n\nsofa\n")
    image = np.zeros((HEIGHT * scale, WIDTH * scale), np.uint8)
    image[:, : 10 * scale] = 255
    cv2.imwrite(str(segmentations / "red mug.png"), image)
    cv2.imwrite(str(segmentations / "wall.png"), 255 - image)
    cv2.imwrite(str(segmentations / "sofa.png"), 0 * image)
    return scene


def test_3d_ovs_folders_are_numbered_like_the_images_in_their_order(tmp_path: Path) -> None:
    write_3d_ovs(tmp_path)
    assert ovs_3d_scenes(tmp_path) == ("bed",)
    (view,), classes = read_3d_ovs(tmp_path, "bed")
    assert classes == ["red mug", "wall", "sofa"]
    assert view.stem == "frame_00041"
    assert np.allclose(view.world_from_camera, poses()[1])
    assert set(view.masks) == {"red mug", "wall"}  # an empty mask is no label
    assert view.masks["red mug"][:, :10].all() and not view.masks["red mug"][:, 10:].any()
    assert view.boxes["wall"].tolist() == [[10, 0, 39, 29]]


def test_3d_ovs_folders_may_be_named_like_images_and_hold_masks_of_another_size(tmp_path: Path) -> None:
    write_3d_ovs(tmp_path, folder="frame_00007", scale=3)
    (view,), _ = read_3d_ovs(tmp_path, "bed")
    assert view.stem == "frame_00007"
    assert view.masks["red mug"].shape == (HEIGHT, WIDTH)
    assert view.masks["red mug"].sum() == 10 * HEIGHT


def test_images_wider_than_1600_are_scored_at_1600(tmp_path: Path) -> None:
    scene = write_3d_ovs(tmp_path)
    write_binary(scene / "sparse" / "0", size=(3200, 2400))
    (view,), _ = read_3d_ovs(tmp_path, "bed")
    assert (view.camera.width, view.camera.height, view.camera.fx) == (1600, 1200, 25.0)
    assert view.masks["wall"].shape == (1200, 1600)


OVS_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no mask": (lambda s: (s / "segmentations" / "01" / "sofa.png").unlink(), "sofa.png is missing or no image"),
    "no class": (lambda s: (s / "segmentations" / "classes.txt").write_text("\n"), "must name a class a line"),
    "no views": (lambda s: (s / "segmentations" / "01").rename(s / "gone"), "labels no view"),
    "number": (lambda s: (s / "segmentations" / "01").rename(s / "segmentations" / "07"), "no camera has the image 07"),
    "no list": (lambda s: (s / "segmentations" / "classes.txt").unlink(), "give the folder that holds the scenes"),
}


@pytest.mark.parametrize("fault", OVS_FAULTS)
def test_what_is_wrong_with_3d_ovs_is_said_in_one_sentence(tmp_path: Path, fault: str) -> None:
    breaks, text = OVS_FAULTS[fault]
    breaks(write_3d_ovs(tmp_path))
    with pytest.raises(EvaluationError, match=text) as caught:
        read_3d_ovs(tmp_path, "bed")
    assert "\n" not in str(caught.value)
    with pytest.raises(EvaluationError, match="no folder"):
        ovs_3d_scenes(tmp_path / "none")


def test_an_unknown_3d_ovs_scene_is_named_with_what_there_is(tmp_path: Path) -> None:
    write_3d_ovs(tmp_path)
    with pytest.raises(EvaluationError, match="no scene sofa with segmentations; it has bed"):
        read_3d_ovs(tmp_path, "sofa")


# ScanNet

SCENE = "scene0000_00"


def write_scannet(folder: Path, label: str = "label") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), (label, "u2")]
    rows = np.array([(0, 1, 2, 9, 9, 9, 5), (3, 4, 5, 9, 9, 9, 0), (6, 7, 8, 9, 9, 9, 40)], dtype=kinds)
    path = folder / f"{SCENE}_vh_clean_2.labels.ply"
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))
    return path


@pytest.mark.parametrize("place", ["", SCENE, f"scans/{SCENE}"])
def test_vertices_and_labels_of_scannet_are_read_wherever_they_lie(tmp_path: Path, place: str) -> None:
    write_scannet(tmp_path / place)
    assert list(scannet_scenes(tmp_path)) == [SCENE]
    points, labels = read_scannet(tmp_path, SCENE)
    assert points.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert labels.tolist() == [5, 0, 40]


def test_an_axis_alignment_turns_the_vertices_if_asked(tmp_path: Path) -> None:
    write_scannet(tmp_path)
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = rotation_from_quat(np.array([1.0, 0, 0, 1.0])), [10, 0, 0]  # a quarter about z
    numbers = " ".join(f"{value:.6f}" for value in turn.ravel())
    (tmp_path / f"{SCENE}.txt").write_text(f"numColorFrames = 9\naxisAlignment = {numbers} \n")
    points, _ = read_scannet(tmp_path, SCENE, is_aligned=True)
    assert np.allclose(points[0], [9, 0, 2])
    (tmp_path / f"{SCENE}.txt").write_text("axisAlignment = 1 0\n")
    with pytest.raises(EvaluationError, match="axisAlignment of 16 numbers"):
        read_scannet(tmp_path, SCENE, is_aligned=True)


def test_what_is_wrong_with_scannet_is_said(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no folder"):
        scannet_scenes(tmp_path / "none")
    with pytest.raises(EvaluationError, match=r"download script: --type _vh_clean_2\.labels\.ply"):
        scannet_scenes(tmp_path)
    path = write_scannet(tmp_path, label="colour")
    with pytest.raises(EvaluationError, match="x, y, z and label"):
        read_scannet(tmp_path, SCENE)
    path.write_bytes(b"no ply")
    with pytest.raises(EvaluationError, match="download it again"):
        read_scannet(tmp_path, SCENE)
    with pytest.raises(EvaluationError, match=f"no labels of scene0001_00; it has {SCENE}"):
        read_scannet(tmp_path, "scene0001_00")


def test_readers_give_the_views_that_protocols_take(tmp_path: Path) -> None:
    write_lerf(tmp_path / "lerf")
    write_3d_ovs(tmp_path / "ovs")
    views = [*read_lerf_ovs(tmp_path / "lerf", "ramen"), *read_3d_ovs(tmp_path / "ovs", "bed")[0]]
    for view in views:
        assert isinstance(view, LabelledView)
        assert set(view.masks) == set(view.boxes)
        assert all(mask.shape == (view.camera.height, view.camera.width) for mask in view.masks.values())


# Folders of posed images


def write_scene(scene: Path, factor: int = 1) -> Path:
    """A COLMAP scene of two grey images with one pixel that differs."""
    write_binary(scene / "sparse" / "0")
    (scene / "images").mkdir()
    for value, name in enumerate(NAMES):
        image = np.full((HEIGHT * factor, WIDTH * factor, 3), (10 + value, 20, 200), np.uint8)
        cv2.imwrite(str(scene / "images" / Path(name).with_suffix(".jpg")), image)
    return scene


def test_a_colmap_folder_gives_keyframes_with_the_depth_of_the_points_they_show(tmp_path: Path) -> None:
    assert not is_scene(tmp_path)
    images = SceneImages(write_scene(tmp_path))
    assert is_scene(tmp_path)
    assert len(images) == 2
    first, second = images[0], images[1]
    assert first.stamp_ns < second.stamp_ns
    assert first.image.shape == (HEIGHT, WIDTH, 3)
    assert abs(int(first.image[5, 5, 0]) - 200) < 6  # RGB
    # The point at (0.5, -0.5, 2) falls at 50 * 0.25 + 20 = 32.5 and 51 * -0.25 + 15 = 2.25; the other is in no track.
    assert first.depth is not None
    assert np.argwhere(np.isfinite(first.depth)).tolist() == [[2, 32]]
    assert first.depth[2, 32] == 2.0
    assert np.allclose(second.world_from_camera, poses()[1])
    assert second.depth is not None and not np.isfinite(second.depth).any()  # behind the second camera


def test_images_of_another_size_get_their_camera_and_long_ones_are_scaled_down(tmp_path: Path) -> None:
    write_scene(tmp_path, factor=2)
    assert SceneImages(tmp_path)[0].camera == Camera(width=80, height=60, fx=100.0, fy=102.0, cx=40.0, cy=30.0)
    assert SceneImages(tmp_path, max_image_size=20)[0].image.shape == (15, 20, 3)


def test_a_nerfstudio_folder_gives_keyframes_with_its_depth(tmp_path: Path) -> None:
    write_scene(tmp_path)
    for path in (tmp_path / "sparse" / "0").iterdir():
        path.unlink()
    frames = [
        {"file_path": f"images/{name}", "transform_matrix": (pose @ OPTICAL_FROM_OPENGL).tolist()}
        for name, pose in zip(NAMES, poses(), strict=True)
    ]
    frames[1]["depth_file_path"] = "depth.png"
    depth = np.full((HEIGHT, WIDTH), 1500, np.uint16)
    depth[0] = 0
    cv2.imwrite(str(tmp_path / "depth.png"), depth)
    content = {"w": WIDTH, "h": HEIGHT, "fl_x": 50, "fl_y": 51, "cx": 20, "cy": 15, "frames": frames[::-1]}
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    images = SceneImages(tmp_path)
    assert images[0].depth is None
    second = images[1]
    assert second.depth is not None
    assert np.isnan(second.depth[0]).all() and (second.depth[1:] == 1.5).all()
    assert np.allclose(second.world_from_camera, poses()[1])
    cv2.imwrite(str(tmp_path / "depth.png"), depth.astype(np.uint8))
    with pytest.raises(EvaluationError, match="16-bit PNG"):
        images[1]


def test_what_is_wrong_with_images_is_said(tmp_path: Path) -> None:
    scene = write_scene(tmp_path)
    (scene / "images" / NAMES[1]).write_bytes(b"no image")
    with pytest.raises(EvaluationError, match="no readable image"):
        SceneImages(scene)[1]
    cv2.imwrite(str(scene / "images" / NAMES[1]), np.zeros((30, 30, 3), np.uint8))
    with pytest.raises(EvaluationError, match="30x30, but its camera is 40x30"):
        SceneImages(scene)[1]
    (scene / "images" / NAMES[0]).unlink()
    with pytest.raises(EvaluationError, match=r"frame_00007\.jpg is missing \(1 of 2 images are\)"):
        SceneImages(scene)


def test_every_posed_image_is_stored_once(tmp_path: Path) -> None:
    scene = SceneImages(write_scene(tmp_path / "scene"))
    with KeyframeStore(MapDirectory.create(tmp_path / "map"), writable=True) as store:
        report = capture_scene(scene, store)
        assert (report.num_new, report.num_keyframes, report.num_images) == (2, 2, 2)
        assert capture_scene(scene, store).num_new == 0
        assert np.allclose(store[1].world_from_camera, poses()[1])
        assert "2 new keyframes" in str(report)
