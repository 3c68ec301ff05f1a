# SPDX-License-Identifier: Apache-2.0
"""The keyframe node in its own process, fed over DDS."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import Keyframe, MapStatus
from nav_msgs.msg import Path as PathMessage
from ros.fake_camera import HEIGHT, STEP, WALL, WIDTH, FakeCamera, plane, stamp, transform
from ros.harness import BEST_EFFORT, DISCOVERY, LATCHED, RELIABLE, ROOT, STATIC_TF
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ccl_lgs_ros.ros.clouds import cloud_message
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

# Publisher and subscription may find each other seconds apart, so that images wait for what belongs to them.
QUICK = {"keyframes__min_translation": 0.1, "ingest__tf_timeout": 6.0}


def newest(statuses: list[MapStatus], node: str = "keyframe_node") -> MapStatus | None:
    """The last status of a node."""
    return next((s for s in reversed(statuses) if s.node == node), None)


def counted(statuses: list[MapStatus], **least: int):
    """A condition: the newest status counts at least so many."""

    def is_reached() -> bool:
        status = newest(statuses)
        return status is not None and all(getattr(status, name) >= count for name, count in least.items())

    return is_reached


def test_keyframes_from_topics_are_stored_and_announced(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", **QUICK)
    keyframes, paths = client.collect(Keyframe, "keyframe"), client.collect(PathMessage, "keyframe_path", LATCHED)
    frusta = client.collect(MarkerArray, "keyframe_markers", LATCHED)
    camera = FakeCamera(client, RELIABLE)
    for _ in range(4):
        camera.send()
    client.until(lambda: len(keyframes) == 4, 60, "four keyframes")
    client.until(lambda: frusta and len(frusta[-1].markers[1].points) == 4 * 16, 60, "four cameras")
    client.until(lambda: paths and len(paths[-1].poses) == 4, 60, "a path of four poses")
    assert [k.id for k in keyframes] == [0, 1, 2, 3]
    assert [k.world_from_camera.position.x for k in keyframes] == pytest.approx([STEP * i for i in (1, 2, 3, 4)])
    assert [k.translation for k in keyframes[1:]] == pytest.approx([STEP] * 3)
    assert keyframes[0].header.frame_id == "camera_optical" and keyframes[0].has_depth
    assert (keyframes[0].camera_info.width, keyframes[0].camera_info.height) == (WIDTH, HEIGHT)
    assert (Path(keyframes[3].map_path) / keyframes[3].uri).is_file()
    assert node.interrupt() == 0
    stored = json.loads((tmp_path / "map" / "keyframes" / "transforms.json").read_text())
    assert len(stored["frames"]) == 4


def test_label_images_are_stored_with_their_keyframes(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", label_topic="/detector/labels", **QUICK)
    keyframes = client.collect(Keyframe, "keyframe")
    camera = FakeCamera(client, RELIABLE, labels="/detector/labels")
    sent = [camera.send() or camera.labels() for _ in range(3)]
    client.until(lambda: len(keyframes) == 3, 60, "three keyframes")
    assert node.interrupt() == 0
    store = KeyframeStore(MapDirectory.open(tmp_path / "map"))
    assert len(store) == 3 and set(np.unique(sent[0])) == {0, 300}
    for index, labels in enumerate(sent):
        assert np.array_equal(store[index].labels, labels)


def test_points_of_a_cloud_topic_are_the_depth_where_there_are_no_depth_images(client, start, tmp_path: Path) -> None:
    node = start(
        "keyframe_node",
        map_path=tmp_path / "map",
        qos="reliable",
        ingest__use_depth=False,
        ingest__cloud_topic="lidar/points",
        **QUICK,
    )
    keyframes = client.collect(Keyframe, "keyframe")
    static = client.publisher(TFMessage, "/tf_static", STATIC_TF)
    static.publish(TFMessage(transforms=[transform(0, 0.5, "lidar", parent="camera_optical")]))
    clouds = client.publisher(PointCloud2, "lidar/points")
    camera = FakeCamera(client, RELIABLE, has_depth=False)
    x, y = np.meshgrid(np.arange(-2.0, 2.0, 0.025), np.arange(-1.5, 1.5, 0.025))
    points = np.stack([x - 0.5, y, np.full_like(x, WALL)], axis=-1).reshape(-1, 3)
    for _ in range(4):
        camera.send()
        header = Header(stamp=stamp(camera.stamp_ns), frame_id="lidar")
        clouds.publish(cloud_message({"x": points[:, 0], "y": points[:, 1], "z": points[:, 2]}, header))
    client.until(lambda: len(keyframes) == 3, 60, "keyframes of the images that a cloud has followed")
    assert all(k.has_depth and k.depth_valid_ratio > 0.9 for k in keyframes)
    assert node.interrupt() == 0
    depth = KeyframeStore(MapDirectory.open(tmp_path / "map"))[1].depth
    assert depth is not None and np.nanmedian(depth) == pytest.approx(WALL, abs=0.002)


def test_a_label_topic_that_nobody_publishes_is_explained(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", label_topic="labels", **QUICK)
    camera = FakeCamera(client, RELIABLE)
    camera.send()
    client.until(lambda: "Nobody publishes the label images" in node.output, 15 + DISCOVERY, "a warning")
    assert "topics with images: /depth, /image; set label_topic" in node.output


def test_bad_images_are_counted_and_the_node_lives_on(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", **QUICK)
    statuses = client.collect(MapStatus, "status", LATCHED)
    camera = FakeCamera(client, RELIABLE)
    for broken in (
        Image(width=WIDTH, height=HEIGHT, step=3 * WIDTH, encoding="rgb8", data=b"short"),
        Image(width=WIDTH, height=HEIGHT, step=3 * WIDTH, encoding="no_such_encoding", data=bytes(3 * WIDTH * HEIGHT)),
        Image(),
    ):
        camera.send(image=broken)
    camera.send(depth=np.full((HEIGHT, WIDTH), np.nan, np.float32))
    holes = plane()
    holes[: HEIGHT // 2] = np.nan
    holes[HEIGHT // 2] = np.inf
    camera.send(depth=holes)
    client.until(
        counted(statuses, frames_received=5, frames_rejected_format=3, frames_dropped_depth=1, keyframes=1),
        20,
        f"three unreadable images, one without depth, one keyframe: {newest(statuses)}",
    )
    assert node.is_alive
    assert node.interrupt() == 0


def test_an_image_waits_for_its_transform(client, start, tmp_path: Path) -> None:
    start("keyframe_node", map_path=tmp_path / "map", qos="reliable", keyframes__min_translation=0.1)
    statuses, keyframes = client.collect(MapStatus, "status", LATCHED), client.collect(Keyframe, "keyframe")
    camera = FakeCamera(client, RELIABLE)
    client.until(lambda: camera.send() or client.spin(0.5) or keyframes, 60, "the first keyframe")
    client.spin(2.0)
    before = len(keyframes)
    camera.send(tf=False)
    client.spin(0.3)
    camera.send_tf()
    client.until(lambda: len(keyframes) == before + 1, 60, "a keyframe whose transform came late")
    camera.send(tf=False)
    client.until(counted(statuses, frames_dropped_tf=1), 60, "an image without transform is dropped and counted")
    assert len(keyframes) == before + 1


def test_capture_can_be_paused_and_forced(client, start, tmp_path: Path) -> None:
    start("keyframe_node", map_path=tmp_path / "map", qos="reliable", **QUICK)
    statuses, keyframes = client.collect(MapStatus, "status", LATCHED), client.collect(Keyframe, "keyframe")
    camera = FakeCamera(client, RELIABLE)
    camera.send()
    client.until(lambda: len(keyframes) == 1, 60, "the first keyframe")
    camera.send(moves=False)
    client.until(counted(statuses, frames_skipped_motion=1), 60, "an image without motion is no keyframe")
    assert client.call(Trigger, "keyframe_node/capture_now").success
    camera.send(moves=False)
    client.until(lambda: len(keyframes) == 2, 60, "a keyframe without motion, on demand")
    assert client.call(SetBool, "keyframe_node/pause_capture", data=True).success
    client.until(lambda: newest(statuses).state == MapStatus.STATE_PAUSED, 60, "the status says paused")
    camera.send()
    client.spin(1.0)
    assert len(keyframes) == 2
    assert client.call(SetBool, "keyframe_node/pause_capture", data=False).success
    camera.send()
    client.until(lambda: len(keyframes) == 3, 60, "capture goes on")


def test_silence_is_explained(client, start, tmp_path: Path) -> None:
    client.publisher(Image, "elsewhere/image_raw", BEST_EFFORT, is_awaited=False)
    node = start("keyframe_node", map_path=tmp_path / "map", image_topic="front/image")
    client.until(lambda: "no colour image for 5 s" in node.output, 5 + DISCOVERY, "a warning")
    for text in (
        "/front/image (0 publishers)",
        "/front/camera_info",
        "/depth (0 publishers)",
        "/tf",
        "elsewhere/image",
    ):
        assert text in node.output


def test_a_publisher_whose_qos_does_not_fit_is_named(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable")
    FakeCamera(client, BEST_EFFORT, is_awaited=False)
    client.until(lambda: "the publisher of /image offers another RELIABILITY" in node.output, 60, "a warning")


def test_names_follow_the_namespace(client, start, tmp_path: Path) -> None:
    start("keyframe_node", namespace="/robot1", map_path=tmp_path / "map")
    statuses = client.collect(MapStatus, "/robot1/status", LATCHED)
    client.until(lambda: statuses, DISCOVERY, "a status below the namespace")
    assert client.call(Trigger, "/robot1/keyframe_node/capture_now").success
    topics = {name for name, _ in client.node.get_topic_names_and_types()}
    assert {"/robot1/keyframe", "/robot1/keyframe_path", "/robot1/status"} <= topics
    assert not {"/keyframe", "/status"} & topics


def test_a_bad_parameter_is_one_sentence(start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", ingest__sync_slop=5.0)
    assert node.wait(3 * DISCOVERY) == 2
    assert "ingest.sync_slop" in node.output and "Traceback" not in node.output


def test_an_interrupt_is_obeyed_at_once(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map")
    node.wait_for("listening", DISCOVERY)
    began = time.monotonic()
    assert node.interrupt() == 0
    assert time.monotonic() - began < 5.0


def test_the_nodes_that_must_stay_light_never_load_torch() -> None:
    for name in ("keyframe_node", "training_node"):
        code = f"import sys, ccl_lgs_ros.ros.{name}; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0, name
