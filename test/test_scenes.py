# SPDX-License-Identifier: Apache-2.0
"""make_scene on disk: the recording says what the room is, by the paths that any recording takes."""

from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import BagError, CclLgsError
from ccl_lgs_ros.label_views import labelled_views
from ccl_lgs_ros.recording import open_recording
from ccl_lgs_ros.scenes import LABELS, OPTICAL_FRAME, SceneReport, make_scene, stamp_of
from ccl_lgs_ros.storage.bag import Bag
from ccl_lgs_ros.storage.bag_writer import BagWriter
from ccl_lgs_ros.storage.evaluation_set import read_evaluation_set
from ccl_lgs_ros.synthetic.scene import Scene, make_room_scene

FRAMES, WIDTH, HEIGHT, SEED = 12, 80, 60, 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SceneReport:
    directory = tmp_path_factory.mktemp("scene") / "room"
    return make_scene(SEED, directory, num_frames=FRAMES, width=WIDTH, height=HEIGHT)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_room_scene(SEED, width=WIDTH, height=HEIGHT)


def messages(bag: Path, topic: str) -> list:
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        return [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages(connections)]


def test_the_recording_has_what_a_robot_records(made: SceneReport) -> None:
    with Bag(made.directory / "bag") as bag:
        topics = bag.topics
    for name in ("/camera/color/image_raw", "/camera/depth/image_rect_raw", LABELS):
        assert topics[name].type == "sensor_msgs/msg/Image"
        assert topics[name].count == FRAMES
    assert topics["/camera/color/camera_info"].count == topics["/camera/depth/camera_info"].count == FRAMES
    assert topics["/tf_static"].count == 1
    assert topics["/tf"].count > 10 * made.seconds


def test_pixels_come_back_as_they_were_rendered(made: SceneReport, scene: Scene) -> None:
    colours = messages(made.directory / "bag", "/camera/color/image_raw")
    depths = messages(made.directory / "bag", "/camera/depth/image_rect_raw")
    for seconds, colour, depth in list(zip(scene.moments(FRAMES), colours, depths, strict=True))[::5]:
        frame = scene.frame(seconds)
        assert np.array_equal(colour.data.reshape(HEIGHT, WIDTH, 3), frame.image)
        metres = depth.data.view(np.uint16).reshape(HEIGHT, WIDTH) / 1000.0
        assert np.array_equal(metres == 0, np.isnan(frame.depth))
        assert np.nanmax(np.abs(np.where(metres > 0, metres, np.nan) - frame.depth)) < 6e-4


def test_tf_leads_from_the_map_to_where_the_camera_was(made: SceneReport, scene: Scene) -> None:
    with Bag(made.directory / "bag") as bag:
        recording = open_recording(bag, MapConfig())
        for seconds in scene.moments(FRAMES):
            found = recording.transforms.lookup("map", OPTICAL_FRAME, stamp_of(seconds))
            assert np.abs(found - scene.drive.world_from_camera(seconds)).max() < 2e-3
        assert {"map", "odom", "base_link", "camera_link", OPTICAL_FRAME} <= recording.transforms.frames


def test_intrinsics_count_pixels_as_ros_does(made: SceneReport, scene: Scene) -> None:
    info = messages(made.directory / "bag", "/camera/color/camera_info")[0]
    assert info.k.reshape(3, 3)[0, 2] == scene.camera.cx - 0.5
    with Bag(made.directory / "bag") as bag:
        views = labelled_views(bag, LABELS, {1: "first"}, MapConfig())
    assert views[0].camera == scene.camera


def test_label_images_are_the_true_object_ids(made: SceneReport, scene: Scene) -> None:
    prompts = {item.id: item.category for item in scene.room.objects}
    with Bag(made.directory / "bag") as bag:
        views = labelled_views(bag, LABELS, prompts, MapConfig())
    assert len(views) == FRAMES
    for view, seconds in list(zip(views, scene.moments(FRAMES), strict=True))[::4]:
        frame = scene.frame(seconds)
        for category in scene.room.categories:
            ids = [item.id for item in scene.room.objects if item.category == category]
            truth = np.isin(frame.objects, ids)
            assert truth.any() == (category in view.masks)
            assert not truth.any() or np.array_equal(view.masks[category], truth)
        assert view.depth is not None


def test_labelled_views_are_at_stamps_of_the_recording_and_beside_its_path(made: SceneReport, scene: Scene) -> None:
    views = read_evaluation_set(made.directory / "eval").views
    assert len(views) == made.num_views
    poses = np.array([scene.drive.world_from_camera(seconds)[:3, 3] for seconds in scene.moments(FRAMES)])
    nearest = {v.stem: np.linalg.norm(poses - v.world_from_camera[:3, 3], axis=1).min() for v in views}
    recorded = [distance for stem, distance in nearest.items() if stem.startswith("frame")]
    held_out = [distance for stem, distance in nearest.items() if stem.startswith("held_out")]
    assert recorded and max(recorded) < 1e-9
    assert held_out and max(held_out) > 0.1
    assert "frame_0000" not in nearest


def test_labels_and_truth_agree_with_the_room(made: SceneReport, scene: Scene) -> None:
    truth = read_evaluation_set(made.directory / "eval")
    assert set(truth.categories) <= set(scene.room.categories) == set(made.prompts)
    assert truth.absent == made.absent == scene.absent_prompts()
    assert [item.id for item in truth.objects] == [item.id for item in scene.room.objects]
    for item, real in zip(truth.objects, scene.room.objects, strict=True):
        assert item.category == real.category
        assert np.allclose(item.centroid, real.centroid)
        assert np.allclose(item.box.rotation, real.box[1])
    for view in truth.views[:2]:
        seen = scene.frame(float(scene.moments(FRAMES)[int(view.stem[-4:])]))
        for category, mask in view.masks.items():
            ids = [item.id for item in scene.room.objects if item.category == category]
            assert np.array_equal(mask, np.isin(seen.objects, ids))


def test_an_existing_scene_is_not_written_over(made: SceneReport) -> None:
    with pytest.raises(CclLgsError, match="exists already"):
        make_scene(SEED, made.directory, num_frames=2)
    with pytest.raises(BagError, match="exists already"):
        BagWriter(made.directory / "bag")


@pytest.mark.parametrize(("storage", "suffix"), [("mcap", ".mcap"), ("sqlite3", ".db3")])
def test_both_storages_can_be_read(tmp_path: Path, storage: str, suffix: str) -> None:
    with BagWriter(tmp_path / "bag", storage=storage, is_compressed=True) as bag:
        bag.transforms(5, [("map", "base", np.eye(4))])
        bag.jpeg("/image/compressed", 6, "base", np.full((8, 8, 3), 99, np.uint8))
    assert [path.suffix for path in (tmp_path / "bag").iterdir() if path.suffix != ".yaml"] == [suffix]
    assert messages(tmp_path / "bag", "/tf")[0].transforms[0].child_frame_id == "base"
    assert messages(tmp_path / "bag", "/image/compressed")[0].header.stamp.nanosec == 6


def test_an_image_that_its_encoding_does_not_describe_is_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as bag, pytest.raises(ValueError, match="rgb8"):
        bag.image("/image", 1, "camera", np.zeros((4, 4), np.uint8), "rgb8")


def test_the_report_names_the_prompts(made: SceneReport) -> None:
    text = str(made)
    assert all(prompt in text for prompt in (*made.prompts, *made.absent))
