# SPDX-License-Identifier: Apache-2.0
"""The two ends of the transport of keyframes in one process: what maps that change or are damaged do to it."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from test_keyframe_store import keyframe, writer

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.ros.keyframe_receiver import KeyframeReceiver
from ccl_lgs_ros.ros.keyframe_sender import KeyframeSender
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

WAIT = 30.0  # seconds on a busy machine


@pytest.fixture
def node(domain: int) -> Iterator[Node]:
    """A node that both ends share, spinning."""
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("ends", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    is_open = threading.Event()
    is_open.set()

    def spin() -> None:
        while is_open.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin)
    thread.start()
    yield node
    is_open.clear()
    thread.join()
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def base(node: Node, tmp_path: Path) -> Iterator[Path]:
    """A map that takes over what is sent."""
    receiver = KeyframeReceiver(node, str(tmp_path / "base"), 1.0)
    yield tmp_path / "base"
    receiver.close()


@contextmanager
def sending(node: Node, path: Path) -> Iterator[KeyframeSender]:
    """A map that is sent."""
    directory = MapDirectory.open(path)
    with writer(directory) as store:
        sender = KeyframeSender(node, store, directory.map_id)
        yield sender
        sender.close()


def fill(path: Path, stamps: range) -> Path:
    with writer(MapDirectory.open_or_create(path)) as store:
        for stamp_ns in stamps:
            store.append(replace(keyframe(stamp_ns), stamp_ns=stamp_ns))
    return path


def stamps(path: Path) -> list[int]:
    return [entry.stamp_ns for entry in KeyframeStore(MapDirectory.open(path)).entries]


def until(condition: Callable[[], object]) -> None:
    ends_at = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.05)


def test_a_map_that_is_begun_anew_is_sent_too_and_an_older_copy_is_refused(node: Node, base: Path, tmp_path) -> None:
    first = fill(tmp_path / "first", range(2))
    shutil.copytree(first, tmp_path / "copy")
    with sending(node, fill(first, range(4))) as sender:
        until(lambda: stamps(base) == [0, 1, 2, 3] and not sender.num_waiting)
    with sending(node, fill(tmp_path / "second", range(2, 7))) as sender:
        until(lambda: stamps(base) == [0, 1, 2, 3, 4, 5, 6] and not sender.num_waiting)
    with sending(node, tmp_path / "copy") as sender:
        until(lambda: "putting back an older copy" in sender.trouble)
        report = sender.add_to({"state": 2, "message": "10 images"})
        assert report["message"].endswith("10 images") and "map_path" in report["message"]
        assert (report["state"], report["keyframes_pending"]) == (2, 0)
    with sending(node, first) as sender:
        until(lambda: not sender.num_waiting)
        assert not sender.trouble
    assert len(stamps(base)) == 7


def test_keyframes_that_are_damaged_on_the_robot_are_left_out_and_the_others_arrive(
    node: Node, base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    robot = fill(tmp_path / "robot", range(5))
    (robot / "keyframes" / "images" / "000001.jpg").write_bytes(b"noise")
    (robot / "keyframes" / "depth" / "000003.png").unlink()
    with sending(node, robot) as sender:
        until(lambda: not sender.num_waiting and stamps(base) == [0, 2, 4])
    assert "is left out, 1 so far" in caplog.text and "000003.png" in caplog.text


def test_a_map_has_one_writer_and_a_closed_receiver_lets_another_in(node: Node, base: Path, tmp_path: Path) -> None:
    with pytest.raises(MapError, match="are being written by process"):
        KeyframeReceiver(node, str(base), 1.0)
    other = KeyframeReceiver(node, str(tmp_path / "other"), 1.0)
    other.close()
    KeyframeReceiver(node, str(tmp_path / "other"), 1.0).close()
