# SPDX-License-Identifier: Apache-2.0
"""The whole method from posed images alone: a synthetic room with its depth withheld, a kitchen with its ignored."""

import json
from pathlib import Path

import pytest

from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.capture import check_bag
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.offline import map_recording
from ccl_lgs_ros.scenes import make_scene
from ccl_lgs_ros.scoring import evaluate_map

WITHHELD = {"gaussians.depth": "triangulated", "gaussians.iterations": 200}


@pytest.mark.timeout(900)
def test_a_room_is_mapped_and_found_in_without_depth(tmp_path: Path) -> None:
    make_scene(7, tmp_path, num_frames=60, width=200, height=150)
    config = updated(MapConfig(), WITHHELD)
    _, semantic_map = map_recording(tmp_path, tmp_path / "map", config)
    figures = evaluate_map(semantic_map, tmp_path / "eval", config).to_json()
    print(f"room 7: {json.dumps(figures)} {json.dumps(dict(semantic_map.info))}")
    held_out = semantic_map.info["held_out"]
    assert held_out["psnr"] >= 25.0
    assert held_out["covered"] >= 0.8
    assert figures["miou"] >= 0.6
    assert figures["centroid_error_m"] <= 0.08
    assert figures["false_alarm_rate"] <= 0.1


@pytest.mark.data
@pytest.mark.timeout(900)
def test_a_kitchen_is_mapped_and_found_in_with_its_depth_ignored(shared_data: Path, tmp_path: Path) -> None:
    bag = shared_data / "bags" / "redkitchen_rgbd_60"
    config = updated(MapConfig(), {**check_bag(bag).settings, **WITHHELD, "ingest.use_depth": False})
    _, semantic_map = map_recording(bag, tmp_path / "map", config)
    print("kitchen:", json.dumps(dict(semantic_map.info)))
    held_out = semantic_map.info["held_out"]
    assert held_out["psnr"] >= 21.0
    assert held_out["covered"] >= 0.9
    assert query_map(semantic_map, "red cupboard", config).instances
    assert not query_map(semantic_map, "lime green sofa", config).instances
