# SPDX-License-Identifier: Apache-2.0
"""Published protocols from the command line to the figures, on a map that is half red and half blue."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from ccl_lgs_ros.answer_views import CHANNELS_AT_ONCE, answer_view, answer_views, relevancy_views
from ccl_lgs_ros.asking import create_encoder, query_map
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.cli import main
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.map_subject import MapSubject
from ccl_lgs_ros.peer_scoring import PEER_PROTOCOLS, maps_of_scenes
from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, SemanticLevel, SemanticMap

WIDTH, HEIGHT = 120, 90
CAMERA = Camera(width=WIDTH, height=HEIGHT, fx=100.0, fy=100.0, cx=60.0, cy=45.0)
CONFIG = updated(MapConfig(), {"rendering.rasterizer": "numba_cpu", "perception.encoder": "builtin"})
SET = ["--set", "rendering.rasterizer=numba_cpu", "--set", "perception.encoder=builtin"]
PAINTS = {"red": (229, 0, 0), "blue": (3, 67, 223)}
STEP = 0.04  # metres between Gaussians


def make_map() -> SemanticMap:
    """A wall two metres before the camera: red at the left, blue at the right, without a track in the lowest tenth."""
    x, y = np.meshgrid(np.arange(-1.4, 1.4, STEP), np.arange(-1.1, 1.1, STEP))
    means = torch.from_numpy(np.stack([x.ravel(), y.ravel(), np.full(x.size, 2.0)], axis=1)).float()
    n = len(means)
    track = (means[:, 0] >= 0).to(torch.int32)
    track[means[:, 1] > 0.72] = NONE
    gaussians = Gaussians(
        means=means,
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(n, 1),
        log_scales=torch.full((n, 3), 0.6 * STEP).log(),
        logit_opacities=torch.full((n,), 4.0),
        sh=torch.zeros(n, 1, 3),
    )
    image = np.repeat(np.repeat(np.array([[paint] for paint in PAINTS.values()], dtype=np.uint8), 9, 0), 9, 1)
    labels = torch.arange(2).repeat_interleave(9)[:, None].repeat(1, 9).int()
    level = SemanticLevel(
        track_of_gaussian=track,
        confidence=torch.full((n,), 255, dtype=torch.uint8),
        entry_of_track=torch.arange(2),
        codebook=Codebook(entries=BuiltinEncoder().encode_segments(image, labels, 2), weight=torch.ones(2)),
    )
    return SemanticMap(gaussians=gaussians, levels={"sp": level, "wp": level}, encoder="builtin/1", version=1)


@pytest.fixture(scope="module")
def semantic_map() -> SemanticMap:
    return make_map()


@pytest.fixture(scope="module")
def map_path(semantic_map: SemanticMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "ramen"
    publish(MapDirectory.create(path), semantic_map)
    return path


def write_cameras(scene: Path, name: str) -> None:
    model = scene / "sparse" / "0"
    model.mkdir(parents=True)
    camera = struct.pack("<QiiQQ4d", 1, 1, 1, WIDTH, HEIGHT, 100.0, 100.0, 60.0, 45.0)
    (model / "cameras.bin").write_bytes(camera)
    image = struct.pack("<Qi7di", 1, 1, 1.0, *6 * [0.0], 1) + name.encode() + b"\0" + struct.pack("<Q", 0)
    (model / "images.bin").write_bytes(image)


def write_lerf(root: Path, scenes: tuple[str, ...] = ("ramen",)) -> Path:
    """The left half labelled red, the right half of the upper half blue."""
    for scene in scenes:
        write_cameras(root / scene, "frame_00001.jpg")
        (root / "label" / scene).mkdir(parents=True)
        objects = [
            {"category": "red", "segmentation": [[0, 0], [59, 0], [59, 80], [0, 80]]},
            {"category": "blue", "segmentation": [[60, 0], [119, 0], [119, 40], [60, 40]]},
        ]
        info = {"name": "frame_00001.jpg", "width": WIDTH, "height": HEIGHT}
        path = root / "label" / scene / "frame_00001.json"
        path.write_text(json.dumps({"info": info, "objects": objects}))
    return root


def scores_of(capsys, *arguments: object) -> dict:
    assert main(["evaluate", *map(str, arguments), "--json", *SET]) == 0
    return json.loads(capsys.readouterr().out)


def message_of(capsys, *arguments: object) -> str:
    assert main(["evaluate", *map(str, arguments), *SET]) == 2
    return capsys.readouterr().err


def test_answers_shown_together_are_those_shown_one_by_one(semantic_map: SemanticMap) -> None:
    encoder, (rasterizer, _) = create_encoder(semantic_map, CONFIG), configured_part("rasterizer", CONFIG)
    prompts = ["red", "blue", "green", "mug", "red thing"] * 2
    assert 2 * len(prompts) > CHANNELS_AT_ONCE  # so that there are several renderings
    answers = [query_map(semantic_map, prompt, CONFIG, encoder) for prompt in prompts]
    together = answer_views(semantic_map, answers, encoder, rasterizer, CAMERA, np.eye(4))
    assert len(together) == len(prompts)
    for found, (mask, relevancy) in zip(answers, together, strict=True):
        mask_alone, relevancy_alone = answer_view(semantic_map, found, encoder, rasterizer, CAMERA, np.eye(4))
        assert torch.equal(mask, mask_alone)
        assert torch.equal(relevancy, relevancy_alone)
    assert together[0][0][:80, :58].all() and not together[0][0][:, 62:].any()
    assert answer_views(semantic_map, [], encoder, rasterizer, CAMERA, np.eye(4)) == []


def test_what_has_no_language_is_as_relevant_as_the_least_relevant_track(semantic_map: SemanticMap) -> None:
    encoder, (rasterizer, _) = create_encoder(semantic_map, CONFIG), configured_part("rasterizer", CONFIG)
    level = semantic_map.levels["wp"]
    red_entry, blue_entry = level.codebook.entries
    reddish = torch.nn.functional.normalize(0.5 * red_entry + blue_entry, dim=0)
    codebook = Codebook(entries=torch.stack([red_entry, reddish]), weight=torch.ones(2))
    mixed = replace(semantic_map, levels={"wp": replace(level, codebook=codebook)})
    prompts = [encoder.understand(text) for text in ("red", "mug")]
    of_red, of_reddish = encoder.relevancy(codebook.entries, prompts[0]).tolist()
    assert of_red > of_reddish + 0.2 > 0.3
    red, unknown = relevancy_views(mixed, prompts, encoder, rasterizer, CAMERA, np.eye(4))["wp"]
    assert torch.allclose(red[10:70, 5:55], torch.tensor(of_red), atol=1e-3)
    assert torch.allclose(red[10:70, 65:115], torch.tensor(of_reddish), atol=1e-3)
    assert torch.allclose(red[85:, 5:115], torch.tensor(of_reddish), atol=1e-3)  # no track
    assert not unknown.any()
    away = np.diag([1.0, -1.0, -1.0, 1.0])  # looks the other way, at nothing
    nothing = relevancy_views(mixed, prompts, encoder, rasterizer, CAMERA, away)["wp"][0]
    assert torch.allclose(nothing, torch.tensor(of_reddish))


def test_levels_come_finest_first(semantic_map: SemanticMap) -> None:
    assert list(MapSubject(semantic_map, CONFIG).relevancies(["red"], CAMERA, np.eye(4))) == ["sp", "wp"]


def test_each_gaussian_has_the_name_nearest_to_it(semantic_map: SemanticMap) -> None:
    subject = MapSubject(semantic_map, CONFIG)
    track = semantic_map.levels["wp"].track_of_gaussian.numpy()
    names = ["mug", "blue", "red"]  # the first is not understood
    expected = np.where(track == NONE, NONE, np.where(track == 0, 2, 1))
    assert (subject.classes_of_gaussians(names) == expected).all()
    assert (subject.classes_of_gaussians(["mug"]) == NONE).all()


def test_a_silhouette_shows_the_answer_without_what_hides_it(semantic_map: SemanticMap) -> None:
    subject = MapSubject(semantic_map, CONFIG)
    alpha = subject.silhouette(subject.ask("red"), CAMERA, np.eye(4))
    assert (alpha[10:70, 5:55] > 0.7).all()
    assert (alpha[:, 65:] < 0.1).all()


def test_langsplats_protocol_runs_from_the_command_line(map_path: Path, tmp_path: Path, capsys) -> None:
    data = write_lerf(tmp_path)
    figures = scores_of(capsys, map_path, "--protocol", "lerf-ovs", "--data", data)
    assert figures["protocol"] == "lerf-ovs"
    scene = figures["scenes"]["ramen"]["per_prompt"]
    assert scene["red"]["iou"] > 0.9
    assert scene["blue"]["iou"] == pytest.approx(0.5, abs=0.06)  # only the upper half is labelled
    assert scene["red"]["localised"] == scene["blue"]["localised"] == 1.0
    assert figures["scene_macro"]["iou"] == figures["query_weighted"]["iou"]


def test_opengaussians_protocol_takes_the_same_labels(map_path: Path, tmp_path: Path, capsys) -> None:
    data = write_lerf(tmp_path)
    figures = scores_of(capsys, map_path, "--protocol", "lerf-3d", "--data", data)
    scene = figures["scenes"]["ramen"]["per_prompt"]
    assert scene["red"]["iou"] > 0.9 and scene["red"]["acc50"] == 1.0
    assert 0.4 < scene["blue"]["iou"] < 0.6 and scene["blue"]["acc25"] == 1.0
    strict = scores_of(capsys, map_path, "--protocol", "lerf-3d", "--data", data, "--threshold", 1.0)
    assert strict["scene_macro"] == {"iou": 0.0, "acc25": 0.0, "acc50": 0.0}


def test_3d_ovs_runs_from_the_command_line(map_path: Path, tmp_path: Path, capsys) -> None:
    write_cameras(tmp_path / "ramen", "00.jpg")
    folder = tmp_path / "ramen" / "segmentations" / "00"
    folder.mkdir(parents=True)
    (folder.parent / "classes.txt").write_text("red\nblue\n")
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    image[:80, :60] = 255
    cv2.imwrite(str(folder / "red.png"), image)
    cv2.imwrite(str(folder / "blue.png"), np.ascontiguousarray(image[:, ::-1]))
    figures = scores_of(capsys, map_path, "--protocol", "3d-ovs", "--data", tmp_path)
    scene = figures["scenes"]["ramen"]["figures"]
    assert scene["iou"] > 0.95 and scene["accuracy"] > 0.95 and scene["mask_iou"] > 0.85


@pytest.mark.parametrize("protocol", ["scannet", "scannet-volume"])
def test_scannet_runs_from_the_command_line(map_path: Path, tmp_path: Path, capsys, protocol: str) -> None:
    kinds = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("label", "u2")]
    rows = np.array([(-1, 0, 2, 1), (1, 0, 2, 5), (0.5, 0, 2, 5)], dtype=kinds)
    (tmp_path / "ramen").mkdir()
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(tmp_path / "ramen" / "ramen_vh_clean_2.labels.ply"))
    figures = scores_of(capsys, map_path, "--protocol", protocol, "--data", tmp_path, "--classes", 10)
    of_scene = figures["scenes"]["ramen"]["per_prompt"]
    assert set(of_scene) == {"wall", "chair"}
    assert of_scene["chair"] == {"iou": 0.0, "accuracy": 0.0}  # the builtin encoder knows colours only


def test_a_folder_with_a_map_per_scene_gives_both_means(map_path: Path, tmp_path: Path, capsys) -> None:
    data = write_lerf(tmp_path, ("ramen", "teatime"))
    assert main(["evaluate", str(map_path.parent), "--protocol", "lerf-ovs", "--data", str(data), *SET]) == 0
    text = capsys.readouterr().out
    assert "mean over scenes" in text and "mean over units" in text
    assert "lerf-ovs: ramen\n" in text  # of teatime there is no map
    with pytest.raises(EvaluationError, match="none that is named after a scene"):
        maps_of_scenes(tmp_path, ("ramen", "teatime"))


def test_a_map_is_of_the_scene_it_is_named_after_or_that_is_said(map_path: Path, tmp_path: Path) -> None:
    both = ("figurines", "ramen")
    assert maps_of_scenes(map_path, both) == {"ramen": map_path}
    assert maps_of_scenes(map_path, both, "figurines") == {"figurines": map_path}
    assert maps_of_scenes(map_path, ("other",)) == {"other": map_path}
    assert maps_of_scenes(map_path.parent, both, "ramen") == {"ramen": map_path}
    with pytest.raises(EvaluationError, match="say --scene with one of teatime, waldo_kitchen"):
        maps_of_scenes(map_path, ("teatime", "waldo_kitchen"))
    with pytest.raises(EvaluationError, match="no scene 'x'; it has figurines, ramen"):
        maps_of_scenes(map_path, both, "x")


def test_the_protocols_apply_to_evaluation_sets_of_our_own(map_path: Path, tmp_path: Path, capsys) -> None:
    write_lerf(tmp_path)
    frame = {"file_path": "images/frame_00001.jpg", "transform_matrix": np.diag([1.0, -1.0, -1.0, 1.0]).tolist()}
    content = {"w": WIDTH, "h": HEIGHT, "fl_x": 100, "fl_y": 100, "cx": 60, "cy": 45, "frames": [frame]}
    own = tmp_path / "own"
    own.mkdir()
    (own / "transforms.json").write_text(json.dumps(content))
    (tmp_path / "label" / "ramen").rename(own / "labels")
    for protocol in ("lerf-ovs", "lerf-3d"):
        assert (
            scores_of(capsys, map_path, own, "--protocol", protocol)["scenes"]["own"]["per_prompt"]["red"]["iou"] > 0.9
        )


def test_wrong_arguments_name_the_right_ones(map_path: Path, tmp_path: Path, capsys) -> None:
    assert "give it with --data DIR" in message_of(capsys, map_path, "--protocol", "lerf-ovs")
    assert "--data needs --protocol" in message_of(capsys, map_path, "--data", tmp_path)
    missing = message_of(capsys, map_path, "--protocol", "lerf-ovs", "--data", tmp_path / "none")
    assert "there is no folder" in missing and "lerf_ovs" in missing
    assert "label/<scene>/*.json" in message_of(capsys, map_path, "--protocol", "lerf-ovs", "--data", tmp_path)
    assert "classes.txt" in message_of(capsys, map_path, "--protocol", "3d-ovs", "--data", tmp_path)
    assert "labels.ply" in message_of(capsys, map_path, "--protocol", "scannet", "--data", tmp_path)


def test_a_map_without_language_is_not_scored(semantic_map: SemanticMap, tmp_path: Path, capsys) -> None:
    data = write_lerf(tmp_path / "data")
    bare = SemanticMap(gaussians=semantic_map.gaussians, levels={}, encoder="builtin/1")
    publish(MapDirectory.create(tmp_path / "ramen"), bare)
    assert "no semantics yet" in message_of(capsys, tmp_path / "ramen", "--protocol", "lerf-ovs", "--data", data)


def test_help_has_a_line_for_every_protocol(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    text = capsys.readouterr().out
    for protocol in ("fixed", *PEER_PROTOCOLS):
        assert f"\n  {protocol} " in text


def test_a_folder_of_posed_images_becomes_a_map_that_the_protocols_score(tmp_path: Path, capsys) -> None:
    scene = tmp_path / "wall"
    write_lerf(tmp_path)
    (scene / "images").mkdir(parents=True)
    (tmp_path / "label" / "ramen").rename(scene / "labels")
    frames = []
    for number, shift in ((1, 0.0), (2, 0.2)):
        pose = np.diag([1.0, -1.0, -1.0, 1.0])
        pose[0, 3] = shift  # metres to the right: at 2 m the wall moves 10 pixels to the left
        border = 60 - round(shift * 50)
        image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        image[:, :border], image[:, border:] = PAINTS["red"][::-1], PAINTS["blue"][::-1]
        cv2.imwrite(str(scene / "images" / f"frame_{number:05d}.png"), image)
        cv2.imwrite(str(scene / f"{number}.png"), np.full((HEIGHT, WIDTH), 2000, np.uint16))
        name = f"images/frame_{number:05d}.png"
        frames.append({"file_path": name, "transform_matrix": pose.tolist(), "depth_file_path": f"{number}.png"})
    content = {"w": WIDTH, "h": HEIGHT, "fl_x": 100, "fl_y": 100, "cx": 60, "cy": 45, "frames": frames}
    (scene / "transforms.json").write_text(json.dumps(content))
    small = [*SET, "--set", "perception.segmenter=builtin", "--set", "gaussians.iterations=5"]
    assert main(["map", str(scene), "-o", str(tmp_path / "map"), *small]) == 0
    assert "2 images, 2 new keyframes" in capsys.readouterr().out
    figures = scores_of(capsys, tmp_path / "map", scene, "--protocol", "lerf-3d")
    assert figures["scenes"]["wall"]["per_prompt"]["red"]["iou"] > 0.6  # the label is nine tenths of the red
    nothing = ["map", str(scene / "labels"), "-o", str(tmp_path / "none"), *small]
    assert main(nothing) == 2  # neither a recording nor images
    assert not (tmp_path / "none").exists()
