# SPDX-License-Identifier: Apache-2.0
"""Nodes that are killed at their work, ten times each, and nodes that are asked to end: nothing stored is lost."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.msg import Keyframe, MapStatus
from ccl_lgs_ros.srv import SemanticQuery
from ros.fake_camera import PERIOD_NS, START_NS, FakeCamera
from ros.harness import LATCHED, RELIABLE, Client, NodeProcess, next_domain
from ros.wall_map import BUILD, ENDLESS, ON_DEMAND

from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load

KILLS = 10
SENT = 2  # images before each kill
CAPTURE = {"qos": "reliable", "ingest.tf_timeout": 6.0, "keyframes.min_translation": 0.1}
BUILDING = {name.replace("__", "."): value for name, value in ON_DEMAND.items()}
STOPPED = 5.0  # seconds in which a node saves and ends after SIGINT
GONE = 30.0  # seconds in which a worker notices that its node is no more


class Fleet:
    """The three nodes over one map, in a domain of their own, and a client."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.domain = next_domain()
        self.client = Client(self.domain)
        stack.callback(self.client.close)
        given = {
            "keyframe_node": CAPTURE,
            "training_node": BUILDING,
            "query_node": {"rendering.rasterizer": "numba_cpu", "device": "cpu"},
        }
        self.nodes = {name: NodeProcess(name, self.domain, {"map_path": path, **more}) for name, more in given.items()}
        for node in self.nodes.values():
            stack.callback(node.close)
        self.stored = self.client.collect(Keyframe, "keyframe", RELIABLE)
        self.statuses = self.client.collect(MapStatus, "status", LATCHED)
        self.stages: list[Any] = []

    def capture(self, round: int) -> FakeCamera:
        """Send images from new places until they are stored."""
        camera = FakeCamera(self.client, RELIABLE)
        camera.step, camera.stamp_ns = SENT * round, START_NS + 100 * round * PERIOD_NS
        for _ in range(SENT):
            camera.send()
        self.client.until(lambda: len(self.stored) >= SENT, BUILD, "keyframes that are stored")
        return camera

    def train(self) -> Any:
        """A goal that never comes to its end, when the optimiser is at work."""
        handle = self.client.send_goal(BuildMap, "build_map", self.stages, iterations=ENDLESS)
        at_work = lambda: any(feedback.stage == "optimize" for feedback in self.stages)  # noqa: E731
        self.client.until(at_work, BUILD, "the optimiser at work")
        return handle

    def workers(self) -> list[int]:
        return self.nodes["training_node"].children()


@contextmanager
def fleet(path: Path) -> Iterator[Fleet]:
    """Nodes that are ended in any case."""
    with ExitStack() as stack:
        yield Fleet(path, stack)


def assert_whole(path: Path, stored: list[Keyframe], version: int) -> None:
    """Every keyframe that was announced can be read, and so can every version."""
    directory = MapDirectory.open(path)
    store = KeyframeStore(directory)
    by_stamp = {entry.stamp_ns: entry.id for entry in store.entries}
    for message in stored:
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        assert by_stamp[stamp_ns] == message.id
        assert store[message.id].depth is not None
    assert directory.newest_version() >= version
    for number in directory.versions():
        assert len(load(directory, number).gaussians) > 0


def is_gone(pid: int) -> Callable[[], bool]:
    return lambda: not Path(f"/proc/{pid}").exists()


@pytest.mark.timeout(900)
def test_row_26_each_node_is_killed_ten_times_at_work_and_goes_on(tmp_path: Path, record_property: Any) -> None:
    path, moments = tmp_path / "map", random.Random(0)
    stored: list[Keyframe] = []
    version = 0
    for round in range(KILLS):
        with fleet(path) as nodes:
            camera = nodes.capture(round)
            stored += nodes.stored
            if round % 3 == 0:
                handle = nodes.client.send_goal(BuildMap, "build_map", iterations=2)
                built = nodes.client.result(handle, BUILD).result
                assert built.success and built.num_keyframes == len(stored), built.message
                assert built.map_version > version
                version = built.map_version
            answer = nodes.client.call(SemanticQuery, "semantic_query", prompt="red")
            assert answer.success and answer.map_version >= version, answer.message
            nodes.train()
            (worker,) = nodes.workers()
            nodes.client.spin(moments.uniform(0, 0.3))
            camera.send()  # may or may not be stored when the node dies
            for node in nodes.nodes.values():
                os.kill(node.pid, signal.SIGKILL)
            nodes.client.until(is_gone(worker), GONE, "a worker that ends with its node")
            for node in nodes.nodes.values():
                assert node.wait(GONE) == -signal.SIGKILL
        assert_whole(path, stored, version)
        version = MapDirectory.open(path).newest_version()
    record_property(
        "figure", f"{KILLS} kills of each node: 0 of {len(stored)} keyframes lost, version {version} whole, no orphan"
    )


def test_row_29_an_interrupt_at_work_saves_and_ends_within_five_seconds(tmp_path: Path, record_property: Any) -> None:
    path = tmp_path / "map"
    with fleet(path) as nodes:
        camera = nodes.capture(0)
        nodes.train()
        (worker,) = nodes.workers()
        camera.send()
        seconds = {}
        for name, node in nodes.nodes.items():
            began = time.monotonic()
            os.kill(node.pid, signal.SIGINT)
            assert node.wait(2 * STOPPED) == 0, node.output
            seconds[name] = time.monotonic() - began
        assert is_gone(worker)(), "no zombie, no orphan"
        stored = nodes.stored
    directory = MapDirectory.open(path)
    assert_whole(path, stored, 1)
    assert load(directory).info["keyframes"] == SENT, "what was being trained was saved"
    for name in ("keyframes", "snapshots"):
        directory.lock(name)  # nobody holds it any more
    told = ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())
    record_property("figure", f"from SIGINT to a saved map and the end: {told}")
    assert max(seconds.values()) < STOPPED, told
