# SPDX-License-Identifier: Apache-2.0
"""A keyframe node that hears many images keeps its size; `make soak` takes longer."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import MapStatus
from ros.fake_camera import HEIGHT, MAX_STEPS, WIDTH, FakeCamera
from ros.harness import DISCOVERY, LATCHED, RELIABLE

NUM_IMAGES = 1500  # that the node is to receive
BATCH = 20  # images between looks at the node
PATIENCE = 150.0  # seconds, on a busy machine
SETTLE = 0.01  # seconds in which statuses are heard
WARM_UP = 0.4  # of the images: queues, pools of memory and imports fill meanwhile
IMAGE_MB = WIDTH * HEIGHT * (3 + 4) / 1e6  # of colour and depth
MAX_SHARE = 0.2  # of what the images would take if they were kept; on a busy machine the queue of 120 fills meanwhile


def resident(pid: int) -> float:
    """Megabytes that a process holds in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def test_row_34_the_memory_of_the_keyframe_node_is_flat(
    client: Any, start: Any, tmp_path: Path, record_property: Any
) -> None:
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", keyframes__min_translation=0.1)
    node.wait_for("listening", DISCOVERY)
    statuses = client.collect(MapStatus, "status", LATCHED)
    camera = FakeCamera(client, RELIABLE)
    seen: dict[int, float] = {}  # images received -> megabytes
    ends_at, num_sent = time.monotonic() + PATIENCE, 0
    while max(seen, default=0) < NUM_IMAGES:
        assert time.monotonic() < ends_at, f"{max(seen, default=0)} of {num_sent} images received"
        for _ in range(BATCH):
            camera.send(moves=num_sent % (NUM_IMAGES // MAX_STEPS) == 0 and camera.step < MAX_STEPS)
            num_sent += 1
        client.spin(SETTLE)
        if statuses:
            seen.setdefault(statuses[-1].frames_received, resident(node.pid))
    images, megabytes = np.array(sorted(seen)), np.array([seen[count] for count in sorted(seen)])
    late = images > WARM_UP * NUM_IMAGES
    assert late.sum() > 3
    slope = 1000 * np.polyfit(images[late], megabytes[late], 1)[0]
    assert slope < MAX_SHARE * 1000 * IMAGE_MB, f"{slope:+.1f} MB for 1000 images: {megabytes}"
    record_property("figure", f"{slope:+.2f} MB for 1000 images, of {1000 * IMAGE_MB:.0f} MB that were received")
