# SPDX-License-Identifier: Apache-2.0
"""Scores of maps whose quality is known: one made from the truth, and ones spoilt in a known way."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ccl_lgs_ros import scoring_pictures
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import EncoderMismatchError, EvaluationError, MapError
from ccl_lgs_ros.geometry import transform_points
from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
from ccl_lgs_ros.scenes import LABELS, make_scene
from ccl_lgs_ros.scoring import Scores, evaluate_bag, evaluate_map
from ccl_lgs_ros.scoring_pictures import TRUTH_COLOUR
from ccl_lgs_ros.storage.evaluation_set import read_evaluation_set
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, SemanticLevel, SemanticMap
from ccl_lgs_ros.synthetic.colours import FAMILIES
from ccl_lgs_ros.synthetic.scene import Scene, make_room_scene

SEED, FRAMES, WIDTH, HEIGHT = 4, 12, 240, 180
SURFACE_GAUSSIANS = 3000  # per object
CONFIG = updated(MapConfig(), {"rendering.rasterizer": "numba_cpu", "query.min_gaussians": 8})


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_room_scene(SEED, width=WIDTH, height=HEIGHT)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scoring") / "room"
    make_scene(SEED, root, num_frames=FRAMES, width=WIDTH, height=HEIGHT)
    return root


@pytest.fixture(scope="module")
def true_map(scene: Scene) -> SemanticMap:
    """Gaussians all over the true surfaces of the objects, and on the room behind them."""
    points, owners, scales = [], [], []
    for frame in scene.frames(16):
        world = transform_points(frame.world_from_camera, frame.camera.unproject(frame.true_depth))
        is_room = frame.objects[::8, ::8] == 0
        points.append(world[::8, ::8][is_room])
        owners.append(np.zeros(is_room.sum(), dtype=int))
        scales.append(np.minimum(4 * frame.true_depth[::8, ::8][is_room] / frame.camera.fx, 0.03))
    for item in scene.room.objects:
        surface = item.surface[:SURFACE_GAUSSIANS]
        points.append(surface)
        owners.append(np.full(len(surface), item.id))
        scales.append(np.full(len(surface), 0.6 * np.prod(item.box[2]) ** (1 / 3) / np.sqrt(SURFACE_GAUSSIANS)))
    owner = np.concatenate(owners)
    n = len(owner)
    gaussians = Gaussians(
        means=torch.from_numpy(np.concatenate(points)).float(),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(n, 1),
        log_scales=torch.from_numpy(np.concatenate(scales)).float().log()[:, None].repeat(1, 3),
        logit_opacities=torch.full((n,), 3.0),
        sh=torch.zeros(n, 1, 3),
    )
    return SemanticMap(gaussians=gaussians, levels={"wp": level_of(scene, owner)}, encoder="builtin/1", version=1)


def level_of(scene: Scene, owner: np.ndarray) -> SemanticLevel:
    """A track and an entry per object, in the colour of its paint."""
    paints = np.array([[FAMILIES[item.family]] for item in scene.room.objects], dtype=np.uint8)
    image, labels = np.repeat(np.repeat(paints, 9, 0), 9, 1), torch.arange(len(paints)).repeat_interleave(9)
    features = BuiltinEncoder().encode_segments(image, labels[:, None].repeat(1, 9).int(), len(paints))
    return SemanticLevel(
        track_of_gaussian=torch.from_numpy(owner.astype(np.int32)) - 1,
        confidence=torch.full((len(owner),), 255, dtype=torch.uint8),
        entry_of_track=torch.arange(len(paints)),
        codebook=Codebook(entries=features, weight=torch.ones(len(paints))),
    )


def relabelled(semantic_map: SemanticMap, change: Mapping[int, int]) -> SemanticMap:
    """The map with tracks called otherwise."""
    level = semantic_map.levels["wp"]
    track = level.track_of_gaussian.clone()
    for before, after in change.items():
        track[level.track_of_gaussian == before] = after
    return replace(semantic_map, levels={"wp": replace(level, track_of_gaussian=track)})


@pytest.fixture(scope="module")
def true_scores(true_map: SemanticMap, directory: Path) -> Scores:
    return evaluate_map(true_map, directory / "eval", CONFIG)


def test_a_map_of_the_truth_scores_near_the_top(true_scores: Scores, scene: Scene) -> None:
    scores = true_scores
    figures = scores.to_json()
    assert figures["miou"] > 0.65
    assert figures["acc50"] > 0.9
    assert figures["loc_acc"] > 0.9
    assert figures["false_alarm_rate"] == 0.0
    assert figures["view_consistency"] > 0.6
    assert figures["centroid_error_m"] < 0.02
    assert figures["box_iou"] > 0.5
    assert scores.num_missed == 0
    assert set(figures["per_category"]) == set(scene.room.categories)
    json.dumps(figures)
    assert "false alarms 0" in str(scores)


def test_a_map_without_language_finds_nothing(true_map: SemanticMap, directory: Path) -> None:
    level = true_map.levels["wp"]
    nothing = replace(level, track_of_gaussian=torch.full_like(level.track_of_gaussian, NONE))
    figures = evaluate_map(replace(true_map, levels={"wp": nothing}), directory / "eval", CONFIG).to_json()
    assert figures["miou"] == 0.0
    assert figures["loc_acc"] == 0.0
    assert figures["centroid_error_m"] is None
    assert figures["false_alarm_rate"] == 0.0


def test_two_things_that_swap_names_cost_their_units_only(
    true_map: SemanticMap, true_scores: Scores, directory: Path, scene: Scene
) -> None:
    single = [o for o in scene.room.objects if sum(p.category == o.category for p in scene.room.objects) == 1]
    first, second = single[0], single[1]
    swapped = relabelled(true_map, {first.id - 1: second.id - 1, second.id - 1: first.id - 1})
    good = true_scores.to_json()["per_category"]
    bad = evaluate_map(swapped, directory / "eval", CONFIG).to_json()["per_category"]
    for prompt in good:
        if prompt in (first.category, second.category):
            assert (bad[prompt]["miou"] or 0.0) < 0.05
            assert bad[prompt]["centroid_error_m"] > 0.2
        else:
            assert bad[prompt] == good[prompt]


def test_a_threshold_above_everything_finds_nothing_and_progress_counts_every_prompt(
    true_map: SemanticMap, directory: Path
) -> None:
    told: list[tuple[int, int]] = []
    scores = evaluate_map(
        true_map,
        directory / "eval",
        CONFIG,
        threshold=1.0,
        progress=lambda stage, done, total, **figures: told.append((done, total)),
    )
    assert scores.to_json()["acc25"] == 0.0
    assert told[-1][0] == told[-1][1] == len(told)


def test_label_images_of_a_recording_score_like_its_polygons(
    true_map: SemanticMap, directory: Path, scene: Scene
) -> None:
    asked = scene.room.categories[:3]
    prompts = {item.id: item.category for item in scene.room.objects if item.category in asked}
    figures = evaluate_bag(true_map, directory / "bag", LABELS, prompts, CONFIG).to_json()
    assert figures["miou"] > 0.7  # every stamp counts, however small the thing is in it
    assert figures["view_consistency"] > 0.6
    assert figures["false_alarm_rate"] is None and figures["centroid_error_m"] is None
    assert sum(c["views"] for c in figures["per_category"].values()) >= FRAMES // 2


def test_a_wrong_topic_or_value_is_named(true_map: SemanticMap, directory: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no topic /labels; it has .*/ground_truth/segm"):
        evaluate_bag(true_map, directory / "bag", "/labels", {1: "mug"}, CONFIG)
    with pytest.raises(EvaluationError, match=r"no image of .* shows the label 200"):
        evaluate_bag(true_map, directory / "bag", LABELS, {200: "mug"}, CONFIG)
    with pytest.raises(EvaluationError, match="one value per pixel"):
        evaluate_bag(true_map, directory / "bag", "/camera/color/image_raw", {1: "mug"}, CONFIG)


def test_a_map_of_another_language_is_refused(true_map: SemanticMap, directory: Path) -> None:
    builtin = updated(CONFIG, {"perception.encoder": "builtin"})
    with pytest.raises(EncoderMismatchError):
        evaluate_map(replace(true_map, encoder="open_clip/x"), directory / "eval", builtin)


@pytest.mark.data
def test_labels_of_a_real_recording_are_read_at_every_stamp(shared_data: Path) -> None:
    from ccl_lgs_ros.label_views import labelled_views
    from ccl_lgs_ros.storage.bag import Bag

    with Bag(shared_data / "bags" / "label_fusion_rgbd_15") as bag:
        views = labelled_views(bag, "/ground_truth/segm", {132: "light blue box"}, MapConfig())
    assert len(views) == 15
    assert all(30_000 < view.masks["light blue box"].sum() < 45_000 for view in views)
    assert all(view.depth is not None for view in views)


def test_pictures_show_the_worst_first_and_the_answer_beside_the_truth(
    true_map: SemanticMap, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring_pictures, "MOST_PICTURES", 4)
    scores = evaluate_map(true_map, directory / "eval", CONFIG, pictures=tmp_path / "scored")
    names = sorted(path.name for path in (tmp_path / "scored").iterdir())
    assert names.pop() == "index.jpg" and len(names) == 4
    worst = sorted(scores.units, key=lambda unit: unit.iou)[:4]
    assert [f"iou_{unit.iou:.2f}" in name for unit, name in zip(worst, names, strict=True)] == [True] * 4
    shown = cv2.cvtColor(cv2.imread(str(tmp_path / "scored" / names[0])), cv2.COLOR_BGR2RGB)
    unit, truth = worst[0], read_evaluation_set(directory / "eval")
    photo, mask = shown[-480:], truth.views[unit.view].masks[unit.prompt]
    outline = np.abs(photo.astype(int) - TRUTH_COLOUR).sum(axis=-1) < 120  # JPEG blurs it
    inside = cv2.resize(mask.astype(np.uint8), (640, 480), interpolation=cv2.INTER_NEAREST)
    border = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8)).astype(bool)
    assert outline.sum() > 20 and (outline & border).sum() > 0.8 * outline.sum()
    with pytest.raises(MapError, match="holds other things"):
        evaluate_map(true_map, directory / "eval", CONFIG, pictures=tmp_path / "scored")
