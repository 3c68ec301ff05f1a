# SPDX-License-Identifier: Apache-2.0
"""What the viewer shows, without a browser: splats, colours, cameras, clicks, and a map that grows."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_scene import gaussians_at
from splat_room import BLUE, CAMERA, RED, SECOND_BLUE, add_keyframes, keyframes, make_map, room_map

from ccl_lgs_ros.answers import Answer, Box, Instance, Prompt
from ccl_lgs_ros.cli import main
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MissingDependencyError
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import SPLAT, publish
from ccl_lgs_ros.structures import Gaussians
from ccl_lgs_ros.viewer.cameras import first_view, flight, is_in_sight, view_of, view_through
from ccl_lgs_ros.viewer.colouring import code_colors, heat_colors, shown_level
from ccl_lgs_ros.viewer.page import status_of
from ccl_lgs_ros.viewer.picking import entry_distance, struck
from ccl_lgs_ros.viewer.splats import most_visible, splats_of
from ccl_lgs_ros.viewer.subject import Question
from ccl_lgs_ros.viewer.watcher import Watcher

EVERYTHING = 10**6


def entries() -> list[KeyframeEntry]:
    return [KeyframeEntry.of(frame, frame.id, 0) for frame in keyframes()]


def box_at(x: float, turn: float = 0.0) -> Box:
    c, s = np.cos(turn), np.sin(turn)
    return Box(
        center=np.array([x, 0.0, 0.0]), rotation=np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), size=np.full(3, 2.0)
    )


def instance_at(x: float) -> Instance:
    return Instance(
        id=int(x), level="wp", score=0.9, centroid=np.array([x, 0.0, 0.0]), box=box_at(x), gaussian_ids=torch.zeros(0)
    )


def test_a_splat_is_the_ellipsoid_of_its_gaussian() -> None:
    half = np.sqrt(0.5)  # a quarter turn about z: what was long in x is long in y
    one = Gaussians(
        means=torch.tensor([[1.0, 2.0, 3.0]]),
        quats=torch.tensor([[half, 0.0, 0.0, half]], dtype=torch.float32) * 3.0,
        log_scales=torch.tensor([[0.5, 0.1, 0.2]]).log(),
        logit_opacities=torch.tensor([0.0]),
        sh=torch.zeros(1, 1, 3),
    )
    splats = splats_of(one, 1)
    np.testing.assert_allclose(splats.covariances[0], np.diag([0.01, 0.25, 0.04]), atol=1e-6)
    np.testing.assert_allclose(splats.centers, [[1.0, 2.0, 3.0]])
    assert splats.opacities[0, 0] == 0.5 and splats.colors[0].tolist() == [0.5, 0.5, 0.5]


def test_the_splats_that_show_most_are_kept_and_those_that_cannot_be_drawn_are_not() -> None:
    gaussians = gaussians_at(np.zeros((6, 3)))
    gaussians.log_scales[:] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).log()[:, None]
    gaussians.logit_opacities[4] = -20.0
    gaussians.means[5, 0] = torch.nan
    assert most_visible(gaussians, EVERYTHING).tolist() == [0, 1, 2, 3]
    assert most_visible(gaussians, 2).tolist() == [2, 3]
    assert len(splats_of(gaussians, 2)) == 2 and splats_of(gaussians, 2).total == 6


def test_colours_follow_relevancy_and_track_of_the_splats_that_are_kept() -> None:
    semantic_map = room_map(RED, BLUE)
    splats = splats_of(semantic_map.gaussians, len(semantic_map.gaussians) - 500)
    track = semantic_map.levels["wp"].track_of_gaussian.numpy()
    hot = heat_colors(splats, (track == 1).astype(np.float32))
    of_blue = track[splats.ids] == 1
    assert of_blue.any() and not of_blue.all()
    assert (hot[of_blue, 0] > hot[of_blue, 2] + 0.2).all(), "what answers is warm"
    assert (np.ptp(hot[~of_blue], axis=1) < 0.35).all(), "what does not is dull"
    codes = code_colors(splats, semantic_map, "wp")
    assert len(np.unique(codes[of_blue], axis=0)) == 1 and len(np.unique(codes, axis=0)) == 3
    assert np.ptp(code_colors(splats, semantic_map, "none such"), axis=1).max() == 0.0


def test_the_level_that_is_shown_is_the_first_that_the_map_has() -> None:
    semantic_map = room_map(RED)
    assert shown_level(semantic_map, "auto", "sp") == "sp"
    assert shown_level(semantic_map, "auto", "") == "wp"


def test_the_first_view_is_the_keyframe_with_most_things_in_its_image() -> None:
    frames = entries()
    target = view_through(frames[4])
    point = target.look_at + 0.0 * target.position
    beside = [frames[4].world_from_camera[:3, 3] - frames[4].world_from_camera[:3, 2]]  # behind that camera
    points, thing = np.array([point, *beside * 20]), np.array([7, *[3] * 20])
    opened = first_view([frames[4]], points, thing)
    assert opened is not None and opened[1].id == 4
    np.testing.assert_allclose(opened[0].look_at, point)
    assert first_view([], points, thing) is None
    turned = frames[0].world_from_camera.copy()
    turned[:3, [0, 2]] *= -1.0  # looks away from everything
    away = KeyframeEntry.of(keyframes()[0], 0, 0)
    away.world_from_camera[:] = turned
    opened = first_view([away, frames[4]], points, thing)
    assert opened is not None and opened[1].id == 4


def test_a_flight_ends_where_it_should_and_never_jumps() -> None:
    start, end = view_through(entries()[0]), view_through(entries()[5])
    views = flight(start, end)
    np.testing.assert_allclose(views[-1].position, end.position)
    np.testing.assert_allclose(views[-1].look_at, end.look_at)
    way = np.array([start.position, *(view.position for view in views)])
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    assert steps.max() < 0.1 * np.linalg.norm(end.position - start.position)


def test_a_view_of_a_point_never_looks_at_where_it_stands() -> None:
    entry = entries()[0]
    eye = entry.world_from_camera[:3, 3]
    assert np.linalg.norm(view_of(entry, eye).look_at - eye) > 1.0
    np.testing.assert_allclose(view_of(entry, np.array([0.6, 0.0, 0.2])).look_at, [0.6, 0.0, 0.2])


def test_what_is_in_sight_is_in_the_cone_of_the_view() -> None:
    view = view_through(entries()[0])
    assert is_in_sight(view, 0.8, view.look_at)
    assert not is_in_sight(view, 0.8, 2.0 * view.position - view.look_at)


@pytest.mark.parametrize("turn", [0.0, 0.7])
def test_a_click_chooses_the_first_box_on_its_ray(turn: float) -> None:
    eye, ahead = np.array([-5.0, 0.1, 0.2]), np.array([1.0, 0.0, 0.0])
    assert entry_distance(box_at(0.0), eye, ahead) == pytest.approx(4.0)
    assert entry_distance(box_at(0.0, turn), np.zeros(3), ahead) == 0.0
    assert entry_distance(box_at(0.0, turn), eye, -ahead) == np.inf
    assert entry_distance(box_at(0.0), np.array([-5.0, 1.0, 0.0]), ahead) == pytest.approx(4.0), "along a face"
    assert entry_distance(box_at(0.0), np.array([-5.0, 1.1, 0.0]), ahead) == np.inf
    far, near = instance_at(6.0), instance_at(2.0)
    assert struck([far, near], eye, ahead) is near
    assert struck([far, near], eye, -ahead) is None
    assert struck([], eye, ahead) is None


def test_a_map_is_followed_from_nothing_to_its_next_version(tmp_path: Path) -> None:
    shown = []
    watcher = Watcher(tmp_path / "map", MapConfig(), EVERYTHING, shown.append)
    assert not watcher.look() or shown[-1].subject is None, "there is no map yet"
    directory = MapDirectory.create(tmp_path / "map")
    add_keyframes(directory)
    assert watcher.look() and shown[-1].subject is None and len(shown[-1].entries) == len(keyframes())
    assert "waiting" in status_of(shown[-1])
    publish(directory, room_map(RED, BLUE))
    assert watcher.look() and not watcher.look()
    first = shown[-1].subject
    assert first is not None and first.semantic_map.version == 1
    assert len(first.ask(Question(text="blue box")).instances) == 1
    publish(directory, room_map(RED, BLUE, SECOND_BLUE))
    assert watcher.look()
    second = shown[-1].subject
    assert second is not None and len(second.ask(Question(text="blue box")).instances) == 2
    assert shown[-1].number > shown[-2].number


def test_a_damaged_version_leaves_the_one_before_it_with_the_reason(tmp_path: Path) -> None:
    directory = make_map(tmp_path / "map", RED)
    watcher = Watcher(directory.path, MapConfig(), EVERYTHING)
    assert watcher.look()
    publish(directory, room_map(RED, BLUE))
    splat = directory.snapshot_path(2) / SPLAT
    splat.write_bytes(splat.read_bytes()[:-100])
    assert watcher.look()
    assert watcher.sight.subject is not None and watcher.sight.subject.semantic_map.version == 1
    assert "damaged" in watcher.sight.trouble


def test_an_instance_is_shown_in_the_photo_with_its_mask_and_its_box(tmp_path: Path) -> None:
    watcher = Watcher(make_map(tmp_path / "map", RED, BLUE).path, MapConfig(), EVERYTHING)
    watcher.look()
    subject = watcher.sight.subject
    assert subject is not None
    found = subject.ask(Question(text="blue box", max_instances=1))
    instance = found.instances[0]
    assert instance.keyframe_ids, "the cameras that saw it are known"
    shown = instance.keyframe_ids[0]
    picture = subject.picture(found, instance, shown)
    assert picture.shape == (CAMERA.height, CAMERA.width, 3)
    pose = keyframes()[shown].camera_from_world
    column, row = CAMERA.project(pose[:3, :3] @ instance.centroid + pose[:3, 3]).astype(int)
    assert np.ptp(picture[row, column].astype(int)) > 20, "the grey photo is tinted where the instance is"
    assert np.ptp(picture[5, 5].astype(int)) < 5, "and nowhere else"


def test_the_relevancy_of_an_answer_without_a_level_is_nought(tmp_path: Path) -> None:
    watcher = Watcher(make_map(tmp_path / "map", RED).path, MapConfig(), EVERYTHING)
    watcher.look()
    subject = watcher.sight.subject
    assert subject is not None
    prompt = Prompt(text="x", feature=torch.zeros(1))
    nothing = Answer(
        prompt=prompt, instances=(), best_score=0.0, threshold=0.5, level="", map_version=1, message="nothing"
    )
    assert not subject.relevancy(nothing).any()


def test_a_port_that_is_taken_is_an_error_that_names_a_free_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = make_map(tmp_path / "map", RED).path
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["view", str(path), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"port {port}" in said and "--port" in said.split(";")[-1]


def test_a_map_that_is_not_there_is_an_error_unless_it_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["view", str(tmp_path / "none")]) == 2
    assert "there is no map" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [("--port", "70000"), ("--max-gaussians", "0")])
def test_a_number_that_makes_no_sense_is_named(wrong: tuple[str, str], capsys: pytest.CaptureFixture) -> None:
    assert main(["view", "map", *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err


def test_without_viser_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from ccl_lgs_ros.commands import view

    monkeypatch.setattr(view, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install viser"):
        view.run(view_arguments("map"))


def view_arguments(path: str):
    from ccl_lgs_ros.cli import parser

    return parser().parse_args(["view", path])


def test_the_viewer_starts_before_there_is_a_map_and_ends_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ccl_lgs_ros.cli", "view", str(tmp_path / "map"), "--wait", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as viewer:
        assert viewer.stdout is not None and viewer.stderr is not None
        line = viewer.stdout.readline()
        assert line.startswith("open http://localhost:")
        viewer.send_signal(signal.SIGINT)
        out, err = viewer.communicate(timeout=120)
    assert viewer.returncode == 0 and out == "closed\n" and "Traceback" not in err
