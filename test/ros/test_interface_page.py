# SPDX-License-Identifier: Apache-2.0
"""docs/interface.md says what the nodes have."""

import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")
pytest.importorskip("vision_msgs", reason="the page lists its topics too")
pytest.importorskip("nav2_msgs", reason="the page lists its topics too")
pytest.importorskip("moveit_msgs", reason="the page lists its topics too")

from ros.harness import ROOT

PAGE = ROOT / "docs" / "interface.md"
COMMAND = "python scripts/write_interface.py > docs/interface.md"


def test_the_page_of_the_interface_is_that_of_the_nodes() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "write_interface.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == PAGE.read_text(), f"write it again: {COMMAND}"


def test_the_page_has_what_a_user_looks_for() -> None:
    text = PAGE.read_text()
    for words in (
        "| `semantic_query` | `ccl_lgs_ros/srv/SemanticQuery` |",
        "| `build_map` | `ccl_lgs_ros/action/BuildMap` |",
        "| `image` | `sensor_msgs/msg/Image` or `sensor_msgs/msg/CompressedImage` | best effort, depth 5 |",
        "| `status` | `ccl_lgs_ros/msg/MapStatus` | latched, depth 1 |",
        "| `query.threshold` | 0 to 1 | training, query | query |",
        "| `cameras.<name>.image_topic` |",
        "| `bag_rate` | `1.0` | 0.01 to 100 |",
    ):
        assert words in text
