# SPDX-License-Identifier: Apache-2.0
"""What real cameras see, mapped and asked: a shelf with sparse depth, a kitchen with unregistered depth."""

import json
from pathlib import Path

import numpy as np
import pytest

from ccl_lgs_ros.answer_views import answer_view
from ccl_lgs_ros.asking import create_encoder, query_map
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.capture import check_bag
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.offline import map_recording
from ccl_lgs_ros.scoring import evaluate_bag
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import SemanticMap

pytestmark = [pytest.mark.data, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def shelf(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SemanticMap]:
    bag = shared_data / "bags" / "label_fusion_rgbd_15"
    return bag, map_recording(bag, tmp_path_factory.mktemp("shelf") / "map", MapConfig())[1]


@pytest.fixture(scope="module")
def kitchen(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SemanticMap, MapConfig]:
    bag = shared_data / "bags" / "redkitchen_rgbd_60"
    config = updated(MapConfig(), check_bag(bag).settings)
    output = tmp_path_factory.mktemp("kitchen") / "map"
    semantic_map = map_recording(bag, output, config)[1]
    print("kitchen:", json.dumps(dict(semantic_map.info)))
    return output, semantic_map, config


def test_the_light_blue_box_is_one_thing_seen_in_every_view(shelf) -> None:
    bag, semantic_map = shelf
    answer = query_map(semantic_map, "light blue box", MapConfig())
    assert len(answer.instances) == 1
    assert answer.prompt.unknown_words == ("box",)
    scores = evaluate_bag(semantic_map, bag, "/ground_truth/segm", {132: "light blue box"}, MapConfig()).to_json()
    print("shelf:", json.dumps(scores))
    assert scores["miou"] >= 0.65


def test_the_kitchen_is_mapped_as_check_bag_suggests(kitchen) -> None:
    info = kitchen[1].info
    assert info["keyframes"] >= 40
    assert info["held_out"]["psnr"] >= 18.0


def reddish(image: np.ndarray) -> np.ndarray:
    """Pixels that anyone would call red: the cupboard fronts, and little else in this kitchen."""
    r, g, b = (image[..., i].astype(int) for i in range(3))
    return (r > 70) & (r - g > 50) & (r - b > 40) & (abs(g - b) < 50)


def test_the_red_cupboard_covers_the_red_fronts(kitchen) -> None:
    path, semantic_map, config = kitchen
    keyframes = KeyframeStore(MapDirectory.open(path))
    encoder = create_encoder(semantic_map, config)
    rasterizer, _ = configured_part("rasterizer", config)
    answer = query_map(semantic_map, "red cupboard", config, encoder)
    overlaps = []
    for index in range(0, len(keyframes), 4):
        view = keyframes[index]
        truth = reddish(view.image)
        if truth.mean() < 0.1:
            continue
        mask, _ = answer_view(semantic_map, answer, encoder, rasterizer, view.camera, view.world_from_camera)
        seen = mask.numpy()
        overlaps.append((seen & truth).sum() / (seen | truth).sum())
    print("red cupboard:", np.round(overlaps, 2))
    assert len(overlaps) >= 5
    assert np.mean(overlaps) >= 0.5


def test_the_best_purple_book_is_purple(kitchen) -> None:
    path, semantic_map, config = kitchen
    keyframes = KeyframeStore(MapDirectory.open(path))
    best = query_map(semantic_map, "purple book", config).instances[0]
    colours = []
    for index in range(len(keyframes)):
        view = keyframes[index]
        u, v = view.camera.project(view.camera_from_world[:3, :3] @ best.centroid + view.camera_from_world[:3, 3])
        if 4 < u < view.camera.width - 4 and 4 < v < view.camera.height - 4:
            colours.append(np.median(view.image[int(v) - 4 : int(v) + 4, int(u) - 4 : int(u) + 4], axis=(0, 1)))
    red, green, blue = np.median(colours, axis=0)
    assert blue > green + 15
    assert red > green + 5


def test_a_lime_green_sofa_is_not_there(kitchen) -> None:
    answer = query_map(kitchen[1], "lime green sofa", kitchen[2])
    assert not answer.instances
    assert "nothing found" in answer.message
