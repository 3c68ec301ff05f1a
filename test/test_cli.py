# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: answers, and one clear sentence for each mistake."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from ccl_lgs_ros.cli import COMMANDS, main
from ccl_lgs_ros.scenes import make_scene
from ccl_lgs_ros.storage.bag_writer import BagWriter

QUICK = ["--set", "gaussians.iterations=10", "--set", "keyframes.min_translation=0.3"]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("room")
    make_scene(3, folder, num_frames=24, width=160, height=120)
    return folder


@pytest.fixture(scope="module")
def built(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("maps") / "map"
    assert main(["map", str(room), "-o", str(output), *QUICK]) == 0
    return output


def prompt_of(room: Path) -> str:
    return json.loads((room / "eval" / "objects.json").read_text())["objects"][0]["category"]


def fails(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """The one sentence with which a command refuses; exit code 2, no traceback."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("ccl-lgs: ")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err
    return lines[0]


def test_every_command_explains_itself(capsys) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        assert "examples:" in capsys.readouterr().out


def test_a_query_answers_programs_in_the_documented_form(built: Path, room: Path, capsys) -> None:
    code = main(["query", str(built), prompt_of(room), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {
        "success",
        "message",
        "prompt",
        "understood",
        "is_plain",
        "unknown_words",
        "best_score",
        "threshold",
        "map_version",
        "instances",
    }
    assert code == (0 if answer["instances"] else 1)
    for item in answer["instances"]:
        assert set(item) == {
            "id",
            "score",
            "centroid",
            "box",
            "surface_point",
            "surface_normal",
            "keyframe_ids",
            "num_gaussians",
            "uncertainty",
        }
        assert set(item["box"]) == {"center", "size", "quaternion_xyzw"}
        assert np.linalg.norm(item["box"]["quaternion_xyzw"]) == pytest.approx(1.0, abs=1e-3)


def test_a_query_draws_its_best_view(built: Path, room: Path, tmp_path: Path) -> None:
    main(["query", str(built), prompt_of(room), "--picture", str(tmp_path / "sub" / "view.png")])
    picture = cv2.imread(str(tmp_path / "sub" / "view.png"))
    assert picture is not None
    assert picture.std() > 10


def test_unknown_words_are_listed_and_find_nothing(built: Path, capsys) -> None:
    assert main(["query", str(built), "flurb grobnik"]) == 1
    assert "flurb" in capsys.readouterr().out
    main(["query", str(built), "flurb grobnik", "--json"])
    assert json.loads(capsys.readouterr().out)["unknown_words"] == ["flurb", "grobnik"]


def test_render_writes_every_camera_s_images(built: Path, room: Path, tmp_path: Path, capsys) -> None:
    transforms = room / "eval" / "transforms.json"
    assert main(["render", str(built), str(transforms), "-o", str(tmp_path), "--prompt", prompt_of(room)]) == 0
    frames = json.loads(transforms.read_text())["frames"]
    assert len(list(tmp_path.glob("*.rgb.png"))) == len(frames)
    stem = Path(frames[0]["file_path"]).stem
    color = cv2.imread(str(tmp_path / f"{stem}.rgb.png"))
    depth = cv2.imread(str(tmp_path / f"{stem}.depth.png"), cv2.IMREAD_UNCHANGED)
    mask = cv2.imread(str(tmp_path / f"{stem}.mask.png"), cv2.IMREAD_UNCHANGED)
    relevancy = cv2.imread(str(tmp_path / f"{stem}.relevancy.png"), cv2.IMREAD_UNCHANGED)
    assert color.shape[:2] == depth.shape == mask.shape == relevancy.shape == (120, 160)
    assert depth.dtype == np.uint16
    assert 300 < np.median(depth[depth > 0]) < 8000
    assert set(np.unique(mask)) <= {0, 255}


def test_export_writes_what_a_viewer_opens(built: Path, tmp_path: Path) -> None:
    from plyfile import PlyData

    assert main(["export", str(built), "-o", str(tmp_path / "map.ply")]) == 0
    vertices = PlyData.read(str(tmp_path / "map.ply"))["vertex"]
    assert {"x", "opacity", "scale_0", "rot_3", "f_dc_2"} <= set(vertices.data.dtype.names)
    assert len(vertices) > 100


def test_evaluate_prints_the_documented_figures(built: Path, room: Path, capsys) -> None:
    assert main(["evaluate", str(built), str(room / "eval"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert set(scores) == {
        "miou",
        "acc25",
        "acc50",
        "loc_acc",
        "false_alarm_rate",
        "view_consistency",
        "centroid_error_m",
        "box_iou",
        "ap50",
        "miou_3d",
        "volume_miou_3d",
        "per_category",
    }


def test_mapping_again_extends_the_map(built: Path, room: Path, capsys) -> None:
    copy = built.parent / "copy"
    shutil.copytree(built, copy)
    assert main(["map", str(room), "-o", str(copy), *QUICK]) == 0
    assert "0 new keyframes" in capsys.readouterr().out
    assert (copy / "snapshots" / "000002").is_dir()


def test_a_missing_recording_is_named(tmp_path: Path, capsys) -> None:
    assert "nowhere" in fails(capsys, "map", tmp_path / "nowhere", "-o", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_an_empty_recording_is_refused(tmp_path: Path, capsys) -> None:
    with BagWriter(tmp_path / "bag", storage="mcap"):
        pass
    fails(capsys, "map", tmp_path / "bag", "-o", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_recording_without_poses_is_refused_with_what_is_missing(tmp_path: Path, capsys) -> None:
    from ccl_lgs_ros.camera import Camera

    camera = Camera(width=32, height=24, fx=30.0, fy=30.0, cx=16.0, cy=12.0)
    with BagWriter(tmp_path / "bag", storage="mcap") as bag:
        bag.camera_info("/camera/camera_info", 1, "camera", camera)
        bag.image("/camera/image_raw", 1, "camera", np.zeros((24, 32, 3), np.uint8), "rgb8")
    message = fails(capsys, "map", tmp_path / "bag", "-o", tmp_path / "m")
    assert "pose" in message or "tf" in message
    assert not (tmp_path / "m").exists()


def test_a_cut_off_recording_is_refused_with_the_repair(room: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(room / "bag", tmp_path / "bag")
    mcap = next((tmp_path / "bag").glob("*.mcap"))
    mcap.write_bytes(mcap.read_bytes()[: mcap.stat().st_size // 2])
    assert "mcap" in fails(capsys, "map", tmp_path / "bag", "-o", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_map_of_another_version_is_refused_and_left_alone(built: Path, room: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(built, tmp_path / "old")
    identity = json.loads((tmp_path / "old" / "map.json").read_text())
    (tmp_path / "old" / "map.json").write_text(json.dumps({**identity, "format_version": 99}))
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "old").rglob("*"))
    assert "99" in fails(capsys, "query", tmp_path / "old", "red mug")
    assert "99" in fails(capsys, "map", room, "-o", tmp_path / "old")
    assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "old").rglob("*")) == before


def test_a_folder_with_other_things_is_never_written_to(room: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    fails(capsys, "map", room, "-o", tmp_path)
    fails(capsys, "demo", "-o", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_map_that_is_not_there_is_refused(tmp_path: Path, capsys) -> None:
    assert "ccl-lgs map" in fails(capsys, "query", tmp_path / "none", "red mug")


@pytest.mark.parametrize("prompt", ["", "   ", "word " * 500])
def test_a_prompt_that_names_no_one_thing_is_refused(built: Path, prompt: str, capsys) -> None:
    assert "prompt" in fails(capsys, "query", built, prompt)


def test_a_wrong_option_names_the_nearest(built: Path, room: Path, tmp_path: Path, capsys) -> None:
    assert "query.threshold" in fails(capsys, "query", built, "red", "--set", "query.treshold=0.4")
    assert "from 0 to 1" in fails(capsys, "query", built, "red", "--threshold", "7")
    assert "builtin" in fails(capsys, "map", room, "-o", tmp_path / "m", "--set", "perception.segmenter=bultin")
    assert not (tmp_path / "m").exists()


def test_evaluate_needs_one_source_of_labels(built: Path, capsys) -> None:
    assert "--bag" in fails(capsys, "evaluate", built)
    assert "no evaluation set" in fails(capsys, "evaluate", built, built / "none")
