# SPDX-License-Identifier: Apache-2.0
"""The demo's camera: what it publishes can be mapped, and it tells right answers from wrong ones."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import Keyframe, SemanticInstance
from ccl_lgs_ros.srv import SemanticQuery
from geometry_msgs.msg import Point

from ccl_lgs_ros.ros.demo_camera import MAX_ERROR, judged

SMALL = {"image_width": 96, "num_frames": 8, "iterations": 5}
OPTIONS = {
    "keyframe_node": {"qos": "reliable"},
    "training_node": {"codebook__fitter": "none", "niceness": 0},
    "query_node": {},
}


def answer(*points: tuple[float, float, float]) -> SemanticQuery.Response:
    instances = [SemanticInstance(centroid=Point(x=x, y=y, z=z), score=0.9) for x, y, z in points]
    return SemanticQuery.Response(instances=instances, best_score=0.9, threshold=0.5)


def test_an_answer_is_right_where_its_best_instance_is_at_one_of_the_things() -> None:
    centers = [np.array([1.0, 0.0, 0.0]), np.array([5.0, 5.0, 0.0])]
    text, is_right = judged(answer((5.0, 5.1, 0.0), (9.0, 9.0, 9.0)), centers)
    assert is_right and "found at (5.00, 5.10, 0.00) m, score 0.90; 0.10 m from its true centre" in text
    assert not judged(answer((1.0, MAX_ERROR + 0.01, 0.0)), centers)[1]
    assert not judged(answer(), centers)[1]


def test_for_what_the_room_lacks_only_nothing_is_right() -> None:
    assert judged(answer(), [])[1]
    text, is_right = judged(answer((0.0, 0.0, 0.0)), [])
    assert not is_right and "the room has none" in text


def test_the_demo_maps_a_room_and_its_exit_code_is_that_of_the_answers(client, start, tmp_path: Path) -> None:
    keyframes = client.collect(Keyframe, "keyframe")
    for name, options in OPTIONS.items():
        start(name, map_path=tmp_path / "map", **options)
    camera = start("demo_camera", **SMALL)
    client.until(lambda: not camera.is_alive, 240, "the end of the demo")
    code, said = camera.wait(1), camera.output
    assert said.count(", score ") + said.count("nothing found") == 3, said
    assert code == (0 if "3 of 3 answers are right" in said else 1)
    assert keyframes and all(message.has_depth for message in keyframes)
