# SPDX-License-Identifier: Apache-2.0
"""What the query node publishes and lets one change, over DDS, on a map of a red and a blue box."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import SemanticInstance
from ccl_lgs_ros.srv import GetMapInfo, RenderView, SemanticQuery
from geometry_msgs.msg import Point, PoseStamped
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.qos import ReliabilityPolicy
from ros.harness import BEST_EFFORT, DISCOVERY, LATCHED
from ros.small_map import BOX, CAMERA, RED_CENTRE, map_at, small_map, start_with_map
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header, String

from ccl_lgs_ros.ros.answer_topics import AnswerTopics
from ccl_lgs_ros.ros.answers import instance_messages
from ccl_lgs_ros.ros.clouds import columns_of
from ccl_lgs_ros.ros.detections import detections_message, vision_messages

SLOW = 90.0  # seconds that a first picture may take on a busy machine
CPU = {"rendering__rasterizer": "numba_cpu"}
KINDS = {
    bool: ("bool_value", ParameterType.PARAMETER_BOOL),
    int: ("integer_value", ParameterType.PARAMETER_INTEGER),
    float: ("double_value", ParameterType.PARAMETER_DOUBLE),
    str: ("string_value", ParameterType.PARAMETER_STRING),
}


@pytest.fixture(scope="module")
def map_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return map_at(tmp_path_factory.mktemp("interface") / "map", small_map()).path


def parameter(name: str, value) -> Parameter:
    field, kind = KINDS[type(value)]
    return Parameter(name=name, value=ParameterValue(type=kind, **{field: value}))


def pixels(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)


def test_an_answer_is_on_every_topic_and_the_map_can_be_seen(client, start, map_path: Path) -> None:
    start_with_map(start, map_path=map_path, vocabulary="red, blue, green", **CPU)
    kinds = {"query/points": PointCloud2, "query/mask": Image, "query/overlay": Image}
    topics = {name: client.collect(kind, name, LATCHED) for name, kind in kinds.items()}
    previews = client.collect(Image, "preview", BEST_EFFORT)
    client.publisher(String, "query_text").publish(String(data="red"))
    client.until(lambda: all(topics.values()) and previews, SLOW, "the answer on its topics, and a preview")
    mask, overlay, preview = (pixels(m[-1]) for m in (topics["query/mask"], topics["query/overlay"], previews))
    assert (topics["query/mask"][-1].encoding, topics["query/overlay"][-1].encoding) == ("mono8", "rgb8")
    assert mask.shape == (CAMERA.height, CAMERA.width, 1) and set(np.unique(mask)) == {0, 255}
    red = preview[mask[..., 0] > 0].mean(axis=0)
    assert red[0] > 2 * red[1:].max(), "the mask lies on the red box in the preview"
    assert (overlay != preview).any() and (overlay[0, 0] == preview[0, 0]).all()
    check_another_view(client, topics)
    check_vocabulary(client)


def check_another_view(client, topics) -> None:
    """A picture that was asked for shows its answer on the topics, too, from where it was asked for."""
    small = CameraInfo(width=40, height=30, k=[35.0, 0.0, 19.5, 0.0, 35.0, 14.5, 0.0, 0.0, 1.0])
    pose = PoseStamped()
    pose.header.frame_id, pose.pose.position.z = "map", 1.5
    pose.pose.orientation.x, pose.pose.orientation.w = 1.0, 0.0
    asked = {"camera_info": small, "camera_pose": pose, "prompt": "blue", "mask": True}
    response = client.call(RenderView, "render_view", SLOW, **asked)
    assert response.success, response.message
    client.until(lambda: topics["query/mask"][-1].width == 40, DISCOVERY, "the mask from there")
    assert (pixels(topics["query/mask"][-1]) == pixels(response.mask[0])).all()


def check_vocabulary(client) -> None:
    """Labels of the cloud, what they stand for, and how many things have each."""
    info = client.call(GetMapInfo, "get_map_info")
    assert dict(zip(info.labels, info.label_counts, strict=True)) == {"red": 1, "blue": 1}
    assert (info.levels, info.vote_bytes) == (["wp", "sp"], 1234)
    clouds = client.collect(PointCloud2, "semantic_cloud", LATCHED)
    client.until(lambda: clouds, DISCOVERY, "the cloud of things")
    columns = columns_of(clouds[-1])
    x_of = {label: float(columns["x"][columns["label"] == label].mean()) for label in (1, 2)}
    assert set(np.unique(columns["label"])) == {0, 1, 2}
    assert (x_of[1], x_of[2]) == pytest.approx((RED_CENTRE[0], -RED_CENTRE[0]), abs=0.02)
    vision = vision_messages()
    if vision is not None:
        labels = client.collect(vision.LabelInfo, "label_info", LATCHED)
        found = client.collect(vision.Detection3DArray, "query/detections", LATCHED)
        client.until(lambda: labels and found, DISCOVERY, "labels and detections")
        assert [c.class_name for c in labels[-1].class_map] == ["", "red", "blue", "green"]
        assert labels[-1].threshold == pytest.approx(0.5)
        (box,) = found[-1].detections
        assert (box.results[0].hypothesis.class_id, box.bbox.size.z) == ("red", pytest.approx(BOX[2], abs=0.02))


def test_without_vision_msgs_there_is_no_such_output_and_nothing_else_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("vision_msgs", "vision_msgs.msg"):
        monkeypatch.setitem(sys.modules, name, None)
    assert vision_messages() is None
    sent: dict[str, list] = {}

    def create_publisher(_: type, topic: str, **__: object) -> SimpleNamespace:
        return SimpleNamespace(publish=sent.setdefault(topic, []).append)

    topics = AnswerTopics(SimpleNamespace(create_publisher=create_publisher), ["red"])  # type: ignore[arg-type]
    topics.publish(SemanticQuery.Response(), "red", PointCloud2())
    topics.publish_labels("map", 0.5)
    assert {topic: len(messages) for topic, messages in sent.items()} == {"query/points": 1, "query/markers": 1}


def test_a_detection_says_what_an_instance_says() -> None:
    vision = vision_messages()
    if vision is None:
        pytest.skip("needs vision_msgs")
    message = SemanticInstance(id=7, score=0.75, centroid=Point(x=1.0, y=2.0, z=3.0))
    message.box_size.x, message.box_pose.position.z = 0.5, 9.0
    array = detections_message(vision, [message], "red mug", Header(frame_id="map"))
    (found,) = array.detections
    assert array.header.frame_id == found.header.frame_id == "map"
    assert (found.id, found.bbox.size.x, found.bbox.center.position.z) == ("7", 0.5, 9.0)
    (result,) = found.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ("red mug", 0.75)
    assert result.pose.pose.position == Point(x=1.0, y=2.0, z=3.0)
    assert not detections_message(vision, instance_messages([], np.eye(4)), "x", Header()).detections


def test_row_19_a_viewer_gets_as_many_points_as_it_takes_also_when_that_changes(client, start, map_path: Path) -> None:
    override = "qos_overrides./gaussian_cloud.publisher.reliability"
    start_with_map(start, map_path=map_path, viz_max_points=1000, **{override: "best_effort"})
    clouds = client.collect(PointCloud2, "gaussian_cloud", BEST_EFFORT)
    client.until(lambda: clouds, 2 * DISCOVERY, "a cloud")
    assert clouds[-1].width == 1000
    publisher = client.node.get_publishers_info_by_topic("/gaussian_cloud")[0]
    assert publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT, "QoS is as the parameter says"

    def put(name: str, value):
        response = client.call(SetParameters, "query_node/set_parameters", parameters=[parameter(name, value)])
        return response.results[0]

    assert put("viz_max_points", 300).successful
    client.until(lambda: clouds[-1].width == 300, DISCOVERY, "a thinner cloud of the same version")
    answers = client.collect(PointCloud2, "query/points", LATCHED)
    assert put("publish_results", False).successful
    assert client.call(SemanticQuery, "semantic_query", prompt="red").success
    assert put("publish_results", True).successful
    assert client.call(SemanticQuery, "semantic_query", prompt="blue").success
    client.until(lambda: answers, DISCOVERY, "an answer on its topic")
    assert columns_of(answers[0])["x"].mean() > 0, "the first that is published is the second, of the blue box"
    for name, value in (("query.threshold", 0.9), ("query.max_instances", 3), ("max_prompt_length", 10)):
        assert put(name, value).successful, name
    response = client.call(SemanticQuery, "semantic_query", prompt="red")
    assert response.threshold == pytest.approx(0.9)
    assert client.call(SemanticQuery, "semantic_query", prompt="a long text").error_code == response.BAD_REQUEST
    for name, value, reason in (
        ("query.threshold", 1.5, "query.threshold"),
        ("query.level", "roof", "auto, whole, part"),
        ("viz_max_points", 1, "viz_max_points"),
        ("viz_max_points", "many", "INTEGER"),
        ("map_path", "/elsewhere", "map_path"),
        ("perception.encoder", "open_clip", "perception.encoder"),
    ):
        refused = put(name, value)
        assert not refused.successful and reason in refused.reason, refused.reason
    described = client.call(DescribeParameters, "query_node/describe_parameters", names=["viz_max_points", "map_path"])
    assert [d.read_only for d in described.descriptors] == [False, True]
