# SPDX-License-Identifier: Apache-2.0
"""Ids stay with things: as maps grow, merge, are refined, moved and taken up again; no id is given twice."""

import json
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save
from scipy.spatial import KDTree
from small_room import room, small_config

from ccl_lgs_ros.association.identity import Remembered, inherited_ids, named_gaussians
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.naming import Naming
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load, publish
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, SemanticLevel, SemanticMap

DIM = 4
SHIFT = rigid(np.eye(3), np.array([0.5, 0.0, 0.0]))  # what a loop closure finds, farther than things are apart


def level_of(track: list[int], num_tracks: int | None = None) -> SemanticLevel:
    count = num_tracks if num_tracks is not None else max(track) + 1
    return SemanticLevel(
        track_of_gaussian=torch.tensor(track, dtype=torch.int32),
        confidence=torch.full((len(track),), 255, dtype=torch.uint8),
        entry_of_track=torch.zeros(count, dtype=torch.int64),
        codebook=Codebook(entries=torch.eye(1, DIM), weight=torch.ones(1)),
    )


def ids_in(remembered: Remembered, track: list[int], num_tracks: int | None = None) -> tuple[list[int], Remembered]:
    """The ids of tracks, and what is remembered after."""
    named, after = remembered.named({"wp": level_of(track, num_tracks)})
    return named["wp"].ids.tolist(), after


def test_the_first_snapshot_counts_things_from_zero_and_leaves_empty_tracks_unnamed() -> None:
    ids, after = ids_in(Remembered.nothing(), [0, 0, 2, NONE], num_tracks=4)
    assert ids == [0, NONE, 1, NONE]
    assert after.next_id == 2


def test_ids_do_not_care_how_tracks_are_numbered() -> None:
    _, after = ids_in(Remembered.nothing(), [0, 0, 1, 1, 2, 2])
    ids, again = ids_in(after, [2, 2, 0, 0, 1, 1])
    assert ids == [1, 2, 0]
    assert again.next_id == after.next_id


def test_a_growing_thing_keeps_its_id_however_much_is_new() -> None:
    _, after = ids_in(Remembered.nothing(), [0, 0, 1, 1])
    ids, _ = ids_in(after, [1, 1, 0, 0] + [1] * 50 + [2] * 3)
    assert ids == [1, 0, 2]


def test_of_things_that_turn_out_to_be_one_the_older_id_survives_and_the_other_never_comes_back() -> None:
    _, after = ids_in(Remembered.nothing(), [0] * 3 + [1] * 5)
    merged, after = ids_in(after, [0] * 8)
    assert merged == [0]
    split, _ = ids_in(after, [0] * 5 + [1] * 3)
    assert split == [0, 2]


def test_a_speck_of_an_older_thing_does_not_rename_what_swallows_it() -> None:
    _, after = ids_in(Remembered.nothing(), [0] * 2 + [1] * 40)
    ids, _ = ids_in(after, [0] * 42)
    assert ids == [1]


def test_of_a_thing_that_falls_apart_the_larger_part_keeps_the_id() -> None:
    _, after = ids_in(Remembered.nothing(), [0] * 10)
    ids, _ = ids_in(after, [1] * 3 + [0] * 7)
    assert ids == [0, 1]


def test_strays_of_what_is_gone_do_not_name_what_stands_there_now() -> None:
    _, after = ids_in(Remembered.nothing(), [0] * 30)
    ids, _ = ids_in(after, [NONE] * 27 + [0] * 3 + [0] * 30)
    assert ids == [1]


def test_a_thing_out_of_sight_of_its_track_is_known_again() -> None:
    _, after = ids_in(Remembered.nothing(), [0] * 4 + [1] * 4)
    away, after = ids_in(after, [0] * 4 + [NONE] * 4)
    back, _ = ids_in(after, [1] * 4 + [0] * 4)
    assert (away, back) == ([0], [1, 0])


def test_other_gaussians_carry_on_what_those_knew_that_they_came_from() -> None:
    _, after = ids_in(Remembered.nothing(), [0] * 4 + [1] * 4)
    origin = torch.tensor([7, 6, 5, 4, 4, NONE, 0, 1, 2, 3])
    ids, _ = ids_in(after.followed(origin), [0] * 6 + [1] * 4)
    assert ids == [1, 0]


def test_levels_share_no_id() -> None:
    named, after = Remembered.nothing().named({"sp": level_of([0, 1]), "wp": level_of([0, 0])})
    assert sorted(named["sp"].ids.tolist() + named["wp"].ids.tolist()) == [0, 1, 2]
    assert after.next_id == 3


@pytest.mark.parametrize("seed", range(5))
def test_no_id_is_given_to_two_tracks_nor_ever_twice(seed: int) -> None:
    generator, remembered, taken = np.random.default_rng(seed), Remembered.nothing(), set()
    track = generator.integers(-1, 6, 60)
    for _ in range(8):
        ids, after = ids_in(remembered, track.tolist(), 8)
        given = [number for number in ids if number != NONE]
        assert len(given) == len(set(given))
        new = {number for number in given if number >= remembered.next_id}
        assert not new & taken
        taken |= set(given)
        assert after.next_id > max(taken)
        remembered = after
        moved = generator.random(60) < 0.3
        track = np.where(moved, generator.integers(-1, 8, 60), track)


def test_with_nothing_known_every_track_is_new() -> None:
    assert inherited_ids(np.full(4, NONE), np.array([0, 0, 1, NONE]), 3).tolist() == [NONE, NONE, NONE]


def test_a_session_that_begins_anew_knows_things_by_where_they_are() -> None:
    means = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.02], [1.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    named, after = Remembered.nothing().named({"wp": level_of([0, 0, 1, 2])})
    published = SemanticMap(gaussians=gaussians_at(means), levels=named, encoder="none", info={"next_id": 9})
    seen_again = torch.tensor([[1.01, 0.0, 0.0], [0.0, 0.01, 0.0], [0.0, 0.0, 0.03], [3.0, 0.0, 0.0]])
    remembered = Remembered.of(published, seen_again)
    ids, after = ids_in(remembered, [0, 1, 1, 2])
    assert ids == [1, 0, 9]
    assert after.next_id == 10


def gaussians_at(means: torch.Tensor) -> Gaussians:
    count = len(means)
    return Gaussians(
        means=means,
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1),
        log_scales=torch.full((count, 3), -4.0),
        logit_opacities=torch.zeros(count),
        sh=torch.zeros(count, 1, 3),
    )


def test_things_of_a_room_keep_their_ids_through_growth_refine_correction_and_restart(tmp_path: Path) -> None:
    directory, moments = MapDirectory.open_or_create(tmp_path), room().moments(120)[50:56]  # a ball and a mug are near
    frames = [room().frame(float(seconds)).keyframe(index) for index, seconds in enumerate(moments)]
    session = MapSession(small_config(), directory)
    session.catch_up(frames[:3])
    grown = [session.snapshot()]
    session.catch_up(frames)
    grown.append(session.snapshot())
    session.refine(frames)
    grown.append(session.snapshot())
    poses = [SHIFT @ frame.world_from_camera for frame in frames]
    moved = [replace(frame, world_from_camera=pose) for frame, pose in zip(frames, poses, strict=True)]
    session.correct(moved, poses, revision=1)
    grown.append(session.snapshot())
    session.keep()
    again = MapSession(small_config(), directory)
    assert again.resume(moved)
    grown.append(again.snapshot())
    anew = MapSession(small_config(), directory)
    anew.catch_up(moved)
    grown.append(anew.snapshot())
    ids = [ids_of_objects(snapshot, np.zeros(3) if i < 3 else SHIFT[:3, 3]) for i, snapshot in enumerate(grown)]
    assert set.intersection(*(set(known) for known in ids))  # a thing that is clear in all of them
    for before, after in pairwise(ids):
        assert all(after.get(name, number) == number for name, number in before.items())
    next_ids = [int(str(snapshot.info["next_id"])) for snapshot in grown]
    assert next_ids == sorted(next_ids)


def ids_of_objects(semantic_map: SemanticMap, moved_by: np.ndarray) -> dict[str, int]:
    """The id that most Gaussians of each object carry, where that is clear, by the truth of the room."""
    level, means = semantic_map.levels["wp"], semantic_map.gaussians.means.numpy() - moved_by
    ids = named_gaussians(level)
    found = {}
    for item in room().room.objects:
        distance, _ = KDTree(item.surface).query(means, distance_upper_bound=0.02)
        own = ids[np.isfinite(distance) & (ids != NONE)]
        if len(own) < 30:
            continue
        number, count = np.unique(own, return_counts=True)
        if count.max() > 0.7 * count.sum():
            found[f"{item.category} {item.id}"] = int(number[count.argmax()])
    return found


def test_ids_are_published_and_maps_of_old_count_their_tracks(tmp_path: Path) -> None:
    directory = MapDirectory.create(tmp_path / "map")
    level = replace(level_of([0, 1, 1]), id_of_track=torch.tensor([40, 7]))
    publish(
        directory,
        SemanticMap(gaussians=gaussians_at(torch.zeros(3, 3)), levels={"wp": level}, encoder="none"),
    )
    assert load(directory).levels["wp"].ids.tolist() == [40, 7]
    folder = directory.snapshot_path(1)
    semantics = folder / "semantics.safetensors"
    semantics.write_bytes(save({k: v for k, v in load_file(semantics).items() if not k.endswith("id_of_track")}))
    described = json.loads((folder / "snapshot.json").read_text())
    content = semantics.read_bytes()
    described["files"][semantics.name] = {"size": len(content), "crc32": zlib.crc32(content)}
    (folder / "snapshot.json").write_text(json.dumps(described))
    assert load(directory).levels["wp"].ids.tolist() == [0, 1]


def test_a_snapshot_that_cannot_be_read_stops_no_session(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = MapDirectory.create(tmp_path / "map")
    published = SemanticMap(
        gaussians=gaussians_at(torch.zeros(3, 3)), levels={"wp": level_of([0, 1, 1])}, encoder="none"
    )
    publish(directory, published)
    (directory.snapshot_path(1) / "splat.ply").write_bytes(b"gone")
    named = Naming(directory).named({"wp": level_of([0, 0, 1])}, torch.zeros(3, 3))
    assert named["wp"].ids.tolist() == [0, 1]
    assert "new ids" in caplog.text
