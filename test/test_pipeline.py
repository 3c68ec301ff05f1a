# SPDX-License-Identifier: Apache-2.0
"""A session refines wholly or not at all, goes on after it was killed, and lives on after a refine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_room import keyframes, room, small_config

from ccl_lgs_ros.config import updated
from ccl_lgs_ros.errors import Cancelled, MapError
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.map_record import changed_options
from ccl_lgs_ros.map_subject import MapSubject
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import SemanticMap


class Stages:
    """Remembers the stages that it was told of; cancels in one if asked to."""

    def __init__(self, cancel_in: str = "") -> None:
        self.seen: list[str] = []
        self._cancel_in = cancel_in

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
        self.seen.append(stage)
        if stage == self._cancel_in:
            raise Cancelled("stopped by the test")


def session(path: Path, progress: Stages | None = None, **changes: object) -> MapSession:
    return MapSession(small_config(**changes), MapDirectory.open_or_create(path), progress or Stages())


def assert_same(first: SemanticMap, second: SemanticMap) -> None:
    assert torch.equal(first.gaussians.means, second.gaussians.means)
    for name in LEVELS:
        mine, other = first.levels[name], second.levels[name]
        assert torch.equal(mine.track_of_gaussian, other.track_of_gaussian)
        assert torch.equal(mine.entry_of_track, other.entry_of_track)
        assert torch.equal(mine.codebook.entries, other.codebook.entries)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SemanticMap:
    return session(tmp_path_factory.mktemp("whole")).build(keyframes())


def test_every_track_of_a_level_has_a_gaussian_and_an_entry(whole: SemanticMap) -> None:
    for name in LEVELS:
        level = whole.levels[name]
        tracks = level.track_of_gaussian[level.track_of_gaussian >= 0].unique()
        assert tracks.tolist() == list(range(level.num_tracks))
        assert level.num_tracks >= 3
        assert (level.entry_of_track < len(level.codebook)).all()


def test_a_map_records_its_stages_and_the_options_that_are_not_the_default(whole: SemanticMap) -> None:
    stages = whole.info["stages"]
    assert isinstance(stages, dict)
    assert list(stages)[:2] == ["perceive", "keyframes"]
    assert {"optimize", "associate", "codebook", "register"} <= set(stages)
    assert all(stage["seconds"] >= 0 and stage["peak_bytes"] > 1 << 20 for stage in stages.values())
    assert stages["perceive"]["count"] == stages["keyframes"]["count"] == len(keyframes())
    assert whole.info["options"] == changed_options(small_config())


@pytest.mark.parametrize("stage", ["optimize", "associate", "codebook", "register"])
def test_a_run_that_is_stopped_anywhere_goes_on_to_the_same_map(stage: str, whole: SemanticMap, tmp_path: Path) -> None:
    first = session(tmp_path, Stages(cancel_in=stage))
    with pytest.raises(Cancelled):
        first.build(keyframes())
    again = Stages()
    assert_same(session(tmp_path, again).build(keyframes()), whole)
    assert ("optimize" in again.seen) == (stage == "optimize")
    assert not list((tmp_path / "work").glob("*"))


def test_other_options_do_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        session(tmp_path, Stages(cancel_in="associate")).build(keyframes())
    again = Stages()
    session(tmp_path, again, gaussians__depth_weight=0.2).build(keyframes())
    assert "optimize" in again.seen


def test_a_session_goes_on_live_after_a_refine(tmp_path: Path) -> None:
    live = session(tmp_path)
    for keyframe in keyframes()[:-1]:
        live.add(keyframe)
    live.refine(keyframes()[:-1])
    count = len(live.gaussians)
    refined = live.snapshot()
    live.add(keyframes()[-1])
    later = live.snapshot()
    assert later.version == refined.version + 1
    assert len(later.gaussians) >= count
    for name in LEVELS:
        assert later.levels[name].track_of_gaussian.shape[0] == len(later.gaussians)
        assert (later.levels[name].track_of_gaussian >= 0).float().mean() > 0.3


@pytest.mark.parametrize("fitter", ["contrastive", "kmeans", "none", "online"])
def test_every_codebook_serves_the_whole_method(fitter: str, tmp_path: Path) -> None:
    found = session(tmp_path, codebook__fitter=fitter, codebook__iterations=20).build(keyframes())
    for level in found.levels.values():
        assert len(level.codebook) >= 1 and level.num_tracks >= 3


def test_one_code_per_mask_keeps_a_track_whole_only_where_its_codes_agree(tmp_path: Path) -> None:
    options = {"codebook__fitter": "none", "codebook__vote_codes": False, "codebook__track_feature": "views"}
    single = session(tmp_path / "single", **options).build(keyframes())
    voted = session(tmp_path / "voted", codebook__fitter="none").build(keyframes())
    assert single.levels["wp"].num_tracks > voted.levels["wp"].num_tracks


def distilled(path: Path, progress: Stages | None = None, **changes: object) -> SemanticMap:
    options = {"field__lifter": "distillation", "field__iterations": 40, "field__checkpoint_every": 10}
    return session(path, progress, **{**options, **changes}).build(keyframes())


def test_a_distillation_that_is_killed_goes_on_to_the_same_map_and_field(tmp_path: Path) -> None:
    whole = distilled(tmp_path / "whole")

    class Late(Stages):
        def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
            super().__call__(stage, done, total, **figures)
            if stage == "distill" and done == 25:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distilled(tmp_path / "killed", Late())
    again = Stages()
    resumed = distilled(tmp_path / "killed", again)
    assert again.seen.count("distill") == 40 - 20
    assert_same(resumed, whole)
    assert whole.field is not None and resumed.field is not None
    for name in LEVELS:
        assert torch.equal(resumed.field.features[name], whole.field.features[name])


def test_a_field_answers_in_views_what_its_votes_answer_in_3d(tmp_path: Path) -> None:
    config = small_config(query__min_gaussians=5)
    found = distilled(tmp_path, field__iterations=300, field__learning_rate=0.01)
    prompt = room().room.categories[0]
    by_field = MapSubject(found, updated(config, {"query.view": "field"}))
    by_votes = MapSubject(found, config)
    view = keyframes()[2]
    relevancies = []
    for subject in (by_field, by_votes):
        answer = replace(subject.ask(prompt), level="wp")
        _, relevancy = subject.show([answer], view.camera, view.world_from_camera)[0]
        relevancies.append(relevancy)
    assert np.corrcoef(relevancies[0].ravel(), relevancies[1].ravel())[0, 1] > 0.7
    of_levels = by_field.relevancies([prompt], view.camera, view.world_from_camera)
    seen = relevancies[0] > 0
    assert np.allclose(of_levels["wp"][0][seen], relevancies[0][seen])


def test_a_map_without_a_field_says_how_to_get_one(whole: SemanticMap) -> None:
    subject = MapSubject(whole, small_config(query__view="field"))
    view = keyframes()[0]
    with pytest.raises(MapError, match=r"field\.lifter=distillation"):
        subject.show([subject.ask("red ball")], view.camera, view.world_from_camera)


def test_language_moves_geometry_only_where_it_is_asked_to(tmp_path: Path) -> None:
    plain = session(tmp_path / "plain").build(keyframes())
    apart = distilled(tmp_path / "apart")
    joint = distilled(tmp_path / "joint", field__joint=True)
    assert torch.equal(plain.gaussians.means, apart.gaussians.means)
    assert plain.gaussians.means.shape == joint.gaussians.means.shape
    assert not torch.equal(plain.gaussians.means, joint.gaussians.means)
