# SPDX-License-Identifier: Apache-2.0
"""Whatever a request holds, it is answered or refused by a sentence: property-based, and over DDS."""

import math
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.srv import EncodeText, RenderView, SemanticQuery
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ros.harness import DISCOVERY, RELIABLE
from ros.small_map import BLUE_CENTRE, RED_CENTRE, map_at, small_map, start_with_map
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String

from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import CclLgsError, TransformError
from ccl_lgs_ros.geometry import rigid, rotation_from_quat
from ccl_lgs_ros.ingest.transforms import TransformBuffer
from ccl_lgs_ros.navigating import Surroundings, surroundings
from ccl_lgs_ros.query.boxes import Box, is_inside, overlap
from ccl_lgs_ros.ros.answers import answer_cloud, gaussian_indices, instance_messages
from ccl_lgs_ros.ros.conversions import header_message
from ccl_lgs_ros.ros.destinations import destinations
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.ros.pictures import asked_picture, draw
from ccl_lgs_ros.ros.query_options import QueryNodeOptions
from ccl_lgs_ros.ros.questions import ask, error_code, thinned
from ccl_lgs_ros.ros.requests import MOST_APPROACHES, MOST_INSTANCES, checked_question
from ccl_lgs_ros.structures import SemanticMap

CODES = SemanticQuery.Response
OPTIONS = QueryNodeOptions(max_points=100, max_pixels=200 * 200)
LOOKUP = TransformBuffer(cache=10.0).lookup_newest  # knows no frame
PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

numbers = st.one_of(
    st.floats(width=64),  # NaN, infinities, denormal and huge ones among them
    st.sampled_from([0.0, 1e-300, 1e300, -1.0, 1e6, 1e-3, math.pi]),
    st.floats(-2.0, 2.0),
)
texts = st.one_of(st.text(max_size=40), st.sampled_from(["", "red", "blue box", "\x00", "\n", "🟥", "r" * 5000]))
points = st.builds(Point, x=numbers, y=numbers, z=numbers)
poses = st.builds(
    Pose,
    position=points,
    orientation=st.one_of(
        st.just(Quaternion(w=1.0)), st.builds(Quaternion, x=numbers, y=numbers, z=numbers, w=numbers)
    ),
)
singles = st.one_of(st.floats(width=32), st.floats(0.0, 1.0, width=32), st.just(-1.0))
requests = st.builds(
    SemanticQuery.Request,
    prompt=texts,
    threshold=singles,
    max_instances=st.integers(0, 2**32 - 1) | st.integers(0, 3),
    level=texts | st.sampled_from(["auto", "whole", "part", "wp"]),
    frame_id=texts | st.just("map") | st.just(""),
    roi_pose=poses,
    roi_size=st.builds(Vector3, x=numbers, y=numbers, z=numbers) | st.just(Vector3()),
    near=st.lists(points, max_size=1),
    seen_from=st.lists(poses, max_size=1),
    plain=st.booleans(),
    max_approaches=st.integers(0, 2**32 - 1) | st.integers(0, 3),
    standoff=singles,
)
sides = st.integers(0, 2**32 - 1) | st.integers(0, 200)
matrices = st.lists(numbers | st.floats(1.0, 300.0), min_size=9, max_size=9)
infos = st.builds(CameraInfo, width=sides, height=sides, k=matrices) | st.just(CameraInfo())


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> MapReader:
    path = map_at(tmp_path_factory.mktemp("limits") / "map", small_map(0.02)).path
    reader = MapReader(path, updated(MapConfig(), {"rendering.rasterizer": "numba_cpu"}))
    reader.open()
    return reader


@pytest.fixture(scope="module")
def around(reader: MapReader) -> Surroundings:
    return surroundings(reader.map, MapConfig())


def reply_to(reader: MapReader, request: SemanticQuery.Request, options: QueryNodeOptions = OPTIONS):
    return ask(reader, MapConfig(), checked_question(request, options), LOOKUP, options.max_points)


def stamped(pose: Pose, frame_id: str) -> PoseStamped:
    message = PoseStamped(pose=pose)
    message.header.frame_id = frame_id
    return message


@PROPERTY
@given(request=requests)
def test_any_question_is_answered_or_refused_by_a_sentence(
    reader: MapReader, around: Surroundings, request: SemanticQuery.Request
) -> None:
    try:
        reply = reply_to(reader, request)
        found = destinations(reply, checked_question(request, OPTIONS), around, MapConfig())
    except CclLgsError as error:
        assert str(error) and len(str(error)) < 1000
        assert error_code(error) not in (CODES.OK, CODES.INTERNAL, CODES.NO_MAP)
        return
    rows = gaussian_indices(reply.listed)
    assert len(rows) <= OPTIONS.max_points and reply.message
    header = header_message(0, reply.frame_id)
    cloud = answer_cloud(reply.listed, reply.semantic_map.gaussians, reply.answer_from_world, header)
    messages = instance_messages(reply.answer.instances, reply.answer_from_world, reply.listed, found.poses)
    assert cloud.width == len(rows) and all(math.isfinite(m.centroid.x) for m in messages)
    assert all(math.isfinite(pose.position.x) for m in messages for pose in m.approach_poses)


@settings(PROPERTY, max_examples=60)
@given(
    pose=poses,
    frame=texts | st.sampled_from(["", "map"]),
    info=infos,
    prompt=texts,
    what=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_any_picture_is_drawn_or_refused_by_a_sentence(reader: MapReader, pose, frame, info, prompt, what) -> None:
    rgb, depth, relevancy, mask = what
    request = RenderView.Request(
        camera_pose=stamped(pose, frame), camera_info=info, prompt=prompt, rgb=rgb, depth=depth,
        relevancy=relevancy, mask=mask,
    )  # fmt: skip
    try:
        response = draw(asked_picture(reader, MapConfig(), OPTIONS, request, LOOKUP), 0)
    except CclLgsError as error:
        assert str(error) and len(str(error)) < 1000
        return
    drawn = (response.rgb, response.depth, response.relevancy, response.mask)
    assert [len(images) for images in drawn] == what
    assert all(image.width * image.height <= OPTIONS.max_pixels for images in drawn for image in images)


def test_a_picture_of_sixty_thousand_pixels_a_side_is_refused(reader: MapReader) -> None:
    info = CameraInfo(width=60_000, height=60_000, k=[1e5, 0.0, 3e4, 0.0, 1e5, 3e4, 0.0, 0.0, 1.0])
    with pytest.raises(CclLgsError, match="60000x60000"):
        asked_picture(reader, MapConfig(), OPTIONS, RenderView.Request(camera_info=info), LOOKUP)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "r" * 1001),
        ("threshold", math.nan),
        ("threshold", math.inf),
        ("max_instances", MOST_INSTANCES + 1),
        ("level", "roof"),
        ("frame_id", "f" * 1000),
        ("near", [Point(x=math.nan)]),
        ("near", [Point(y=1e9)]),
        ("roi_size", Vector3(x=-1.0)),
        ("roi_size", Vector3(x=math.inf)),
        ("seen_from", [Pose(position=Point(x=math.nan))]),
        ("seen_from", [Pose(orientation=Quaternion(w=0.0))]),
        ("max_approaches", MOST_APPROACHES + 1),
        ("standoff", math.nan),
        ("standoff", 1e6),
    ],
)
def test_what_cannot_be_is_refused_by_name(reader: MapReader, field: str, value) -> None:
    with pytest.raises(CclLgsError, match=field) as refused:
        reply_to(reader, SemanticQuery.Request(**{"prompt": "red", field: value}))
    assert error_code(refused.value) == CODES.BAD_REQUEST


def test_a_map_of_one_level_has_no_other(tmp_path: Path) -> None:
    both = small_map(0.02)
    one = SemanticMap(gaussians=both.gaussians, levels={"wp": both.levels["wp"]}, encoder=both.encoder)
    reader = MapReader(map_at(tmp_path / "map", one).path, MapConfig())
    reader.open()
    assert reply_to(reader, SemanticQuery.Request(prompt="red", level="whole")).answer.instances
    with pytest.raises(CclLgsError, match="no level 'part'; it has: wp") as refused:
        reply_to(reader, SemanticQuery.Request(prompt="red", level="part"))
    assert error_code(refused.value) == CODES.BAD_REQUEST


def test_a_frame_that_nothing_publishes_is_a_matter_of_tf(reader: MapReader) -> None:
    with pytest.raises(TransformError, match="elsewhere"):
        reply_to(reader, SemanticQuery.Request(prompt="red", frame_id="elsewhere"))


def test_more_gaussians_than_may_be_listed_are_thinned_evenly_and_the_message_says_so(reader: MapReader) -> None:
    request = SemanticQuery.Request(prompt="red")
    everything, few = reply_to(reader, request, QueryNodeOptions()), reply_to(reader, request)
    (whole,), (part,) = everything.listed, few.listed
    assert set(part.gaussian_ids.tolist()) < set(whole.gaussian_ids.tolist())
    assert len(part.gaussian_ids) == OPTIONS.max_points
    assert f"{OPTIONS.max_points} of their {len(whole.gaussian_ids)} Gaussians are listed" in few.message
    assert "listed" not in everything.message
    (message,) = instance_messages(few.answer.instances, few.answer_from_world, few.listed)
    assert message.num_gaussians == len(whole.gaussian_ids), "how many there are is told all the same"


def test_instances_share_what_may_be_listed_by_their_size(reader: MapReader) -> None:
    instances = [
        i for prompt in ("red", "grey") for i in reply_to(reader, SemanticQuery.Request(prompt=prompt)).answer.instances
    ]
    sizes = np.array([len(i.gaussian_ids) for i in instances])
    kept = [len(i.gaussian_ids) for i in thinned(instances, 50)]
    assert kept == (sizes * 50 // sizes.sum()).tolist() and sum(kept) <= 50
    offsets = [m.index_offset for m in instance_messages(instances, np.eye(4), thinned(instances, 50))]
    assert offsets == np.concatenate([[0], np.cumsum(kept)[:-1]]).tolist()


def region(center: tuple[float, float, float], size: float) -> dict:
    pose = Pose(position=Point(x=center[0], y=center[1], z=center[2]), orientation=Quaternion(w=1.0))
    return {"roi_pose": pose, "roi_size": Vector3(x=size, y=size, z=size)}


def test_a_thing_is_in_a_region_that_its_box_overlaps(reader: MapReader) -> None:
    corner = tuple(c + 0.1 for c in RED_CENTRE)
    for center, size, expected in ((corner, 0.05, 1), (RED_CENTRE, 0.02, 1), (BLUE_CENTRE, 0.3, 0), (corner, 3.0, 1)):
        request = SemanticQuery.Request(prompt="red", **region(center, size))
        assert len(reply_to(reader, request).answer.instances) == expected, (center, size)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_boxes_overlap_as_their_points_say(seed: int) -> None:
    generator = np.random.default_rng(seed)

    def random_box() -> Box:
        rotation = rotation_from_quat(generator.normal(size=4))
        return Box(center=generator.uniform(-1, 1, 3), rotation=rotation, size=generator.uniform(0.0, 1.5, 3))

    def sampled(box: Box) -> np.ndarray:
        return box.center + (generator.uniform(-0.5, 0.5, (400, 3)) * box.size) @ box.rotation.T

    one, other = random_box(), random_box()
    assert overlap(one, other) == overlap(other, one)
    if is_inside(one, sampled(other)).any() or is_inside(other, sampled(one)).any():
        assert overlap(one, other)
    away = Box(center=one.center + 10.0, rotation=other.rotation, size=other.size)
    assert not overlap(one, away)
    frame = rigid(rotation_from_quat(generator.normal(size=4)), generator.normal(size=3))
    moved = [
        Box(center=frame[:3, :3] @ b.center + frame[:3, 3], rotation=frame[:3, :3] @ b.rotation, size=b.size)
        for b in (one, other)
    ]
    grown = [Box(center=b.center, rotation=b.rotation, size=b.size + 1e-6) for b in moved]
    assert overlap(*grown) >= overlap(one, other)


def test_row_40_any_text_is_answered_and_the_node_lives_on(client, start, tmp_path: Path, record_property) -> None:
    node = start_with_map(start, map_path=map_at(tmp_path / "map", small_map(0.02)).path)
    ask_for = lambda text, **fields: client.call(SemanticQuery, "semantic_query", prompt=text, **fields)  # noqa: E731
    assert ask_for("").error_code == CODES.EMPTY_PROMPT
    assert ask_for(" \n\t ").error_code == CODES.EMPTY_PROMPT
    assert ask_for(" ".join(["red"] * 500)).error_code == CODES.BAD_REQUEST
    assert ask_for("r" * 100_000).error_code == CODES.BAD_REQUEST
    for text in (
        "🟥",
        "красная кружка",
        "赤い箱",
        "red\nbox",
        "red\x00box",
        "'; DROP TABLE",
        "%s %n {}",
        "\u202egnorts",
    ):
        response = ask_for(text)
        assert response.success and response.message, text
    assert ask_for("the red\nbox").instances, "a newline is a space"
    caller, began = ready_client(client), time.monotonic()
    for _ in range(100):
        futures = [caller.call_async(SemanticQuery.Request(prompt="red")) for _ in range(10)]
        client.until(lambda futures=futures: all(f.done() for f in futures), 60, "an answer to each")
        assert all(f.result().success and len(f.result().instances) == 1 for f in futures)
    record_property("figure", f"the same question 1000 times, ten at once, in {time.monotonic() - began:.0f} s")
    texts = client.call(EncodeText, "encode_text", prompts=["red"] * 5000)
    assert not texts.success and "5000" in texts.message
    assert client.call(EncodeText, "encode_text", prompts=["", "🟥", "red\x00"]).success
    assert not client.call(EncodeText, "encode_text", prompts=["r" * 2000]).success
    assert not client.call(EncodeText, "encode_text").features
    client.publisher(String, "query_text").publish(String(data="r" * 5000))
    check_burst(client)
    assert ask_for("red").success and node.is_alive


def check_burst(client) -> None:
    """Nonsense of every kind at once: each is told what is wrong with it."""
    nonsense = [
        *({"threshold": value} for value in (math.nan, math.inf, 7.0)),
        *({"near": [Point(x=value)]} for value in (math.nan, -math.inf, 1e30)),
        *({"roi_size": Vector3(x=value)} for value in (math.nan, math.inf, -1.0, 1e300)),
        *({"roi_size": Vector3(x=1.0), "roi_pose": pose} for pose in (Pose(orientation=Quaternion(w=0.0)), far())),
        *({"level": text, "frame_id": text} for text in ("🟥", "x" * 100_000)),
        {"max_instances": 2**32 - 1},
    ]
    caller = ready_client(client)
    futures = [caller.call_async(SemanticQuery.Request(**{"prompt": "red", **fields})) for fields in nonsense]
    client.until(lambda: all(f.done() for f in futures), 30, "an answer to each")
    for fields, future in zip(nonsense, futures, strict=True):
        response = future.result()
        assert (response.success, response.error_code) == (False, CODES.BAD_REQUEST), fields
        assert 0 < len(response.message) < 1000


def ready_client(client):
    """A client that may have many requests on their way."""
    caller = client.node.create_client(SemanticQuery, "semantic_query", qos_profile=RELIABLE)
    client.until(caller.service_is_ready, 2 * DISCOVERY, "the service")
    return caller


def far() -> Pose:
    return Pose(position=Point(x=math.nan), orientation=Quaternion(w=1.0))
