# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes of their own over real DDS, and a client that talks to them; every wait has an end."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

ROOT = Path(__file__).resolve().parents[2]
DISCOVERY = 10.0  # seconds that two processes may take to find each other
ORDERLY = 5.0  # seconds that a node may take to end, as launch has it
SPIN = 0.05  # seconds
QUESTIONS = ("SemanticQuery", "GetMapInfo", "EncodeText", "RenderView")  # that may be asked twice

RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STATIC_TF = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)

_domains = itertools.count(os.getpid())


def next_domain() -> int:
    """A domain that no other test of this process uses; 1 to 101 keep clear of ports that are given out freely."""
    return 1 + next(_domains) % 101


class NodeProcess:
    """One of our nodes, started as its own process; ended by its own id whatever happens."""

    def __init__(self, name: str, domain: int, parameters: Mapping[str, Any], *, namespace: str = "") -> None:
        command = [sys.executable, "-m", f"ccl_lgs_ros.ros.{name}", "--ros-args"]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={_text(value)}"]
        if namespace:
            command += ["-r", f"__ns:={namespace}"]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1"}
        environment["RCUTILS_LOGGING_USE_STDOUT"] = "1"
        self.name = name
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def output(self) -> str:
        """What it has said so far."""
        return "".join(self._lines)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def children(self) -> list[int]:
        """The processes that it has started and that live."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[1]) == self._process.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return found

    def wait_for(self, text: str, timeout: float) -> None:
        """Until it has said a text."""
        ends_at = time.monotonic() + timeout
        while text not in self.output:
            assert self.is_alive, f"{self.name} ended before it said {text!r}:\n{self.output}"
            assert time.monotonic() < ends_at, f"{self.name} did not say {text!r} in {timeout} s:\n{self.output}"
            time.sleep(SPIN)

    def wait(self, timeout: float) -> int:
        """Until it ends by itself; its exit code."""
        return self._process.wait(timeout)

    def interrupt(self) -> int:
        """Signal, and once more where the first was slept through; its exit code."""
        for _ in range(2):
            self._process.send_signal(signal.SIGINT)
            try:
                return self._process.wait(ORDERLY)
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError(f"{self.name} does not end:\n{self.output}")

    def power_off(self) -> None:
        """End it, and the processes that it has started, without a warning, as a power cut would."""
        children = self.children()
        self._process.kill()
        self._process.wait()
        for pid in children:
            kill(pid)

    def close(self) -> None:
        """End it: signal, signal again, kill."""
        if self.is_alive:
            children = self.children()
            try:
                self.interrupt()
            except AssertionError:
                self._process.kill()
                self._process.wait()
            for pid in children:
                kill(pid)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)


class Client:
    """A node of the test: publishes, listens, calls; never waits longer than it is told."""

    def __init__(self, domain: int) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node: Node = rclpy.create_node("test_client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._answered: set[str] = set()  # services that have answered

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def spin(self, seconds: float) -> None:
        """Listen for a while."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self._executor.spin_once(timeout_sec=SPIN)

    def until(self, condition: Callable[[], Any], timeout: float, what: str) -> Any:
        """Listen until something is true; its value."""
        ends_at = time.monotonic() + timeout
        while not (value := condition()):
            assert time.monotonic() < ends_at, f"not in {timeout} s: {what}"
            self._executor.spin_once(timeout_sec=SPIN)
        return value

    def collect(self, kind: type, topic: str, qos: QoSProfile = RELIABLE) -> list[Any]:
        """A list that fills with the messages of a topic."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def publisher(self, kind: type, topic: str, qos: QoSProfile = RELIABLE, *, is_awaited: bool = True) -> Any:
        """A publisher; by default one that somebody listens to already."""
        publisher = self.node.create_publisher(kind, topic, qos)
        if is_awaited:
            self.until(publisher.get_subscription_count, 2 * DISCOVERY, f"nobody subscribes to {topic}")
        return publisher

    def call(self, kind: type, name: str, timeout: float = 30.0, **fields: Any) -> Any:
        """The response of a service."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        client = self._clients[name]
        self.until(client.service_is_ready, 2 * DISCOVERY, f"there is no service {name}")
        future = client.call_async(kind.Request(**fields))
        if name not in self._answered and kind.__name__ in QUESTIONS:
            # A response is lost where the server learns of the client's reader later than of its request, as it may
            # where the machine is busy: who asks for the first time asks again.
            with suppress(AssertionError):
                self.until(future.done, min(timeout, DISCOVERY), "")
            future = future if future.done() else client.call_async(kind.Request(**fields))
        self.until(future.done, timeout, f"no response of {name}")
        self._answered.add(name)
        return future.result()

    def send_goal(self, kind: type, name: str, feedback: list[Any] | None = None, **fields: Any) -> Any:
        """The handle of a goal, accepted or not."""
        if name not in self._clients:
            self._clients[name] = ActionClient(self.node, kind, name)
        client = self._clients[name]
        self.until(client.server_is_ready, 2 * DISCOVERY, f"there is no action {name}")
        listen = None if feedback is None else lambda message: feedback.append(message.feedback)
        future = client.send_goal_async(kind.Goal(**fields), feedback_callback=listen)
        self.until(future.done, DISCOVERY, f"no answer to a goal of {name}")
        return future.result()

    def result(self, handle: Any, timeout: float) -> Any:
        """Status and result of a goal."""
        future = handle.get_result_async()
        self.until(future.done, timeout, "the goal does not end")
        return future.result()


def kill(pid: int) -> None:
    """End a process that one of our nodes started, if it still lives."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "''" if value == "" else str(value)
