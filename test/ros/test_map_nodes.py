# SPDX-License-Identifier: Apache-2.0
"""The training and query nodes in their own processes, over a map of a grey wall with a red square on it."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from action_msgs.msg import GoalStatus
from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.msg import MapStatus, SemanticGaussians
from ccl_lgs_ros.srv import EncodeText, GetMapInfo, LoadMap, RenderView, SaveMap, SemanticQuery
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.srv import ChangeState, GetState
from ros.fake_camera import (
    FOCAL,
    FRAME,
    HEIGHT,
    MAX_STEPS,
    START_NS,
    STEP,
    STEP_PX,
    WALL,
    WIDTH,
    FakeCamera,
    plane,
    transform,
    wall,
)
from ros.harness import DISCOVERY, LATCHED, RELIABLE, STATIC_TF
from sensor_msgs.msg import CameraInfo, PointCloud2
from std_msgs.msg import String
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.ros.clouds import columns_of
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load

NUM_KEYFRAMES = 8
FIRST_STEP = MAX_STEPS // 2 - NUM_KEYFRAMES // 2
BUILD = 120.0  # seconds that a build of the small map may take on a busy machine
TRAIN = {
    "niceness": 0,
    "refine_idle": 0.0,
    "gaussians__iterations": 10,
    "gaussians__image_width": 80,
    "gaussians__seed_stride": 1,
    "rendering__rasterizer": "numba_cpu",
    "device": "cpu",
}
ON_DEMAND = {**TRAIN, "train": False}
ENDLESS = 1_000_000  # iterations


@pytest.fixture
def keyframes(tmp_path: Path) -> Path:
    """A map directory that holds keyframes and nothing else."""
    path = tmp_path / "map"
    camera = Camera(width=WIDTH, height=HEIGHT, fx=FOCAL, fy=FOCAL, cx=WIDTH / 2, cy=HEIGHT / 2)
    with KeyframeStore(MapDirectory.create(path), writable=True) as store:
        for index in range(NUM_KEYFRAMES):
            step = FIRST_STEP + index
            image = np.ascontiguousarray(wall()[:, step * STEP_PX : step * STEP_PX + WIDTH])
            pose = rigid(np.eye(3), np.array([step * STEP, 0.0, 0.0]))
            store.append(
                Keyframe(
                    id=index,
                    stamp_ns=START_NS + index,
                    camera=camera,
                    world_from_camera=pose,
                    image=image,
                    depth=plane(),
                )
            )
    return path


def red_square() -> tuple[float, float, float]:
    """Its centre in the map, in metres."""
    middle_px = (WIDTH + MAX_STEPS * STEP_PX) // 2 - 44 + 22
    return (middle_px - WIDTH / 2) / FOCAL * WALL, 0.0, WALL


def assert_is_red_square(instance) -> None:
    found = (instance.centroid.x, instance.centroid.y, instance.centroid.z)
    assert found == pytest.approx(red_square(), abs=0.12)


def newest(statuses: list[MapStatus], node: str = "training_node") -> MapStatus | None:
    return next((s for s in reversed(statuses) if s.node == node), None)


def test_a_question_before_any_map_is_answered_with_no_map(client, start, tmp_path: Path) -> None:
    node = start("query_node", map_path=tmp_path / "none")
    response = client.call(SemanticQuery, "semantic_query", prompt="red square")
    assert (response.success, response.error_code) == (False, SemanticQuery.Response.NO_MAP)
    assert "build_map" in response.message
    for kind, name in ((GetMapInfo, "get_map_info"), (EncodeText, "encode_text"), (RenderView, "render_view")):
        response = client.call(kind, name)
        assert not response.success and response.message, name
    assert not client.call(LoadMap, "query_node/load_map", path=str(tmp_path / "nowhere")).success
    client.publisher(String, "query_text").publish(String(data="red square"))
    client.spin(0.5)
    assert not (tmp_path / "none").exists()
    assert node.interrupt() == 0


def test_a_map_is_built_on_demand_and_answers_every_service(client, start, keyframes: Path, tmp_path: Path) -> None:
    training = start("training_node", map_path=keyframes, **ON_DEMAND)
    query = start("query_node", map_path=keyframes, rendering__rasterizer="numba_cpu")
    feedback: list = []
    handle = client.send_goal(BuildMap, "build_map", feedback)
    assert handle.accepted
    assert not client.send_goal(BuildMap, "build_map").accepted, "a second goal while the first is worked on"
    done = client.result(handle, BUILD)
    result = done.result
    assert done.status == GoalStatus.STATUS_SUCCEEDED and result.success, result.message
    assert (result.error_code, result.num_keyframes, result.partial) == (result.OK, NUM_KEYFRAMES, False)
    assert result.map_version >= 1 and result.num_gaussians > 100 and result.psnr > 10 and result.duration > 0
    shares = [f.progress for f in feedback]
    assert len(feedback) < 20 * result.duration + 10, "feedback is sent when there is news"
    assert shares == sorted(shares) and {"keyframes"} <= {f.stage for f in feedback}

    clouds = client.collect(PointCloud2, "query/points", LATCHED)
    markers = client.collect(MarkerArray, "query/markers", LATCHED)
    response = client.call(SemanticQuery, "semantic_query", prompt="red square", include_indices=True)
    assert response.success and response.map_version == result.map_version, response.message
    assert response.unknown_words == ["square"] and response.header.frame_id == "map"
    assert len(response.instances) == 1
    assert_is_red_square(response.instances[0])
    assert len(response.gaussian_indices) == response.instances[0].num_gaussians
    client.until(lambda: clouds and markers, DISCOVERY, "the answer as cloud and markers")
    assert columns_of(clouds[-1])["id"].tolist() == list(response.gaussian_indices)

    check_queries(client)
    check_views(client)
    check_map_topics(client, result.num_gaussians)
    check_save_and_load(client, keyframes, tmp_path)
    children = training.children()
    assert len(children) == 1
    began = time.monotonic()
    assert training.interrupt() == 0 and query.interrupt() == 0
    assert time.monotonic() - began < 10.0
    assert not Path(f"/proc/{children[0]}").exists()


def check_queries(client) -> None:
    """What else a request may hold."""
    codes = SemanticQuery.Response
    ask = lambda **fields: client.call(SemanticQuery, "semantic_query", **fields)  # noqa: E731
    assert ask(prompt="").error_code == codes.EMPTY_PROMPT
    assert ask(prompt=" ".join(["red"] * 500)).error_code == codes.BAD_REQUEST
    assert ask(prompt="red", level="roof").error_code == codes.BAD_REQUEST
    assert ask(prompt="red", threshold=2.0).error_code == codes.BAD_REQUEST
    assert ask(prompt="red", frame_id="nowhere").error_code == codes.TF_ERROR
    nothing = ask(prompt="lime green sofa")
    assert nothing.success and not nothing.instances and nothing.best_score < nothing.threshold
    strict = ask(prompt="red", threshold=1.0)
    assert strict.success and strict.threshold == 1.0
    outside, inside = SemanticQuery.Request(), SemanticQuery.Request()
    for request, x in ((outside, red_square()[0] + 5.0), (inside, red_square()[0])):
        request.prompt = "red"
        request.roi_pose.position.x, request.roi_pose.position.z = x, WALL
        request.roi_pose.orientation.w = 1.0
        request.roi_size.x = request.roi_size.y = request.roi_size.z = 1.0
    fields = lambda r: {name: getattr(r, name) for name in ("prompt", "roi_pose", "roi_size")}  # noqa: E731
    assert not ask(**fields(outside)).instances
    assert len(ask(**fields(inside)).instances) == 1
    tf = client.publisher(TFMessage, "/tf_static", STATIC_TF)
    tf.publish(TFMessage(transforms=[transform(0, 1.0)]))
    client.until(lambda: ask(prompt="red", frame_id=FRAME).success, DISCOVERY, "an answer in the frame of the camera")
    there = ask(prompt="red", frame_id=FRAME)
    assert there.header.frame_id == FRAME
    assert there.instances[0].centroid.x == pytest.approx(red_square()[0] - 1.0, abs=0.12)


def check_views(client) -> None:
    """Pictures of the map, its figures and its language."""
    seen = client.call(RenderView, "render_view", BUILD, prompt="red", depth=True, relevancy=True, mask=True)
    assert seen.success, seen.message
    assert (seen.rgb[0].width, seen.rgb[0].height, seen.rgb[0].encoding) == (WIDTH, HEIGHT, "rgb8")
    depth = np.frombuffer(seen.depth[0].data, np.float32)
    assert np.nanmedian(depth) == pytest.approx(WALL, abs=0.1)
    mask = np.frombuffer(seen.mask[0].data, np.uint8).reshape(HEIGHT, WIDTH)
    assert set(np.unique(mask)) == {0, 255}
    rgb = np.frombuffer(seen.rgb[0].data, np.uint8).reshape(HEIGHT, WIDTH, 3)
    red, rest = rgb[mask > 0].mean(axis=0), rgb[mask == 0].mean(axis=0)
    assert red[0] > red[1] + 60 and abs(rest[0] - rest[1]) < 30
    small = CameraInfo(width=40, height=30, k=[25.0, 0.0, 19.5, 0.0, 25.0, 14.5, 0.0, 0.0, 1.0])
    pose = PoseStamped()
    pose.header.frame_id, pose.pose.position.x = "map", red_square()[0]
    chosen = client.call(RenderView, "render_view", BUILD, camera_info=small, camera_pose=pose)
    assert chosen.success and (chosen.rgb[0].width, chosen.rgb[0].height) == (40, 30)
    huge = CameraInfo(width=100_000, height=100_000, k=small.k)
    assert "100000" in client.call(RenderView, "render_view", camera_info=huge).message
    about = client.call(GetMapInfo, "get_map_info")
    assert about.success and about.num_keyframes == NUM_KEYFRAMES and about.map_frame == "map"
    assert sorted(about.levels) == ["sp", "wp"] and min(about.num_tracks) >= 1
    assert about.bounds_pose.position.z == pytest.approx(WALL, abs=0.5)
    texts = client.call(EncodeText, "encode_text", prompts=["red", "glorp"])
    rows = np.array(texts.features).reshape(2, texts.dim)
    assert np.linalg.norm(rows[0]) == pytest.approx(1.0, abs=1e-5) and not rows[1].any()
    assert texts.unknown_words == ["", "glorp"]


def check_map_topics(client, num_gaussians: int) -> None:
    """The map for viewers, for other programs, and its state for monitors."""
    looks = {name: client.collect(PointCloud2, name, LATCHED) for name in ("gaussian_cloud", "semantic_cloud")}
    whole = client.collect(SemanticGaussians, "semantic_gaussians", RELIABLE)
    reports = client.collect(DiagnosticArray, "/diagnostics")
    client.until(lambda: all(looks.values()) and whole, DISCOVERY, "the map on its topics")
    assert 0 < looks["gaussian_cloud"][-1].width <= num_gaussians
    before = len(whole)
    assert client.call(Trigger, "query_node/publish_map").success
    client.until(lambda: len(whole) > before, DISCOVERY, "the map again")
    assert sum(chunk.cloud.width for chunk in whole[before:]) == whole[-1].total_count == num_gaussians
    named = lambda: {status.name for array in reports for status in array.status}  # noqa: E731
    client.until(lambda: len(named()) == 2, DISCOVERY, "diagnostics of both nodes")


def check_save_and_load(client, keyframes: Path, tmp_path: Path) -> None:
    """A copy of the map, and another map in use."""
    saved = client.call(SaveMap, "training_node/save_map", path=str(tmp_path / "copy"), export_ply=True)
    assert saved.success and saved.path == str(tmp_path / "copy") and saved.size > 0, saved.message
    assert len(load(MapDirectory.open(tmp_path / "copy")).gaussians) > 100
    assert len(KeyframeStore(MapDirectory.open(tmp_path / "copy"))) == NUM_KEYFRAMES
    assert (tmp_path / "copy" / "splat.ply").is_file()
    assert not client.call(SaveMap, "training_node/save_map", path=str(tmp_path / "copy")).success
    assert client.call(SaveMap, "training_node/save_map", path=str(tmp_path / "copy"), overwrite=True).success
    assert not client.call(LoadMap, "training_node/load_map", path=str(tmp_path / "nowhere")).success
    loaded = client.call(LoadMap, "training_node/load_map", path=str(tmp_path / "copy"), resume_capture=False)
    assert loaded.success and loaded.map_version == saved.map_version, loaded.message
    assert loaded.num_keyframes == NUM_KEYFRAMES and loaded.num_gaussians > 100
    assert client.call(LoadMap, "query_node/load_map", path=str(tmp_path / "copy")).success
    assert client.call(GetMapInfo, "get_map_info").map_path == str(tmp_path / "copy")


def test_a_map_that_cannot_be_built_says_why(client, start, tmp_path: Path) -> None:
    start("training_node", map_path=tmp_path / "map", **ON_DEMAND)
    done = client.result(client.send_goal(BuildMap, "build_map"), BUILD)
    assert done.status == GoalStatus.STATUS_ABORTED
    assert done.result.error_code == BuildMap.Result.NOT_ENOUGH_KEYFRAMES
    assert "0 keyframes" in done.result.message and done.result.map_version == 0


def test_cancel_keeps_what_there_is_and_a_lost_worker_takes_nothing_along(client, start, keyframes: Path) -> None:
    node = start("training_node", map_path=keyframes, **ON_DEMAND)
    statuses = client.collect(MapStatus, "status", LATCHED)
    feedback: list = []
    handle = client.send_goal(BuildMap, "build_map", feedback, iterations=ENDLESS)
    client.until(lambda: any(f.stage == "optimize" for f in feedback), BUILD, "the optimiser at work")
    began = time.monotonic()
    handle.cancel_goal_async()
    done = client.result(handle, 20)
    assert done.status == GoalStatus.STATUS_CANCELED
    assert time.monotonic() - began < 10.0
    assert done.result.error_code == done.result.CANCELED and done.result.partial, done.result.message
    assert done.result.map_version == 1 and done.result.num_keyframes == NUM_KEYFRAMES

    feedback.clear()
    handle = client.send_goal(BuildMap, "build_map", feedback, iterations=ENDLESS)
    client.until(lambda: any(f.stage == "optimize" for f in feedback), BUILD, "the optimiser at work again")
    (worker,) = node.children()
    os.kill(worker, signal.SIGKILL)
    done = client.result(handle, 20)
    assert done.status == GoalStatus.STATUS_ABORTED and "killed by signal 9" in done.result.message
    assert load(MapDirectory.open(keyframes)).version == 1
    client.until(lambda: newest(statuses).state == MapStatus.STATE_ERROR, 5, "a status that says error")

    done = client.result(client.send_goal(BuildMap, "build_map", iterations=2), BUILD)
    assert done.result.success and done.result.map_version == 2, done.result.message
    timed = client.result(client.send_goal(BuildMap, "build_map", iterations=ENDLESS, max_duration=3.0), BUILD)
    assert timed.result.error_code == timed.result.TIMEOUT and timed.result.partial
    assert timed.result.map_version == 3
    assert client.call(Trigger, "training_node/reset").success
    assert node.interrupt() == 0
    assert not node.children()


def test_the_map_grows_by_itself_and_an_interrupt_loses_nothing(client, start, tmp_path: Path) -> None:
    path = tmp_path / "map"
    keyframe_node = start(
        "keyframe_node", map_path=path, qos="reliable", ingest__tf_timeout=6.0, keyframes__min_translation=0.1
    )
    keyframe_node.wait_for("listening", DISCOVERY)
    training = start("training_node", map_path=path, **{**TRAIN, "snapshot_period": 1.0, "refine_idle": 2.0})
    statuses = client.collect(MapStatus, "status", LATCHED)
    camera = FakeCamera(client, RELIABLE)
    camera.step = FIRST_STEP
    for _ in range(3):
        camera.send()
    client.until(lambda: (s := newest(statuses)) and s.map_version >= 1, BUILD, "a first version")
    for _ in range(3):
        camera.send()
    client.until(
        lambda: (s := newest(statuses)) and s.keyframes == 6 and not s.keyframes_pending, BUILD, "six keyframes"
    )
    client.until(lambda: not np.isnan(newest(statuses).psnr) or newest(statuses).stage == "register", BUILD, "a refine")
    client.until(lambda: "optimize_seconds" in load(MapDirectory.open(path)).info, BUILD, "a refined version")
    (worker,) = training.children()
    assert training.interrupt() == 0 and keyframe_node.interrupt() == 0
    assert not Path(f"/proc/{worker}").exists()
    assert load(MapDirectory.open(path)).info["keyframes"] == 6


def test_a_damaged_version_leaves_the_node_alive_and_says_so(client, start, keyframes: Path) -> None:
    (keyframes / "snapshots" / "000001").mkdir(parents=True)
    node = start("query_node", map_path=keyframes)
    response = client.call(SemanticQuery, "semantic_query", prompt="red")
    assert not response.success and "snapshot" in response.message
    shutil.rmtree(keyframes / "snapshots")
    assert node.is_alive


def test_a_lifecycle_manager_can_take_over(client, start, keyframes: Path) -> None:
    start("query_node", map_path=keyframes, autostart=False)
    assert client.call(GetState, "query_node/get_state").current_state.label == "unconfigured"
    assert not client.call(SemanticQuery, "semantic_query", prompt="red").success
    for label in ("configure", "activate", "deactivate", "cleanup"):
        request = ChangeState.Request()
        request.transition.label = label
        assert client.call(ChangeState, "query_node/change_state", transition=request.transition).success, label
    assert client.call(GetState, "query_node/get_state").current_state.label == "unconfigured"


def test_names_follow_the_namespace(client, start, keyframes: Path) -> None:
    start("query_node", namespace="/robot1", map_path=keyframes)
    response = client.call(SemanticQuery, "/robot1/semantic_query", prompt="red")
    assert response.error_code == SemanticQuery.Response.NO_MAP
    services = {name for name, _ in client.node.get_service_names_and_types()}
    own = ("semantic_query", "get_map_info", "encode_text", "render_view", "query_node/load_map")
    assert {f"/robot1/{name}" for name in own} <= services
