# SPDX-License-Identifier: Apache-2.0
"""The displays of RViz: their topics are published, and asked for as they are published, else nothing appears."""

import re

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ros.harness import ROOT

TEXT = (ROOT / "rviz" / "ccl_lgs.rviz").read_text()
# With what is commented out for want of a plugin, too.
CONFIG = yaml.safe_load(re.sub(r"^    # (?=- |  )", "    ", TEXT, flags=re.M))
SHOWN_BY = {"Map": "OccupancyGrid", "Pose": "PoseStamped"}  # where a display is not named after its message
DISPLAYS = {d["Topic"]["Value"]: d for d in CONFIG["Visualization Manager"]["Displays"] if "Topic" in d}


def published() -> dict[str, tuple[str, str]]:
    """Topic to type and QoS, as the page of the interface has them, which is checked against the nodes."""
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| ([^|]+) \|", (ROOT / "docs" / "interface.md").read_text(), re.M)
    return {topic: (kind, qos) for topic, kind, qos in rows}


@pytest.mark.parametrize("topic", DISPLAYS)
def test_a_display_asks_for_what_a_node_publishes(topic: str) -> None:
    display = DISPLAYS[topic]
    kind, qos = published()[topic]
    name = display["Class"].rpartition("/")[2]
    assert kind.rpartition("/")[2] == SHOWN_BY.get(name, name)
    is_latched = qos.startswith("latched")
    assert display["Topic"]["Durability Policy"] == ("Transient Local" if is_latched else "Volatile")
    assert display["Topic"]["Reliability Policy"] == ("Best Effort" if qos.startswith("best effort") else "Reliable")


def test_everything_that_planners_get_is_shown() -> None:
    assert {"occupancy", "query/keepout", "query/goal_pose", "query/approach_poses", "query/detections"} <= set(
        DISPLAYS
    )


def test_row_19_no_cloud_is_selectable() -> None:
    clouds = [d for d in DISPLAYS.values() if d["Class"].endswith("PointCloud2")]
    assert len(clouds) == 3
    assert not any(d["Selectable"] for d in clouds), "RViz holds each point of a selectable cloud twice, and freezes"


def test_the_map_frame_is_the_fixed_frame() -> None:
    assert CONFIG["Visualization Manager"]["Global Options"]["Fixed Frame"] == "map"
