# SPDX-License-Identifier: Apache-2.0
"""Several cameras by names, each with topics, parameters and a frame of its own."""

import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

import rclpy
from capture_records import drive, in_order
from ccl_lgs_ros.msg import Keyframe
from rclpy.context import Context
from rclpy.node import Node
from ros.fake_camera import STEP, FakeCamera
from ros.harness import DISCOVERY, RELIABLE, ROOT
from ros_bags import messages_of, write_bag

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.ros.bag_capture import BagCapture
from ccl_lgs_ros.ros.camera_options import CameraOptions, declare_cameras
from ccl_lgs_ros.ros.capture_thread import AnnouncingStore
from ccl_lgs_ros.ros.keyframe_options import KeyframeNodeOptions
from ccl_lgs_ros.ros.parameters import declare_options
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory


def test_two_cameras_fill_one_map_each_with_its_own_motion(client, start, tmp_path: Path) -> None:
    node = start(
        "keyframe_node",
        map_path=tmp_path / "map",
        qos="reliable",
        ingest__tf_timeout=6.0,
        camera_names=["front", "left"],
        cameras__left__camera_frame="left_optical",
    )
    keyframes = client.collect(Keyframe, "keyframe")
    front = FakeCamera(client, RELIABLE, below="front/", frame="front_optical")
    left = FakeCamera(client, RELIABLE, below="left/", frame="left_optical", named="as_the_driver_has_it")
    left.step, left.stamp_ns = 2, left.stamp_ns + 30_000_000
    for _ in range(3):
        front.send()
        left.send()
    front.send(moves=False)
    front.send()
    client.until(lambda: len(keyframes) == 7, 60, "four keyframes of one, three of the other")
    assert Counter((k.camera, k.header.frame_id) for k in keyframes) == {
        ("front", "front_optical"): 4,
        ("left", "left_optical"): 3,
    }
    at = {name: [k.world_from_camera.position.x for k in keyframes if k.camera == name] for name in ("front", "left")}
    assert at["front"] == pytest.approx([STEP * i for i in (1, 2, 3, 4)])
    assert at["left"] == pytest.approx([STEP * i for i in (3, 4, 5)])
    assert [k.translation for k in keyframes if k.camera == "left"][1:] == pytest.approx([STEP] * 2)
    assert node.interrupt() == 0
    stored = KeyframeStore(MapDirectory.open(tmp_path / "map")).entries
    assert Counter(entry.camera_name for entry in stored) == {"front": 4, "left": 3}


def test_a_silent_camera_is_named_with_its_parameter(client, start, tmp_path: Path) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", camera_names=["front", "left"])
    client.until(lambda: "set cameras.front.image_topic" in node.output, 30 + DISCOVERY, "a warning")
    assert "no colour image of front and no colour image of left for 5 s" in node.output
    assert "/front/image (0 publishers)" in node.output and "/front/depth (0 publishers)" in node.output


@pytest.fixture
def make_node(domain: int) -> Iterator:
    """A node with command line arguments, in this process."""
    context, nodes = Context(), []
    rclpy.init(context=context, domain_id=domain)

    def make(*parameters: str) -> Node:
        cli = ["--ros-args", *(word for parameter in parameters for word in ("-p", parameter))]
        nodes.append(rclpy.create_node("node", context=context, cli_args=cli))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def test_no_names_are_one_camera_with_the_topics_of_the_node(make_node) -> None:
    node = make_node("image_topic:=/rgb", "label_topic:=/labels", "camera_names:=[]")
    cameras = declare_cameras(node, declare_options(node, KeyframeNodeOptions()), "eye")
    assert list(cameras) == [""]
    assert (cameras[""].image_topic, cameras[""].label_topic, cameras[""].camera_frame) == ("/rgb", "/labels", "eye")


def test_the_parameters_of_a_camera_are_its_own(make_node) -> None:
    node = make_node("camera_names:=[front, left]", "cameras.left.image_topic:=/rgb", "pose_topic:=/odometry")
    cameras = declare_cameras(node, declare_options(node, KeyframeNodeOptions()), "")
    assert list(cameras) == ["front", "left"]
    assert (cameras["front"].image_topic, cameras["left"].image_topic) == ("", "/rgb")
    assert "Colour images" in node.describe_parameter("cameras.front.image_topic").description


@pytest.mark.parametrize("namespace", ["", "/robot1"])
def test_the_parameter_file_of_the_docs_is_one(domain: int, tmp_path: Path, namespace: str) -> None:
    text = (ROOT / "docs" / "capturing.md").read_text()
    block = text[text.index("    /**/keyframe_node:") :].partition("\n\n")[0]
    (tmp_path / "parameters.yaml").write_text(textwrap.dedent(block))
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    given = ["--ros-args", "--params-file", str(tmp_path / "parameters.yaml")]
    node = rclpy.create_node("keyframe_node", namespace=namespace or None, context=context, cli_args=given)
    try:
        cameras = declare_cameras(node, declare_options(node, KeyframeNodeOptions()), "")
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert list(cameras) == ["front", "left"]
    assert cameras["left"].image_topic == "/left_camera/color/image_raw"
    assert cameras["left"].camera_frame == "left_optical" and cameras["front"].camera_frame == ""


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (("camera_names:=[front, front]",), "stands there twice"),
        (("camera_names:=['a/b']",), "'a/b' is no name"),
        (("camera_names:=[front]", "image_topic:=/rgb"), r"set cameras\.front\.image_topic"),
        (("camera_names:=[a, b]", "cameras.b.label_topic:=/l"), "'a' has none"),
        (("camera_names:=3",), "a list of texts"),
        (("camera_names:=[1, 2]",), "a list of texts"),
    ],
)
def test_names_that_cannot_be_are_explained(make_node, parameters: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        node = make_node(*parameters)
        declare_cameras(node, declare_options(node, KeyframeNodeOptions()), "")


def test_a_recording_of_several_cameras_is_read_by_their_names(tmp_path: Path) -> None:
    rigs = {"front": ("/front/image", "/front/depth"), "left": ("/rig/rgb/image_raw", "/rig/depth/image_raw")}
    sent = []
    for image, depth in rigs.values():
        info, depth_info = (f"{topic.rpartition('/')[0]}/camera_info" for topic in (image, depth))
        names = {"colour": image, "depth": depth, "info": info, "depth_info": depth_info}
        sent += messages_of(in_order(drive(20)), names)
    bag = write_bag(tmp_path / "bag", sorted(sent, key=lambda message: message[1]))
    store = AnnouncingStore(KeyframeStore(MapDirectory.create(tmp_path / "map"), writable=True))
    image, depth = rigs["left"]
    cameras = {"front": CameraOptions(), "left": CameraOptions(image_topic=image, depth_topic=depth)}
    capture = BagCapture(store, MapConfig(), bag, cameras, "")
    capture.run()
    assert capture.error == "" and capture.num_total == 40
    kept = Counter(entry.camera_name for entry in store.entries)
    assert kept["front"] == kept["left"] > 5
    assert dict(capture.camera_frames) == {"front": "camera", "left": "camera"}
    missing = BagCapture(store, MapConfig(), bag, {"rear": CameraOptions()}, "")
    missing.run()
    assert "camera 'rear': there is no topic /rear/image" in missing.error and "cameras.rear.*" in missing.error
