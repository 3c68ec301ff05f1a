# SPDX-License-Identifier: Apache-2.0
"""A robot and a training host that share no directory, between them a link that is slow and loses a third."""

import random
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import KeyframePiece, MapStatus
from ccl_lgs_ros.srv import LoadMap, SemanticQuery
from geometry_msgs.msg import PoseStamped
from lossy_link import Link
from nav_msgs.msg import Path as PathMessage
from ros.fake_camera import PERIOD_NS, START_NS, FakeCamera, stamp
from ros.harness import DISCOVERY, LATCHED, RELIABLE
from ros.relay import QOS, Relay
from ros.test_map_nodes import BUILD, FIRST_STEP, TRAIN, assert_is_red_square
from std_msgs.msg import Header

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

WIDTH, HEIGHT = 320, 240
NUM_KEYFRAMES = 20
LOSS = 0.3
RATE = 1_000_000.0  # bytes per second: 8 Mbit/s
FILLED = 90.0  # seconds that filling a map over the link may take on a busy machine


@pytest.fixture
def links(domain: int) -> Iterator[list[Link]]:
    """The link from the robot to the base, and the one back."""
    chance = random.Random(0)
    both = [Link(chance, loss=LOSS, repeats=0.1, delay=0.02, jitter=0.03, rate=RATE) for _ in range(2)]
    relay = Relay(domain, *both)
    yield both
    relay.close()


def fill(path: Path) -> None:
    """A map of noise, which no format makes small."""
    chance = np.random.default_rng(0)
    camera = Camera(width=WIDTH, height=HEIGHT, fx=250.0, fy=250.0, cx=WIDTH / 2, cy=HEIGHT / 2)
    with KeyframeStore(MapDirectory.create(path), writable=True) as store:
        for index in range(NUM_KEYFRAMES):
            image = chance.integers(0, 256, (HEIGHT // 2, WIDTH // 2, 3), np.uint8).repeat(2, axis=0).repeat(2, axis=1)
            depth = chance.uniform(1.0, 1.2, (HEIGHT, WIDTH)).astype(np.float32)
            pose = rigid(np.eye(3), np.array([index / 3, 0.0, 0.0]))
            assert store.append(
                Keyframe(
                    id=index,
                    stamp_ns=START_NS + index * PERIOD_NS,
                    camera=camera,
                    world_from_camera=pose,
                    image=image,
                    depth=depth,
                )
            )


def stored(path: Path) -> KeyframeStore | None:
    """The keyframes of a map, if there is one."""
    return KeyframeStore(MapDirectory.open(path)) if (path / "keyframes" / "keyframes.jsonl").exists() else None


def num_stored(path: Path) -> int:
    store = stored(path)
    return len(store) if store is not None else 0


def contents(path: Path) -> list[tuple]:
    """Everything that is known of the keyframes, poses as they were corrected, and their files."""
    store = stored(path)
    assert store is not None
    return [
        (entry.frame(), *((store.path / name).read_bytes() for name in entry.file_names)) for entry in store.entries
    ]


def heights(path: Path) -> list[float]:
    """How far keyframes lie from where they were before the correction."""
    store = stored(path)
    return [round(entry.world_from_camera[1, 3], 6) for entry in store.entries] if store is not None else []


def newest(statuses: list[MapStatus], node: str) -> MapStatus:
    return next((s for s in reversed(statuses) if s.node == node), MapStatus())


def move(path: Path, indices: Iterable[int]) -> None:
    """Correct poses: half a metre beside where they were."""
    with KeyframeStore(MapDirectory.open(path), writable=True) as store:
        entries = [store.entries[index] for index in indices]
        beside = rigid(np.eye(3), np.array([0.0, 0.5, 0.0]))
        assert store.correct({(e.camera_name, e.stamp_ns): beside @ e.world_from_camera for e in entries})


def corrected_path(path: Path) -> PathMessage:
    """The same as what SLAM says after it has closed a loop."""
    store = stored(path)
    assert store is not None
    message = PathMessage(header=Header(frame_id="map"))
    for entry in store.entries:
        pose = PoseStamped(header=Header(frame_id="map", stamp=stamp(entry.stamp_ns)))
        pose.pose.position.x, pose.pose.position.y = float(entry.world_from_camera[0, 3]), 0.5
        pose.pose.orientation.w = 1.0
        message.poses.append(pose)
    return message


def test_row_17_keyframes_cross_a_bad_link_though_every_side_fails_in_between(
    client, start, links: list[Link], tmp_path: Path, record_property
) -> None:
    robot, base = tmp_path / "robot", tmp_path / "base"
    fill(robot)
    size = sum(len(file) for _, *files in contents(robot) for file in files)
    statuses = client.collect(MapStatus, "/robot/status", LATCHED)
    bases = client.collect(MapStatus, "/base/status", LATCHED)
    sends = lambda: start("keyframe_node", "/robot", map_path=robot, keyframe_transport="topic")  # noqa: E731
    takes = lambda **o: start("training_node", "/base", map_path=base, keyframe_transport="topic", train=False, **o)  # noqa: E731
    sender = sends()
    sender.wait_for("nobody acknowledges", 20 + DISCOVERY)
    client.until(lambda: "nobody acknowledges" in newest(statuses, "keyframe_node").message, 5, "a status that says so")
    assert "check the link" in sender.output or "start training_node with keyframe_transport:=topic" in sender.output
    assert newest(statuses, "keyframe_node").keyframes_pending == NUM_KEYFRAMES

    began = time.monotonic()
    receiver = takes(keyframes__max_disk_gb=6.5 / NUM_KEYFRAMES * size / 1e9)
    client.until(lambda: "raise keyframes.max_disk_gb" in newest(statuses, "keyframe_node").message, FILLED, "full")
    assert "the other host stores no keyframes" in newest(statuses, "keyframe_node").message
    client.until(lambda: "raise keyframes.max_disk_gb" in newest(bases, "training_node").message, FILLED, "told there")
    assert num_stored(base) == 6

    receiver.power_off()
    receiver = takes()
    client.until(lambda: num_stored(base) >= 7, FILLED, "the restarted receiver goes on")
    sender.power_off()
    assert num_stored(base) < NUM_KEYFRAMES
    move(robot, range(NUM_KEYFRAMES))
    sender = sends()
    client.until(lambda: heights(base) == [0.5] * NUM_KEYFRAMES, FILLED, "all keyframes, as they were corrected")
    client.until(lambda: not newest(statuses, "keyframe_node").keyframes_pending, FILLED, "nothing waits")
    seconds = time.monotonic() - began

    assert contents(base) == contents(robot)
    share = sum(link.num_lost for link in links) / sum(link.num_sent for link in links)
    assert share == pytest.approx(LOSS, abs=0.05)
    assert links[0].queue < 0.5, "the slow link was not flooded"
    assert sender.interrupt() == 0 and receiver.interrupt() == 0
    what = f"{NUM_KEYFRAMES} of {NUM_KEYFRAMES} keyframes of {size // NUM_KEYFRAMES // 1000} kB in {seconds:.0f} s"
    link = f"{8 * RATE / 1e6:.0f} Mbit/s, {share:.0%} of the messages lost"
    cost = f"{links[0].sent / size:.2f} times their bytes sent, at most {links[0].queue:.2f} s queued"
    record_property("figure", f"{what} over {link}: {cost}; disk full, receiver and sender killed in between")


def test_a_map_grows_on_another_host_and_answers_there(
    client, start, links: list[Link], tmp_path: Path, record_property
) -> None:
    robot, base = tmp_path / "robot", tmp_path / "base"
    start(
        "keyframe_node",
        "/robot",
        map_path=robot,
        keyframe_transport="topic",
        image_topic="/image",
        depth_topic="/depth",
        qos="reliable",
        ingest__tf_timeout=6.0,
        keyframes__min_translation=0.1,
    )
    training = start(
        "training_node", "/base", map_path=base, keyframe_transport="topic", **{**TRAIN, "snapshot_period": 1.0}
    )
    start("query_node", "/base", map_path=base, rendering__rasterizer="numba_cpu")
    statuses = client.collect(MapStatus, "/base/status", LATCHED)
    publisher = client.publisher(KeyframePiece, "/base/keyframe_piece", QOS)

    def is_nonsense_refused() -> bool:
        for source in ("../../escape", "0" * 32):
            for crc, count in ((0, 1), (zlib.crc32(b"nonsense"), 1), (zlib.crc32(b"nonsense"), 2**32 - 1)):
                piece = KeyframePiece(source=source, session=1, count=count, crc=crc)
                piece.data.frombytes(b"nonsense")
                publisher.publish(piece)
        return "is left out, 1 so far" in training.output

    client.until(is_nonsense_refused, 30, "nonsense is refused")
    camera = FakeCamera(client, RELIABLE)
    camera.step = FIRST_STEP
    began = time.monotonic()
    for _ in range(6):
        camera.send()
    client.until(lambda: num_stored(base) == 6, FILLED, "six keyframes on the other host")
    seconds = time.monotonic() - began
    client.until(
        lambda: (s := newest(statuses, "training_node")).map_version and s.keyframes == 6 and not s.keyframes_pending,
        BUILD,
        "a map of six keyframes",
    )
    assert contents(base) == contents(robot)

    def answer() -> SemanticQuery.Response | None:
        response = client.call(SemanticQuery, "/base/semantic_query", prompt="red square")
        return response if response.instances else None

    assert_is_red_square(client.until(answer, BUILD, "an answer from the map of the other host").instances[0])
    client.publisher(PathMessage, "/robot/corrected_path").publish(corrected_path(robot))
    client.until(lambda: heights(base) == [0.5] * 6, FILLED, "corrected poses on the other host")
    assert contents(base) == contents(robot)
    assert not list(tmp_path.rglob("*escape*"))

    MapDirectory.create(tmp_path / "other")
    loaded = client.call(LoadMap, "/base/training_node/load_map", BUILD, path=str(tmp_path / "other"))
    assert loaded.success, loaded.message
    client.until(lambda: num_stored(tmp_path / "other") == 6, FILLED, "the map that was loaded takes them over too")
    assert contents(tmp_path / "other") == contents(robot)
    record_property("figure", f"6 live keyframes in {seconds:.1f} s on the other host, {LOSS:.0%} lost")
