# SPDX-License-Identifier: Apache-2.0
"""Pictures of answers show the answer: the right views, its mask where it is, its boxes, what was asked and needed."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mini_scene import map_of
from test_pictures import count_of

from ccl_lgs_ros.answer_pictures import ANCHOR_COLOUR, NEAREST_COLOUR, best_view_picture, write_picture
from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.boxes_in_pictures import BOX_COLOUR
from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.gaussians.seed import SH_C0
from ccl_lgs_ros.pictures import MASK_COLOUR, PAPER, rendered_color
from ccl_lgs_ros.structures import SemanticMap

CONFIG = MapConfig()
CAMERA = Camera(width=64, height=48, fx=50.0, fy=50.0, cx=32.0, cy=24.0)
TITLE = 60  # rows at the top that belong to text at least
FOOTER = 26  # rows at the bottom that a line of text takes


def patch(x: float, y: float, z: float) -> np.ndarray:
    """An upright square of points, 30 cm wide."""
    u, v = np.meshgrid(np.linspace(-0.15, 0.15, 24), np.linspace(-0.15, 0.15, 24))
    return np.stack([x + u.ravel(), np.full(u.size, y), z + v.ravel()], axis=1).astype(np.float32)


@lru_cache
def scene() -> tuple[SemanticMap, list[Keyframe]]:
    """A red square and a blue one ahead, two metres apart, and another red one behind; views of either and of all."""
    points = np.concatenate([patch(-1.0, 2.0, 0.0), patch(1.0, 2.0, 0.0), patch(0.0, -2.0, 0.0)])
    track = torch.arange(3).repeat_interleave(576)
    rasterizer, _ = configured_part("rasterizer", CONFIG)
    encoder, _ = configured_part("encoder", CONFIG)
    features = torch.stack([encoder.understand(word).feature for word in ("red", "blue", "red")])
    semantic_map = replace(map_of(points, track, features), encoder=encoder.identity)
    colours = torch.tensor([[0.8, 0.05, 0.05], [0.05, 0.05, 0.8], [0.8, 0.05, 0.05]])[track]
    sh = ((colours - 0.5) / SH_C0)[:, None]
    gaussians = replace(semantic_map.gaussians, sh=sh, log_scales=torch.full((len(points), 3), 0.012).log())
    semantic_map = replace(semantic_map, gaussians=gaussians)
    keyframes = []
    for number, (x, y, is_turned) in enumerate([(-1.0, 0.8, False), (0.0, -0.5, False), (0.0, -1.0, True)]):
        pose = np.eye(4)
        side, forward = (-1.0, -1.0) if is_turned else (1.0, 1.0)
        pose[:3, :3] = np.array([[side, 0, 0], [0, 0, forward], [0, -1, 0]])
        pose[:3, 3] = x, y, 0.0
        shown = rasterizer.render(semantic_map.gaussians, CAMERA, pose)
        image = np.maximum(rendered_color(shown.color.numpy()), 40)
        keyframes.append(Keyframe(id=number, stamp_ns=number, camera=CAMERA, world_from_camera=pose, image=image))
    return semantic_map, keyframes


def asked(prompt: str, *views: tuple[int, ...]) -> Answer:
    """The answer, its instances said to be shown best by these keyframes."""
    found = query_map(scene()[0], prompt, CONFIG)
    items = sorted(found.instances, key=lambda item: -item.centroid[1])
    items = [replace(item, keyframe_ids=ids) for item, ids in zip(items, views, strict=True)]
    return replace(found, instances=tuple(items))


def picture_of(found: Answer) -> np.ndarray:
    semantic_map, keyframes = scene()
    return best_view_picture(semantic_map, found, keyframes, CONFIG)


def test_the_mask_and_the_box_are_drawn_where_the_thing_is_and_nowhere_else() -> None:
    shown = picture_of(asked("blue", (1,)))
    photo = shown[-FOOTER - 480 : -FOOTER, :640]  # over one line of text
    expected_x = 640 * (32 + 50 * 1.0 / 2.5) / 64
    for colour in (MASK_COLOUR, BOX_COLOUR):
        rows, columns = np.nonzero((photo == colour).all(axis=-1))
        assert abs(np.median(columns) - expected_x) < 30
        assert len(rows) > 50
    red_square = photo[200:280, 100:180]
    assert count_of(red_square, MASK_COLOUR) == 0


def test_heat_is_warm_at_the_thing_and_the_legend_stands_beside_it() -> None:
    shown = picture_of(asked("blue", (1,)))
    warm = shown[-FOOTER - 480 : -FOOTER, 644 : 644 + 640].astype(int)
    there = warm[240, round(640 * (32 + 50 * 1.0 / 2.5) / 64)]
    other = warm[240, round(640 * (32 - 50 * 1.0 / 2.5) / 64)]
    assert there[0] > there[2] + 60  # red is relevant
    assert np.ptp(other) < 40  # what is not stays grey
    assert shown.shape[1] == 640 + 4 + 640 + 4 + 88
    assert (
        np.ptp(shown[-FOOTER - 480 : -FOOTER, -88 + 10 : -88 + 24].reshape(-1, 3), axis=0).min() > 80
    )  # all its colours


def test_things_in_different_views_are_shown_in_a_row_each() -> None:
    together, apart = picture_of(asked("red", (0,), (2,))), picture_of(asked("red", (0, 1), (1,)))
    assert together.shape[0] > 2 * 360 and together.shape[1] == 2 * 480 + 96
    assert apart.shape[0] < 700 and apart.shape[1] == 2 * 640 + 96  # one view that has both is enough


def test_where_the_answer_names_no_view_the_one_that_shows_most_of_it_is_taken() -> None:
    shown = picture_of(asked("blue", ()))
    assert count_of(shown[:, :640], MASK_COLOUR) > 100


def test_nothing_found_shows_what_came_nearest_and_no_mask() -> None:
    found = query_map(scene()[0], "blue", CONFIG, threshold=1.0)
    assert not found.instances
    shown = picture_of(found)
    assert count_of(shown, MASK_COLOUR) == 0 and count_of(shown, BOX_COLOUR) == 0
    photo = shown[-480:, :640]
    rows, columns = np.nonzero((photo == NEAREST_COLOUR).all(axis=-1))
    assert len(rows) > 50 and abs(np.median(columns) - 640 * (32 + 50 * 1.0 / 2.5) / 64) < 60


def test_a_prompt_without_meaning_marks_nothing() -> None:
    shown = picture_of(query_map(scene()[0], "qwertz", CONFIG))
    assert count_of(shown[-480:, :640], NEAREST_COLOUR) == 0
    assert np.ptp(shown[-480:, 644:1284].astype(int), axis=-1).max() < 3  # the heat is all grey


def test_a_long_prompt_makes_the_picture_taller_and_not_wider() -> None:
    short, long = asked("blue", (1,)), query_map(scene()[0], "blue " + 40 * "curious ", CONFIG)
    long = replace(long, instances=short.instances)
    a, b = picture_of(short), picture_of(long)
    assert a.shape[1] == b.shape[1] and b.shape[0] > a.shape[0] + 40
    assert (b[:, -2:][:TITLE] == PAPER).all()  # no letter runs into the right border


def test_a_map_without_keyframes_says_so() -> None:
    with pytest.raises(MapError, match="no keyframes"):
        best_view_picture(scene()[0], asked("blue", (1,)), [], CONFIG)


def test_a_picture_is_written_as_it_is_and_under_a_name_that_says_how(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200
    write_picture(tmp_path / "new" / "red.png", image)
    assert (cv2.imread(str(tmp_path / "new" / "red.png"))[0, 0] == (0, 0, 200)).all()
    with pytest.raises(MapError, match=r"\.png or \.jpg"):
        write_picture(tmp_path / "red.txt", image)


def test_what_a_thing_was_found_by_has_a_box_of_another_colour() -> None:
    semantic_map, keyframes = scene()
    found = query_map(semantic_map, "red left of blue", CONFIG, seen_from=keyframes[1].world_from_camera)
    assert len(found.instances) == 1
    shown = picture_of(replace(found, instances=(replace(found.instances[0], keyframe_ids=(1,)),)))
    photo = shown[-FOOTER - 480 : -FOOTER, :640]
    for colour, side in ((BOX_COLOUR, -1.0), (ANCHOR_COLOUR, 1.0)):
        columns = np.nonzero((photo == colour).all(axis=-1))[1]
        assert len(columns) > 50 and abs(np.median(columns) - 640 * (32 + 50 * side / 2.5) / 64) < 60
    assert count_of(photo[:, 330:], MASK_COLOUR) == 0
