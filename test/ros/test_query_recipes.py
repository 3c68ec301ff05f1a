# SPDX-License-Identifier: Apache-2.0
"""One query node that is given the map of every recipe, one after the other, and asked for a red square on a wall.

The keyframes are the same for all; each map has few steps of training, with the perception that needs no weights.
"""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.srv import LoadMap, RenderView, SemanticQuery
from depth_scene import CAMERA, FRONT, HALF, drive
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from ros.harness import Client
from ros.small_map import STARTS

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.recipes import ENTRIES, recipe
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import SemanticMap

CODES = SemanticQuery.Response
NUM_KEYFRAMES = 7
SMALL = {
    "frames.map_up": (0.0, -1.0, 0.0),
    "rendering.rasterizer": "numba_cpu",
    "gaussians.iterations": 8,
    "gaussians.seed_stride": 2,
    "gaussians.image_width": CAMERA.width,
    "masks.min_area_px": 20,
    "association.min_votes": 2.0,
    "codebook.iterations": 100,
    "codebook.learning_rate": 0.01,
    "codebook.size": 16,
    "field.batch_px": 256,
    "field.iterations": 200,
    "field.learning_rate": 0.01,
    "field.latent_iterations": 300,
}
WITHOUT_WEIGHTS = {
    "perception.segmenter": "builtin",
    "perception.encoder": "builtin",
    "perception.encoder_model": "",
    "perception.encoder_checkpoint": "",
}


def config_of(name: str) -> MapConfig:
    config = updated(recipe(name), {**SMALL, **WITHOUT_WEIGHTS})
    if config.association.associator == "tracker":  # what carries masks from image to image has weights
        config = updated(config, {"association.associator": "geometric"})
    return config


def made(path: Path, name: str, keyframes: list[Keyframe]) -> SemanticMap:
    """The map of a recipe in a map directory, with the keyframes."""
    directory = MapDirectory.create(path)
    with KeyframeStore(directory, writable=True) as store:
        for keyframe in keyframes:
            store.append(keyframe)
        built = MapSession(config_of(name), directory).build(store)
    directory.release()
    return built


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, SemanticMap]]:
    """By recipe, '' the default: the map directory, and the map in it."""
    root, keyframes = tmp_path_factory.mktemp("recipes"), drive(NUM_KEYFRAMES)
    paths = {name: root / (name or "default") for name in ("", *ENTRIES)}
    return {name: (path, made(path, name, keyframes)) for name, path in paths.items()}


def test_the_map_of_every_recipe_is_loaded_asked_and_drawn(client: Client, start, maps) -> None:
    node = start("query_node", map_path=maps[""][0], rendering__rasterizer="numba_cpu")
    node.wait_for("version 1", STARTS)
    for name, (path, semantic_map) in maps.items():
        assert load(client, path).num_gaussians == len(semantic_map.gaussians), name
        check_parameters(client, name)
        check_square(client, name, semantic_map)
        check_levels(client, name, semantic_map)
        check_picture(client, name)
    check_choice(client, maps["langsplat"][0], maps[""][0])
    assert node.is_alive


def check_parameters(client: Client, name: str) -> None:
    """The node asks as the recipe of the map says."""
    query = recipe(name).query
    names = ["query.level", "query.view", "query.threshold"]
    level, view, threshold = client.call(GetParameters, "query_node/get_parameters", names=names).values
    said = (level.string_value, view.string_value, threshold.double_value)
    assert said == (query.level, query.view, query.threshold), name


def check_square(client: Client, name: str, semantic_map: SemanticMap) -> None:
    found = client.call(SemanticQuery, "semantic_query", prompt="red", include_indices=True, max_approaches=0)
    assert found.success and found.instances, f"{name}: {found.message}"
    assert found.threshold == pytest.approx(recipe(name).query.threshold or BuiltinEncoder().threshold), name
    best = found.instances[0]
    assert (best.centroid.x, best.centroid.y, best.centroid.z) == pytest.approx((0.0, 0.0, FRONT), abs=HALF / 2), name
    assert len(found.gaussian_indices) == sum(instance.num_gaussians for instance in found.instances), name
    assert max(found.gaussian_indices) < len(semantic_map.gaussians), name
    for instance in found.instances:
        assert found.threshold <= instance.score <= found.best_score <= 1.0, name
        assert instance.level in semantic_map.levels, name
        assert all(0.0 <= value <= 1.0 for value in instance.uncertainty), name
    absent = client.call(SemanticQuery, "semantic_query", prompt="yellow", max_approaches=0)
    assert absent.success and not absent.instances and absent.best_score < absent.threshold, name


def check_levels(client: Client, name: str, semantic_map: SemanticMap) -> None:
    """The square is found among wholes and, as it has no parts, among parts; a map of one level has no parts."""
    asked = {"prompt": "red", "max_approaches": 0}
    whole = client.call(SemanticQuery, "semantic_query", level="whole", **asked)
    part = client.call(SemanticQuery, "semantic_query", level="part", **asked)
    assert whole.success and whole.instances, f"{name}: {whole.message}"
    if len(semantic_map.levels) > 1:
        assert part.success and part.instances, f"{name}: {part.message}"
        assert whole.instances[0].level != part.instances[0].level, name
    else:
        assert (part.success, part.error_code) == (False, CODES.BAD_REQUEST), name
        (only,) = semantic_map.levels
        assert f"the map has no level 'part'; it has: {only}" in part.message, name


def check_picture(client: Client, name: str) -> None:
    """The mask of the square from the newest keyframe, by votes or by the field: there, and nowhere else."""
    mask = drawn(client, name).mask[0]
    shown = np.frombuffer(mask.data, np.uint8).reshape(mask.height, mask.width) > 0
    truth = drive(NUM_KEYFRAMES)[-1].depth == np.float32(FRONT)
    assert (shown & truth).sum() > 0.7 * (shown | truth).sum(), name


def check_choice(client: Client, with_field: Path, without: Path) -> None:
    """What the operator sets is how pictures are drawn, whichever map comes next."""
    load(client, with_field)
    by_field = drawn(client, "langsplat").relevancy[0].data
    votes = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="votes")
    (done,) = client.call(
        SetParameters, "query_node/set_parameters", parameters=[Parameter(name="query.view", value=votes)]
    ).results
    assert done.successful, done.reason
    by_votes = drawn(client, "langsplat").relevancy[0].data
    load(client, without)
    load(client, with_field)
    assert by_field != by_votes == drawn(client, "langsplat").relevancy[0].data


def load(client: Client, path: Path) -> LoadMap.Response:
    loaded = client.call(LoadMap, "query_node/load_map", path=str(path))
    assert loaded.success, loaded.message
    return loaded


def drawn(client: Client, name: str) -> RenderView.Response:
    response = client.call(RenderView, "render_view", STARTS, prompt="red", rgb=False, mask=True, relevancy=True)
    assert response.success, f"{name}: {response.message}"
    return response
