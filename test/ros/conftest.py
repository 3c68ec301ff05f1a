# SPDX-License-Identifier: Apache-2.0
"""What the tests of the nodes share: a domain and a client of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROS_FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if ROS_FOLDER in Path(item.path).parents:
            item.add_marker(pytest.mark.ros)


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A ROS domain that nothing else on this machine should be in."""
    from ros.harness import next_domain

    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return next_domain()


@pytest.fixture
def client(domain: int) -> Iterator[Any]:
    """A node of the test in its domain."""
    from ros.harness import Client

    client = Client(domain)
    yield client
    client.close()


@pytest.fixture
def make_node(domain: int) -> Iterator[Callable[..., Any]]:
    """Nodes with command line arguments, in this process."""
    import rclpy
    from rclpy.context import Context

    context, nodes = Context(), []
    rclpy.init(context=context, domain_id=domain)

    def make(*arguments: str) -> Any:
        cli = ["--ros-args", *arguments] if arguments else []
        nodes.append(rclpy.create_node(f"node{len(nodes)}", context=context, cli_args=cli))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def start(domain: int) -> Iterator[Callable[..., Any]]:
    """Starts nodes in the test's domain and ends them after it; shows what they said where it failed."""
    from ros.harness import NodeProcess

    nodes: list[Any] = []

    def start(name: str, namespace: str = "", **parameters: Any) -> Any:
        given = {key.replace("__", "."): value for key, value in parameters.items()}
        nodes.append(NodeProcess(name, domain, given, namespace=namespace))
        return nodes[-1]

    yield start
    for node in reversed(nodes):
        node.close()
    for node in nodes:
        print(f"--- {node.name}\n{node.output}")
