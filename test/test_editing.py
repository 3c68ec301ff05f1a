# SPDX-License-Identifier: Apache-2.0
"""Laws of editing: what is removed is gone, what is kept is all there is, what is moved back is where it was."""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_scene import BLUE, RED, box_surface, map_of

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.cli import main
from ccl_lgs_ros.clicking import thing_at
from ccl_lgs_ros.commands.editing import colour_of
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.editing import alone, gaussians_of, moved, recoloured, transformed, without
from ccl_lgs_ros.editing_pictures import shown_from
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.query.by_id import thing_of_id
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.rendering.colors import colors_towards
from ccl_lgs_ros.rendering.harmonics import C0
from ccl_lgs_ros.rims import with_strays
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.ply import read_splat
from ccl_lgs_ros.storage.snapshot import load, publish
from ccl_lgs_ros.structures import NONE, Gaussians, SemanticMap

LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722])


def two_boxes(sh_size: int = 1) -> SemanticMap:
    """A red box at x = 0 and a blue one at x = 1, of many shades."""
    red = box_surface((0.0, 0.0, 0.1), (0.2, 0.1, 0.2), spacing=0.03)
    blue = box_surface((1.0, 0.0, 0.1), (0.2, 0.1, 0.2), spacing=0.03)
    track = torch.cat([torch.zeros(len(red)), torch.ones(len(blue))])
    semantic_map = map_of(np.concatenate([red, blue]), track, torch.stack([RED, BLUE]))
    generator = torch.Generator().manual_seed(0)
    n = len(semantic_map.gaussians)
    gaussians = dataclasses.replace(
        semantic_map.gaussians,
        quats=torch.randn(n, 4, generator=generator),
        sh=0.5 * torch.rand(n, sh_size, 3, generator=generator),
    )
    return dataclasses.replace(semantic_map, gaussians=gaussians)


def red_box(semantic_map: SemanticMap) -> Instance:
    found = thing_of_id(semantic_map, 0)
    assert found is not None
    return found


def is_equal(first: Gaussians, second: Gaussians) -> bool:
    return all(torch.equal(tensor, second.tensors()[name]) for name, tensor in first.tensors().items())


def test_removed_gaussians_are_gone_and_all_else_is_as_it_was():
    before = two_boxes()
    after = without(before, [red_box(before)])
    others = before.levels["wp"].track_of_gaussian == 1
    assert is_equal(after.gaussians, before.gaussians.select(others))
    assert (after.levels["wp"].track_of_gaussian == 1).all()
    assert torch.equal(after.levels["wp"].ids, before.levels["wp"].ids)


def test_kept_is_exactly_the_thing_and_both_halves_are_the_whole():
    before = two_boxes()
    kept, rest = alone(before, [red_box(before)]), without(before, [red_box(before)])
    assert is_equal(kept.gaussians.joined(rest.gaussians), before.gaussians)
    assert len(kept.gaussians) == int((before.levels["wp"].track_of_gaussian == 0).sum())


def test_a_thing_takes_what_is_in_its_box_and_belongs_to_nothing():
    before = two_boxes()
    track = before.levels["wp"].track_of_gaussian.clone()
    track[[3, 5, -1]] = NONE  # two in the red box, one in the blue
    level = dataclasses.replace(before.levels["wp"], track_of_gaussian=track)
    before = dataclasses.replace(before, levels={"wp": level})
    whole = with_strays(before, red_box(before))
    assert not torch.isin(torch.tensor([3, 5]), red_box(before).gaussian_ids).any()
    assert torch.equal(gaussians_of(before, [whole]), two_boxes().levels["wp"].track_of_gaussian == 0)


@pytest.mark.parametrize("sh_size", [1, 4])
def test_recoloured_things_keep_their_light_and_shade(sh_size):
    before = two_boxes(sh_size)
    thing = red_box(before)
    after = recoloured(before, [thing], (0.2, 0.4, 0.8))
    eye = rigid(np.eye(3), np.array([0.3, -2.0, 1.0]))
    old = colors_towards(before.gaussians.select(thing.gaussian_ids), eye) @ LUMINANCE
    new = colors_towards(after.gaussians.select(thing.gaussian_ids), eye)
    assert torch.equal((new @ LUMINANCE).argsort(), old.argsort())
    torch.testing.assert_close(new / new[:, 2:], torch.tensor([0.25, 0.5, 1.0]).expand_as(new))
    others = ~gaussians_of(before, [thing])
    assert is_equal(after.gaussians.select(others), before.gaussians.select(others))


def test_the_usual_shade_of_a_thing_becomes_the_colour_itself():
    before = two_boxes()
    gaussians = dataclasses.replace(before.gaussians, sh=torch.full_like(before.gaussians.sh, 0.3))
    before = dataclasses.replace(before, gaussians=gaussians)
    after = recoloured(before, [red_box(before)], (0.25, 0.5, 0.75)).gaussians.sh[0, 0]
    torch.testing.assert_close(0.5 + C0 * after, torch.tensor([0.25, 0.5, 0.75]))
    black = dataclasses.replace(before.gaussians, sh=torch.full_like(before.gaussians.sh, -0.5 / C0))
    before = dataclasses.replace(before, gaussians=black)
    after = recoloured(before, [red_box(before)], (0.25, 0.5, 0.75)).gaussians.sh[0, 0]
    torch.testing.assert_close(0.5 + C0 * after, torch.tensor([0.25, 0.5, 0.75]))


def test_moved_there_and_back_is_where_it_was():
    before = two_boxes(sh_size=16)
    there = moved(before, [red_box(before)], np.array([0.4, -0.2, 0.1]), turn=0.7)
    back = moved(there, [red_box_of(there)], np.array([-0.4, 0.2, -0.1]), turn=-0.7)
    for name in ("means", "quats", "log_scales", "sh"):
        torch.testing.assert_close(
            back.gaussians.tensors()[name], before.gaussians.tensors()[name], rtol=1e-3, atol=2e-3
        )
    others = before.levels["wp"].track_of_gaussian == 1
    assert is_equal(there.gaussians.select(others), before.gaussians.select(others))


def red_box_of(semantic_map: SemanticMap) -> Instance:
    found = thing_of_id(semantic_map, 0)
    assert found is not None
    return found


def test_what_turns_with_its_viewer_looks_the_same():
    before = two_boxes(sh_size=16).gaussians
    turn = rigid(np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.array([1.0, 2.0, 3.0]))
    eye = rigid(np.eye(3), np.array([0.3, -2.0, 1.0]))
    torch.testing.assert_close(
        colors_towards(transformed(before, turn), turn @ eye), colors_towards(before, eye), rtol=1e-4, atol=1e-5
    )


def test_a_quarter_turn_of_the_axes_by_hand():
    one = two_boxes().gaussians.select(torch.tensor([0]))
    one = dataclasses.replace(one, quats=torch.tensor([[1.0, 0, 0, 0]]), means=torch.tensor([[1.0, 0, 0]]))
    turn = rigid(np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.zeros(3))
    turned = transformed(one, turn)
    torch.testing.assert_close(turned.means, torch.tensor([[0.0, 1.0, 0.0]]))
    torch.testing.assert_close(turned.quats, torch.tensor([[0.5**0.5, 0, 0, 0.5**0.5]]))


def test_things_are_found_by_id_and_by_place():
    semantic_map = two_boxes()
    (blue,) = thing_at(semantic_map, np.array([1.0, 0.0, 0.25]), MapConfig()).instances
    assert blue.id == 1
    by_id = thing_of_id(semantic_map, 1)
    assert by_id is not None and torch.isin(blue.gaussian_ids, by_id.gaussian_ids).all()
    assert len(blue.gaussian_ids) > 0.9 * len(by_id.gaussian_ids)  # a point has what is connected there
    assert not thing_at(semantic_map, np.array([0.5, 0.0, 0.1]), MapConfig()).instances
    assert thing_of_id(semantic_map, 7) is None


@pytest.mark.parametrize("text", ["#12345", "rgb", "#gg0000"])
def test_what_is_no_colour_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        colour_of(text)
    assert colour_of("#ff8000") == (1.0, 128 / 255, 0.0)


def test_the_command_writes_another_map_and_leaves_the_first_alone(tmp_path: Path, capsys):
    semantic_map = publish(MapDirectory.create(tmp_path / "map"), two_boxes())
    command = ["edit", str(tmp_path / "map"), "--at", "0", "0", "0.2"]
    assert main([*command, "--remove", "-o", str(tmp_path / "rest")]) == 0
    rest = load(MapDirectory.open(tmp_path / "rest"))
    assert rest.map_id != semantic_map.map_id
    assert rest.info["edits"] == [f"#0: 1 thing, {len(semantic_map.gaussians) - len(rest.gaussians)} Gaussians removed"]
    assert (rest.levels["wp"].track_of_gaussian == 1).all()
    assert is_equal(load(MapDirectory.open(tmp_path / "map")).gaussians, semantic_map.gaussians)
    assert main([*command, "--keep", "-o", str(tmp_path / "box.ply")]) == 0
    assert is_equal(read_splat(tmp_path / "box.ply"), alone(semantic_map, [red_box(semantic_map)]).gaussians)
    assert "without keyframes" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--at", "0", "0", "0.2", "--remove", "-o", "map"],
        ["--at", "0", "0", "0.2", "--remove", "-o", "map/inside"],
        ["--at", "0", "0", "0.2", "--remove", "-o", "taken.ply"],
        ["--at", "0", "0", "0.2", "--remove", "--turn", "3", "-o", "new"],
        ["--remove", "-o", "new"],
        ["red box", "--id", "0", "--remove", "-o", "new"],
    ],
)
def test_nothing_is_overwritten_and_contradictions_are_told(tmp_path: Path, wrong, monkeypatch):
    monkeypatch.chdir(tmp_path)
    publish(MapDirectory.create("map"), two_boxes())
    Path("taken.ply").write_text("mine")
    assert main(["edit", "map", *wrong]) == 2
    assert Path("taken.ply").read_text() == "mine" and not Path("new").exists()


def test_nothing_found_writes_nothing(tmp_path: Path, capsys):
    publish(MapDirectory.create(tmp_path / "map"), two_boxes())
    assert main(["edit", str(tmp_path / "map"), "--id", "9", "--remove", "-o", str(tmp_path / "new")]) == 1
    assert not (tmp_path / "new").exists() and "nothing found" in capsys.readouterr().out


def looking_down(*places: tuple[float, float, float]) -> ViewedFrom:
    """Cameras [V] at places, of which each sees a square as wide as it is high above the ground."""
    down = np.diag([1.0, -1.0, -1.0])
    return ViewedFrom(
        keyframe_ids=10 + np.arange(len(places)),
        cameras=[Camera(width=100, height=100, fx=100.0, fy=100.0, cx=50.0, cy=50.0)] * len(places),
        world_from_camera=np.stack([rigid(down, np.array(place)) for place in places]),
    )


OLD, NEW, BOTH, NEITHER = (0.0, 0.0, 1.0), (2.0, 0.0, 1.0), (1.0, 0.0, 4.0), (9.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("cameras", "best"),
    [
        ((NEITHER, OLD, NEW, BOTH), BOTH),
        ((NEITHER, OLD, NEW), NEW),
        ((NEITHER, OLD), OLD),
        ((BOTH, (1.0, 0.0, 3.0)), (1.0, 0.0, 3.0)),
    ],
)
def test_a_picture_of_what_was_moved_shows_where_it_is_and_if_it_can_where_it_was(cameras, best):
    before = two_boxes()
    thing = red_box(before)
    after = moved(before, [thing], np.array([2.0, 0.0, 0.0]))
    assert cameras[shown_from(before, after, [thing], looking_down(*cameras))] == best


def test_a_picture_of_what_was_removed_shows_where_it_was():
    before = two_boxes()
    thing = red_box(before)
    after = without(before, [thing])
    assert shown_from(before, after, [thing], looking_down(NEITHER, NEW, BOTH, OLD)) == 3
