# SPDX-License-Identifier: Apache-2.0
"""Maps of the levels s, m and l, from masks to answers; the built-in segmenter leaves the middle one empty."""

import json
from pathlib import Path

import pytest
import torch
from mini_scene import gaussians_at
from small_room import keyframes, small_config

from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.cli import main
from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.field_view import field_view
from ccl_lgs_ros.level_names import coarsest, finest, named_level, offered, offered_name
from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.protocols import no_progress
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load, publish
from ccl_lgs_ros.structures import Codebook, SemanticLevel, SemanticMap
from ccl_lgs_ros.viewer.colouring import shown_level

NAMES = ("s", "m", "l")
CONFIG = small_config(
    masks__levels="s,m,l",
    gaussians__iterations=4,
    codebook__iterations=20,
    field__lifter="latent_distillation",
    field__channels=3,
    field__latent_iterations=150,
    field__iterations=24,
    field__learning_rate=0.03,
    field__min_labelled=0.2,
    query__min_gaussians=3,
)


def session(path: Path, progress=no_progress) -> MapSession:
    return MapSession(CONFIG, MapDirectory.open_or_create(path), progress)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("three")
    session(path).build(keyframes())
    return path


def test_levels_have_their_order_and_their_names():
    assert (coarsest(NAMES), finest(NAMES)) == ("l", "s")
    assert [named_level(NAMES, wanted) for wanted in ("whole", "part", "m", "auto")] == ["l", "s", "m", "auto"]
    assert offered(NAMES) == ("auto", "whole", "m", "part")
    assert offered(("sp", "wp")) == ("auto", "whole", "part")
    names = [offered_name(NAMES, name) for name in ("l", "m", "s", "wp", "part")]
    assert names == ["whole", "m", "part", "auto", "part"]
    assert offered(("wp",)) == ("auto", "whole")
    assert [offered_name(("wp",), name) for name in ("wp", "whole", "part")] == ["whole", "whole", "auto"]


def test_a_map_of_three_levels_is_built_and_read_again(mapped: Path):
    read = load(MapDirectory.open(mapped))
    assert set(read.levels) == set(NAMES)
    assert read.levels["m"].num_tracks == 0 and len(read.levels["m"].codebook) == 0
    assert read.levels["s"].num_tracks >= 3 and read.levels["l"].num_tracks >= 3
    assert read.field is not None and set(read.field.features) == {"s", "l"}
    assert set(read.field.decoders["s"]) == set(read.field.decoders["l"])
    assert shown_level(read, "auto", "") == "l"


def test_a_run_that_is_stopped_goes_on_to_the_same_map(mapped: Path, tmp_path: Path):
    def stops(stage: str, done: int, total: int, **figures: float) -> None:
        if (stage, done) == ("autoencoder", 70):
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        session(tmp_path, stops).build(keyframes())
    seen = []
    whole, again = (
        load(MapDirectory.open(mapped)),
        session(tmp_path, lambda stage, done, total, **_: seen.append(stage)),
    )
    built = again.build(keyframes())
    assert "optimize" not in seen and "distill" in seen
    for name in NAMES:
        assert torch.equal(built.levels[name].track_of_gaussian, whole.levels[name].track_of_gaussian)


def test_every_level_can_be_asked_for(mapped: Path):
    read = load(MapDirectory.open(mapped))
    answers = {level: query_map(read, "grey", CONFIG, level=level) for level in ("auto", "whole", "part", *NAMES)}
    assert {level: found.level for level, found in answers.items() if level != "auto"} == {
        "whole": "l", "part": "s", "s": "s", "m": "m", "l": "l"
    }  # fmt: skip
    assert answers["m"].instances == ()
    assert all(instance.level == "l" for instance in answers["whole"].instances)


def test_a_view_of_the_field_answers_at_the_levels_that_it_has(mapped: Path):
    parts = session(mapped).parts
    read, view = load(MapDirectory.open(mapped)), keyframes()[2]
    for level in NAMES:
        found = query_map(read, "grey", CONFIG, level=level)
        seen_from = view.camera, view.world_from_camera
        mask, relevancy = field_view(read, found, parts.encoder, parts.rasterizer, *seen_from)
        assert mask.shape == relevancy.shape == (view.camera.height, view.camera.width)
        assert relevancy.max() <= 1.0 and bool(relevancy.any()) == (level != "m")


def test_the_command_line_asks_reports_and_exports(mapped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for level in ("whole", "part", "m"):
        assert main(["query", str(mapped), "grey", "--level", level, "--json"]) in (0, 1)
        assert json.loads(capsys.readouterr().out)["success"]
    assert main(["report", str(mapped), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert page.index("tracks, l") < page.index("tracks, m") < page.index("tracks, s")
    assert main(["export", str(mapped), "-o", str(tmp_path / "map.ply")]) == 0
    assert (tmp_path / "map.ply").stat().st_size > 1000


def level_of(track: list[int], entry: list[int], entries: torch.Tensor) -> SemanticLevel:
    tracks = torch.tensor(track, dtype=torch.int32)
    return SemanticLevel(
        track_of_gaussian=tracks,
        confidence=torch.full((len(track),), 255, dtype=torch.uint8) * (tracks >= 0),
        entry_of_track=torch.tensor(entry, dtype=torch.int64),
        codebook=Codebook(entries=entries, weight=torch.ones(len(entries))),
    )


def test_the_level_of_highest_relevancy_answers(tmp_path: Path):
    encoder = BuiltinEncoder()
    red, blue = (encoder.understand(name).feature for name in ("red", "blue"))
    both = torch.nn.functional.normalize(red + blue, dim=0)
    means = torch.cat([torch.rand(20, 3) * 0.1, torch.rand(20, 3) * 0.1 + 1.0])
    parts, wholes = [0] * 20 + [1] * 20, [0] * 40
    levels = {
        "s": level_of([-1] * 40, [], torch.zeros(0, encoder.dim)),
        "m": level_of(parts, [0, 1], torch.stack([red, blue])),
        "l": level_of(wholes, [0], both[None]),
    }
    made = SemanticMap(gaussians=gaussians_at(means), levels=levels, encoder=encoder.identity)
    directory = MapDirectory.create(tmp_path / "map")
    publish(directory, made)
    read = load(directory)
    config = small_config(masks__levels="s,m,l")
    found = query_map(read, "red", config)
    assert found.level == "m" and len(found.instances) == 1
    assert set(found.instances[0].gaussian_ids.tolist()) <= set(range(20))
    assert query_map(read, "red", config, level="part").instances == ()  # part is the finest, which is empty


def test_a_map_of_one_level_says_that_it_has_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    encoder = BuiltinEncoder()
    levels = {"wp": level_of([0] * 20, [0], encoder.understand("red").feature[None])}
    made = SemanticMap(gaussians=gaussians_at(torch.rand(20, 3) * 0.1), levels=levels, encoder=encoder.identity)
    path = tmp_path / "map"
    publish(MapDirectory.create(path), made)
    for asked in (["red"], ["--at", "0", "0", "0"]):
        assert main(["query", str(path), *asked, "--level", "whole"]) == 0
        assert main(["query", str(path), *asked, "--level", "part"]) == 2
        assert "the map has no level 'part'; it has: wp" in capsys.readouterr().err
