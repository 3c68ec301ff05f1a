# SPDX-License-Identifier: Apache-2.0
"""How little a map trusts itself is told with every thing, and shown; where it does not know, it says so."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from labelled_wall import CAMERA, wall
from mini_scene import RED, box_surface, codebook_of, map_of

from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import OPTICAL_FROM_OPENGL
from ccl_lgs_ros.pictures import heat
from ccl_lgs_ros.query.answer import answer
from ccl_lgs_ros.query.relevancy import LevelRelevancy
from ccl_lgs_ros.rendered_views import write_views
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.showing import answer_json, answer_text
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish
from ccl_lgs_ros.structures import NONE, SemanticLevel, SemanticMap
from ccl_lgs_ros.uncertainty_view import doubted_level, uncertainty_picture, uncertainty_view
from ccl_lgs_ros.viewer.panel import instance_line


def doubted_wall(uncertainty: torch.Tensor | None) -> SemanticMap:
    """A wall with one track on all but its leftmost column."""
    gaussians = wall()
    track = torch.where(gaussians.means[:, 0] < -1.15, NONE, 0).int()
    level = SemanticLevel(
        track_of_gaussian=track,
        confidence=torch.where(track == NONE, 0, 255).to(torch.uint8),
        entry_of_track=torch.tensor([0]),
        codebook=codebook_of(RED[None]),
        uncertainty=uncertainty,
    )
    return SemanticMap(gaussians=gaussians, levels={"wp": level}, encoder="builtin/1")


def halves() -> torch.Tensor:
    """The right half is not trusted, the left is; what has no label is not either."""
    x = wall().means[:, 0]
    return torch.where((x > 0) | (x < -1.15), 255, 0).to(torch.uint8)


def asked(uncertainty: list[int] | None) -> Answer:
    points = box_surface((0, 0, 0.1), (0.2, 0.2, 0.2))
    semantic_map = map_of(points, torch.zeros(len(points), dtype=torch.int64), RED[None])
    if uncertainty is not None:
        of_gaussian = torch.tensor(uncertainty, dtype=torch.uint8).repeat(len(points))[: len(points)]
        levels = {k: dataclasses.replace(v, uncertainty=of_gaussian) for k, v in semantic_map.levels.items()}
        semantic_map = dataclasses.replace(semantic_map, levels=levels)
    relevancy = {
        name: LevelRelevancy.of_entries(level, level.codebook.entries @ RED)
        for name, level in semantic_map.levels.items()
    }
    prompt = Prompt(text="red thing", feature=RED)
    options = {"threshold": 0.5, "max_instances": 10, "min_gaussians": 15, "connect_distance": 0.0, "level": "auto"}
    return answer(semantic_map, prompt, relevancy, **options)


def test_the_uncertainty_of_a_thing_is_the_mean_over_its_gaussians() -> None:
    found = asked([0, 51]).instances[0]
    assert found.uncertainty == pytest.approx(0.1, abs=0.001)
    assert asked([255]).instances[0].uncertainty == 1.0


def test_people_and_programs_are_told_it_only_where_it_is_known() -> None:
    known, unknown = asked([0, 51]), asked(None)
    assert answer_json(known)["instances"][0]["uncertainty"] == pytest.approx(0.1, abs=0.001)
    assert answer_json(unknown)["instances"][0]["uncertainty"] is None
    lines = answer_text(known).splitlines()
    assert lines[1].endswith("uncertainty") and lines[2].endswith(" 0.10") and len(lines[1]) == len(lines[2])
    assert "uncertainty" not in answer_text(unknown)
    assert instance_line(1, known.instances[0]).endswith("uncertainty 0.10")
    assert "uncertainty" not in instance_line(1, unknown.instances[0])


def test_the_view_is_uncertain_where_the_gaussians_are() -> None:
    seen, is_shown = uncertainty_view(doubted_wall(halves()), "wp", NumbaRasterizer(), CAMERA, np.eye(4))
    assert seen.shape == is_shown.shape == (CAMERA.height, CAMERA.width)
    assert (seen[:, 25:][is_shown[:, 25:]] > 0.95).all() and is_shown[:, 25:-1].mean() > 0.9
    assert (seen[:, 3:15][is_shown[:, 3:15]] < 0.05).all() and is_shown[:, 3:15].mean() > 0.9


def test_the_picture_is_photo_and_heat_with_black_where_there_is_no_label() -> None:
    photo = np.full((60, 80, 3), 90, np.uint8)
    uncertainty = np.tile(np.linspace(0, 1, 80, dtype=np.float32), (60, 1))
    is_shown = np.ones((60, 80), bool)
    is_shown[:, :10] = False
    picture = uncertainty_picture(photo, uncertainty, is_shown)
    top = picture.shape[0] - 60
    assert (picture[top:, :80] == photo).all()
    assert (picture[top:, 80:90] == 0).all()
    assert (picture[top:, 90:160] == heat(uncertainty, photo)[:, 10:]).all()


def test_a_map_without_uncertainty_names_what_makes_one() -> None:
    assert doubted_level(doubted_wall(halves())) == "wp"
    with pytest.raises(MapError, match="smoothed_distillation"):
        doubted_level(doubted_wall(None))


def test_render_writes_the_uncertainty_beside_the_photo_or_what_is_rendered(tmp_path: Path) -> None:
    directory = MapDirectory.create(tmp_path / "map")
    publish(directory, doubted_wall(halves()))
    frame = {"transform_matrix": OPTICAL_FROM_OPENGL.tolist()}
    frames = [{**frame, "file_path": "here.png"}, {**frame, "file_path": "missing.png"}]
    intrinsics = {"w": 40, "h": 32, "fl_x": 40.0, "fl_y": 40.0, "cx": 20.0, "cy": 16.0}
    (tmp_path / "transforms.json").write_text(json.dumps({**intrinsics, "frames": frames}))
    cv2.imwrite(str(tmp_path / "here.png"), np.full((64, 80, 3), (200, 100, 50), np.uint8))
    write_views(tmp_path / "map", tmp_path, tmp_path / "views", MapConfig(), uncertainty=True)
    here, missing = (cv2.imread(str(tmp_path / "views" / f"{stem}.uncertainty.png")) for stem in ("here", "missing"))
    rendered = cv2.imread(str(tmp_path / "views" / "missing.rgb.png"))
    assert here is not None and missing is not None and here.shape == missing.shape
    assert (here[-32:, :40] == (200, 100, 50)).all()
    assert (missing[-32:, :40] == rendered).all()
