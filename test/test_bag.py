# SPDX-License-Identifier: Apache-2.0
"""Recordings of every kind give the keyframes that the live path gives; what cannot be mapped says why."""

import dataclasses
import subprocess
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from capture_records import MS, START, ListStore, S, colour, depth, drive, in_order, info, pose, transform
from capture_runs import capture, described
from ros_bags import KINDS, messages_of, write_bag, write_split_bag
from ros_bags import pose as pose_message

from ccl_lgs_ros.capture import BagReport, capture_bag, check_bag
from ccl_lgs_ros.config import MapConfig, load_config, updated
from ccl_lgs_ros.errors import BagError
from ccl_lgs_ros.ingest.depth import decode_depth
from ccl_lgs_ros.ingest.messages import depth_record
from ccl_lgs_ros.ingest.records import ColourRecord, DepthRecord, Record
from ccl_lgs_ros.storage.bag import Bag

BAGS = Path(__file__).resolve().parents[2] / "shared" / "data" / "bags"


def captured(path: Path, changes: dict | None = None, **topics: str) -> ListStore:
    store = ListStore()
    capture_bag(path, store, updated(MapConfig(), changes or {}), **topics)
    return store


def without(topics: dict[str, list[Record]], *names: str) -> dict[str, list[Record]]:
    return {topic: records for topic, records in topics.items() if topic not in names}


def expected() -> list[tuple]:
    return described(capture(in_order(drive()))[1])


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_storage_and_compression_gives_the_keyframes_of_the_live_path(tmp_path: Path, kind: str) -> None:
    path = write_bag(tmp_path / "drive", messages_of(in_order(drive())), kind)
    assert described(captured(path)) == expected()


@pytest.mark.parametrize("kind", ["mcap", "sqlite3"])
def test_split_recordings_and_recordings_without_metadata_are_read(tmp_path: Path, kind: str) -> None:
    path = write_split_bag(tmp_path / "drive", messages_of(in_order(drive())), kind)
    assert len(list(path.glob("drive_*"))) == 2
    assert described(captured(path)) == expected()
    (path / "metadata.yaml").unlink()
    assert described(captured(path)) == expected()


@pytest.mark.parametrize("kind", ["mcap", "sqlite3"])
def test_a_single_storage_file_is_read(tmp_path: Path, kind: str) -> None:
    path = write_bag(tmp_path / "drive", messages_of(in_order(drive())), kind)
    (file,) = [file for file in path.iterdir() if file.suffix in (".mcap", ".db3")]
    assert described(captured(file)) == expected()


def test_messages_recorded_late_change_nothing(tmp_path: Path) -> None:
    records = in_order(drive(), {"tf": 2 * S, "colour": 300 * MS})
    assert described(captured(write_bag(tmp_path / "drive", messages_of(records)))) == expected()


def test_static_transforms_count_wherever_they_stand(tmp_path: Path) -> None:
    topics = drive()
    topics["tf"] = [_renamed(record, "camera", "base") for record in topics["tf"]]
    mounted = transform(START + 100 * S, 0.0, parent="base", child="camera", is_static=True)
    mounted = _turned_back(mounted)
    path = write_bag(tmp_path / "drive", messages_of([*in_order(topics), mounted]))
    assert [row[1] for row in described(captured(path))] == [row[1] for row in expected()]


def test_a_recording_longer_than_the_tf_cache_loses_nothing(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "drive", messages_of(in_order(drive(60))))
    wanted = described(capture(in_order(drive(60)))[1])
    assert described(captured(path, {"ingest.tf_cache": 1.0})) == wanted


@pytest.mark.parametrize("kind", ["PoseStamped", "PoseWithCovarianceStamped", "Odometry", "TransformStamped"])
def test_poses_of_every_type_stand_in_for_tf(tmp_path: Path, kind: str) -> None:
    topics = drive(60)
    child = "camera" if kind in ("Odometry", "TransformStamped") else ""
    poses = [pose(r.stamp_ns, r.translation[0], child=child) for r in topics["tf"]]
    messages = messages_of(in_order(without(topics, "tf")))
    messages += [("/localisation", record.stamp_ns, pose_message(record, kind)) for record in poses]
    messages.sort(key=lambda sent: sent[1])
    path = write_bag(tmp_path / "drive", messages)
    wanted = described(capture(in_order(drive(60)))[1])
    assert described(captured(path, {"ingest.tf_cache": 1.0})) == wanted
    assert "poses: /localisation" in str(check_bag(path))


def test_tf_is_preferred_to_a_pose_topic_that_is_not_named(tmp_path: Path) -> None:
    topics = drive()
    topics["pose"] = [pose(r.stamp_ns, 3 * r.translation[0]) for r in topics["tf"]]
    path = write_bag(tmp_path / "drive", messages_of(in_order(topics)))
    assert described(captured(path)) == expected()
    named = captured(path, pose_topic="/camera/pose")
    assert len(named) > len(expected())
    assert described(captured(path, {"ingest.pose_source": "topic"})) == described(named)


def test_compressed_topics_are_read(tmp_path: Path) -> None:
    topics = drive()
    topics["colour"] = [_as_png(record) for record in topics["colour"]]
    topics["depth"] = [_as_compressed_depth(record) for record in topics["depth"]]
    names = {"colour": "/camera/color/image_raw/compressed", "depth": "/camera/depth/image_rect_raw/compressedDepth"}
    path = write_bag(tmp_path / "drive", messages_of(in_order(topics), names))
    assert described(captured(path)) == expected()


def test_the_right_topics_are_chosen_among_many_and_the_choice_is_told(tmp_path: Path) -> None:
    messages = messages_of(in_order(drive()))
    decoys = in_order({"colour": [colour(START + i * S // 15, seed=99) for i in range(40)]})
    for name in (
        "/camera/infra1/image_rect_raw",
        "/rear/rgb/image_raw",
        "/segmentation/color/image",
        "/camera/color/mask",
    ):
        messages += messages_of(decoys, {"colour": name})
    other = [depth(START + i * S // 15, units=999) for i in range(40)]
    messages += messages_of(other, {"depth": "/camera/infra1/depth/image_raw"})
    messages.sort(key=lambda sent: sent[1])
    path = write_bag(tmp_path / "drive", messages)
    report = check_bag(path)
    assert "colour: /camera/color/image_raw," in str(report)
    assert "depth: /camera/depth/image_rect_raw," in str(report)
    assert "/rear/rgb/image_raw (--image-topic chooses)" in str(report)
    assert described(captured(path)) == expected()


def test_aligned_depth_is_preferred(tmp_path: Path) -> None:
    topics = drive()
    messages = messages_of(in_order(topics))
    aligned = {
        "depth": "/camera/aligned_depth_to_color/image_raw",
        "depth_info": "/camera/aligned_depth_to_color/camera_info",
    }
    messages += messages_of(in_order({k: topics[k] for k in ("depth", "depth_info")}), aligned)
    messages.sort(key=lambda sent: sent[1])
    assert "depth: /camera/aligned_depth_to_color/image_raw, 16UC1, registered" in str(
        check_bag(write_bag(tmp_path / "drive", messages))
    )


def test_named_topics_are_taken_and_misspelt_ones_name_the_nearest(tmp_path: Path) -> None:
    names = {"colour": "/front/picture", "info": "/calibration"}
    path = write_bag(tmp_path / "drive", messages_of(in_order(drive()), names))
    store = captured(path, image_topic="/front/picture", camera_info_topic="/calibration")
    assert described(store) == expected()
    with pytest.raises(BagError, match=r"no topic /front/pictures .* did you mean /front/picture\?"):
        captured(path, image_topic="/front/pictures")
    with pytest.raises(BagError, match="--depth-topic takes sensor_msgs/msg/Image"):
        captured(path, depth_topic="/calibration")


def test_images_alone_are_mapped_and_depth_may_be_left_out(tmp_path: Path) -> None:
    topics = without(drive(), "depth", "depth_info")
    path = write_bag(tmp_path / "drive", messages_of(in_order(topics)))
    assert all(keyframe.depth is None for keyframe in captured(path))
    assert "depth: none" in str(check_bag(path))
    path = write_bag(tmp_path / "depth", messages_of(in_order(drive())))
    assert all(keyframe.depth is None for keyframe in captured(path, {"ingest.use_depth": False}))


def test_progress_comes_with_every_image(tmp_path: Path) -> None:
    told = []

    def progress(stage: str, done: int, total: int, **figures: float) -> None:
        told.append((stage, done, total, figures["keyframes"]))

    store = ListStore()
    report = capture_bag(write_bag(tmp_path / "drive", messages_of(in_order(drive()))), store, MapConfig(), progress)
    assert [done for _, done, _, _ in told] == list(range(1, 41)) and told[-1][2] == 40
    assert report.num_images == 40 and report.num_keyframes == len(store) == report.num_new
    assert f"{len(store)} new keyframes" in str(report) and "motion" in str(report)


def test_mapping_the_same_recording_again_adds_nothing(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "drive", messages_of(in_order(drive(60))))
    store = captured(path)
    before = len(store)
    report = capture_bag(path, store, MapConfig())
    assert report.num_new == 0 and len(store) == before and report.counts["duplicate"] == before


def problem(tmp_path: Path, records: Sequence[Record], changes: dict | None = None) -> str:
    path = write_bag(tmp_path / "drive", messages_of(records))
    with pytest.raises(BagError) as error:
        captured(path, changes)
    report = check_bag(path)
    if not changes:
        assert not report.can_be_mapped and str(error.value).split(":")[0] in report.reason
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_recording_says_so(tmp_path: Path) -> None:
    for read in (captured, check_bag):
        with pytest.raises(BagError, match=r"there is no recording at .*nowhere; check the path"):
            read(tmp_path / "nowhere")


def test_what_is_no_recording_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no bag")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    for name, words in (
        ("empty", "holds no recording"),
        ("text.txt", "is no recording"),
        ("old.bag", "rosbags-convert"),
    ):
        with pytest.raises(BagError, match=words):
            captured(tmp_path / name)


@pytest.mark.parametrize("kind", ["mcap", "sqlite3"])
def test_an_empty_recording_says_so(tmp_path: Path, kind: str) -> None:
    path = write_bag(tmp_path / "drive", [], kind)
    with pytest.raises(BagError, match="is empty; record it again"):
        captured(path)
    assert not check_bag(path).can_be_mapped


def test_a_recording_without_poses_says_so(tmp_path: Path) -> None:
    text = problem(tmp_path, in_order(without(drive(), "tf")))
    assert "has no poses" in text and "record /tf and /tf_static" in text


def test_poses_in_another_frame_name_the_option(tmp_path: Path) -> None:
    topics = drive()
    topics["tf"] = [_renamed(record, "map", "odom") for record in topics["tf"]]
    assert "add --set frames.map_frame=odom" in problem(tmp_path, in_order(topics))
    assert described(captured(tmp_path / "drive", {"frames.map_frame": "odom"})) == expected()


def test_a_camera_that_tf_does_not_know_names_the_frames(tmp_path: Path) -> None:
    topics = drive()
    topics["tf"] = [_renamed(record, "camera", "base") for record in topics["tf"]]
    text = problem(tmp_path, in_order(topics))
    assert "does not join 'map' and the camera's frame 'camera' (frames: base, map)" in text


def test_a_recording_without_images_or_camera_info_says_so(tmp_path: Path) -> None:
    assert "no colour images" in problem(tmp_path / "a", in_order(without(drive(), "colour")))
    text = problem(tmp_path / "b", in_order(without(drive(), "info", "depth_info")))
    assert "record /camera/color/camera_info too" in text


def test_a_recording_whose_images_all_fail_says_why(tmp_path: Path) -> None:
    topics = drive()
    topics["info"] = [info(k=(0.0,) * 9)]
    path = write_bag(tmp_path / "drive", messages_of(in_order(topics)))
    with pytest.raises(BagError, match=r"none of the 40 images .* gave a keyframe; .*no focal length"):
        captured(path)


@pytest.mark.parametrize("kind", ["mcap", "mcap-zstd-chunks"])
def test_a_cut_off_mcap_says_how_to_repair_it(tmp_path: Path, kind: str) -> None:
    path = write_bag(tmp_path / "drive", messages_of(in_order(drive())), kind)
    (file,) = path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-2000])
    for given in (path, file):
        for read in (captured, check_bag):
            with pytest.raises(BagError, match=r"is cut off.*mcap recover"):
                read(given)


def test_damaged_recordings_of_other_kinds_are_one_sentence(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "drive", messages_of(in_order(drive())), "sqlite3")
    (file,) = path.glob("*.db3")
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"nonsense" * 100, b""):
        file.write_bytes(damaged)
        with pytest.raises(BagError, match=r"ros2 bag reindex|empty") as error:
            captured(path)
        assert "\n" not in str(error.value)
    (path / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    with pytest.raises(BagError, match="ros2 bag reindex"):
        captured(path)
    file.unlink()
    with pytest.raises(BagError, match="cannot read"):
        captured(path)


def test_a_damaged_middle_of_an_mcap_is_one_sentence(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "drive", messages_of(in_order(drive())), "mcap-zstd-chunks")
    (file,) = path.glob("*.mcap")
    file.write_bytes(file.read_bytes().replace(b"\x28\xb5\x2f\xfd", b"\x55" * 4))  # the start of every zstd frame
    with pytest.raises(BagError, match="repair it with") as error:
        captured(path)
    assert "\n" not in str(error.value)


def test_topics_carry_type_and_count(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "drive", messages_of(in_order(drive())))) as bag:
        assert bag.topics["/camera/color/image_raw"].count == 40
        assert bag.topics["/tf"].type == "tf2_msgs/msg/TFMessage"
        times = [time for _, time, _ in bag.messages(list(bag.topics))]
        assert times == sorted(times) and (times[0], times[-1]) == bag.span_ns


def test_the_report_shows_a_camera_that_is_not_upright(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "drive", messages_of(in_order(drive())))
    assert check_bag(path).warnings == [] or "frames.map_up" not in check_bag(path).settings
    wrong = check_bag(path, updated(MapConfig(), {"frames.map_up": "[0, 1, 0]"}))
    assert wrong.settings["frames.map_up"] == "[0,0,1]"


@pytest.fixture(scope="module")
def kitchen() -> tuple[BagReport, ListStore]:
    """What check-bag says of the kitchen, and the keyframes with the options that it suggests."""
    report = check_bag(BAGS / "redkitchen_rgbd_60")
    return report, captured(BAGS / "redkitchen_rgbd_60", dict(report.settings))


@pytest.mark.data
def test_the_kitchen_gives_enough_keyframes_with_the_options_that_check_bag_suggests(
    kitchen: tuple[BagReport, ListStore],
    tmp_path: Path,
) -> None:
    report, store = kitchen
    assert report.can_be_mapped and report.num_posed == 60
    assert report.settings["frames.map_up"] == "[0,-1,0]"
    settings = tmp_path / "options.yaml"
    subprocess.run(report.commands[1].replace("options.yaml", str(settings)), shell=True, check=True)
    assert load_config(settings) == updated(MapConfig(), dict(report.settings))
    assert "frames.map_up=[0,-1,0]" in str(report) and "not registered (f = 585.0" in str(report)
    assert len(store) == report.num_suggested >= 40
    known = np.mean([np.isfinite(keyframe.depth).mean() for keyframe in store])
    assert 0.6 < known < (525 / 585) ** 2 + 0.01  # the depth camera sees less than the colour camera


@pytest.mark.data
def test_reprojected_depth_of_the_kitchen_lies_on_its_edges(kitchen: tuple[BagReport, ListStore]) -> None:
    """Depth edges fall on picture edges more often once depth is reprojected than if it were taken as registered."""
    _, store = kitchen
    with Bag(BAGS / "redkitchen_rgbd_60") as bag:
        raw = {
            record.stamp_ns: decode_depth(record)
            for _, _, message in bag.messages(["/camera/depth/image_rect_raw"])
            for record in [depth_record(message)]
        }
    assert _edge_agreement(store, [k.depth for k in store]) > 1.3 * _edge_agreement(
        store, [raw[k.stamp_ns] for k in store]
    )


@pytest.mark.data
def test_the_shelf_is_registered_and_every_image_is_kept() -> None:
    report = check_bag(BAGS / "label_fusion_rgbd_15")
    assert report.can_be_mapped and not report.settings and "registered to the colour images" in str(report)
    store = captured(BAGS / "label_fusion_rgbd_15")
    assert len(store) == report.num_keyframes == 15
    by_topic = captured(BAGS / "label_fusion_rgbd_15", pose_topic="/camera/pose")
    for a, b in zip(store, by_topic, strict=True):
        np.testing.assert_allclose(a.world_from_camera, b.world_from_camera, atol=1e-9)


def _edge_agreement(store: ListStore, depths: Sequence) -> float:
    """Share of depth edges that lie within a pixel of a picture's edge."""
    shares = []
    for keyframe, metres in zip(store, depths, strict=True):
        edges = cv2.Canny(cv2.cvtColor(keyframe.image, cv2.COLOR_RGB2GRAY), 60, 150)
        edges = cv2.dilate(edges, np.ones((3, 3), np.uint8)) > 0
        step = np.abs(np.diff(metres, axis=1, prepend=np.nan)) > 0.15
        step[:, :64] = step[:, -64:] = False
        step[:48] = step[-48:] = False
        shares.append(edges[step].mean())
    return float(np.mean(shares))


def _renamed(record: Record, old: str, new: str) -> Record:
    names = {"parent": record.parent, "child": record.child}  # type: ignore[union-attr]
    return dataclasses.replace(record, **{k: new if v == old else v for k, v in names.items()})  # type: ignore[call-arg]


def _turned_back(record: Record) -> Record:
    return dataclasses.replace(record, quat=(1.0, 0.0, 0.0, 0.0))  # type: ignore[call-arg]


def _as_png(record: Record) -> ColourRecord:
    assert isinstance(record, ColourRecord)
    pixels = np.frombuffer(record.data, np.uint8).reshape(record.height, record.width, 3)
    data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    return ColourRecord(
        stamp_ns=record.stamp_ns, frame_id="camera", data=data, format="rgb8; png compressed bgr8", is_compressed=True
    )


def _as_compressed_depth(record: Record) -> DepthRecord:
    assert isinstance(record, DepthRecord)
    pixels = np.frombuffer(record.data, np.uint16).reshape(record.height, record.width)
    data = bytes(12) + cv2.imencode(".png", pixels)[1].tobytes()
    return DepthRecord(
        stamp_ns=record.stamp_ns, frame_id="camera", data=data, format="16UC1; compressedDepth png", is_compressed=True
    )
