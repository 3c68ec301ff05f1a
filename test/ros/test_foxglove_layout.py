# SPDX-License-Identifier: Apache-2.0
"""The layout of Foxglove: what its panels show is published, and what they send is understood."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.srv import SemanticQuery
from ros.harness import ROOT
from ros.test_rviz_config import published
from std_msgs.msg import String

LAYOUT = json.loads((ROOT / "foxglove" / "ccl_lgs.json").read_text())
PANELS: dict[str, dict[str, Any]] = LAYOUT["configById"]
NODES = {"keyframe_node", "training_node", "query_node"}
SHOWN_IN_3D = {"PointCloud2", "MarkerArray", "PoseArray", "PoseStamped", "Path", "OccupancyGrid"}


def panels(kind: str) -> list[dict[str, Any]]:
    return [config for name, config in PANELS.items() if name.partition("!")[0] == kind]


def kind_of(topic: str) -> str:
    """The type of a topic that a node publishes, without its package."""
    topics = {name if name.startswith("/") else f"/{name}": kind for name, (kind, _) in published().items()}
    return topics[topic].rpartition("/")[2]


def leaves(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    else:
        yield from leaves(tree["first"])
        yield from leaves(tree["second"])


def test_every_panel_has_its_place_and_its_settings() -> None:
    assert sorted(leaves(LAYOUT["layout"])) == sorted(PANELS)
    assert {name.partition("!")[0] for name in PANELS} >= {"3D", "Image", "Publish", "CallService", "DiagnosticSummary"}


def test_every_topic_that_is_shown_is_published_with_a_type_that_its_panel_shows() -> None:
    (scene,) = panels("3D")
    assert {kind_of(topic) for topic in scene["topics"]} <= SHOWN_IN_3D
    assert {"/query/markers", "/query/goal_pose", "/gaussian_cloud", "/occupancy"} <= set(scene["topics"])
    pictures = {panel["imageMode"]["imageTopic"] for panel in panels("Image")}
    assert pictures == {"/preview", "/query/overlay"} and {kind_of(topic) for topic in pictures} == {"Image"}
    (summary,) = panels("DiagnosticSummary")
    assert kind_of(summary["topicToRender"]) == "DiagnosticArray"


def test_what_is_plotted_are_fields_of_the_status_of_our_nodes() -> None:
    paths = [path["value"] for panel in (*panels("Plot"), *panels("StateTransitions")) for path in panel["paths"]]
    assert paths and kind_of("/status") == "MapStatus"
    for path in paths:
        found = re.fullmatch(r'/status\{node=="(\w+)"\}\.(\w+)', path)
        assert found, path
        assert found[1] in NODES and found[2] in MapStatus.get_fields_and_field_types()


def test_a_prompt_and_a_question_are_understood() -> None:
    (prompt,), (question,) = panels("Publish"), panels("CallService")
    text = (ROOT / "docs" / "interface.md").read_text()
    assert f"| `{prompt['topicName'].lstrip('/')}` | `{prompt['datatype']}` |" in text
    assert f"| `{question['serviceName'].lstrip('/')}` | `ccl_lgs_ros/srv/SemanticQuery` |" in text
    assert String(**json.loads(prompt["value"])).data
    request = SemanticQuery.Request(**json.loads(question["requestPayload"]))
    assert request.prompt and request.max_approaches
