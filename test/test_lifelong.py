# SPDX-License-Identifier: Apache-2.0
"""A map that is driven through again: it goes on where it was, and follows what changed and what was corrected."""

from collections.abc import Callable
from pathlib import Path

import changing_room
import numpy as np
import pytest
import torch
from changing_room import CONFIG, NUM_KEYFRAMES, answers, errors, first_drive

from ccl_lgs_ros.config import updated
from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import SemanticMap

GONE, MOVED = "lime green chair", "turquoise ball"
MAX_RATIO = 1.5  # of the error after a loop closure to that of a drive without drift


def session(path: Path) -> MapSession:
    return MapSession(CONFIG, MapDirectory.open_or_create(path))


def driven(path: Path, keyframes: tuple | list) -> MapSession:
    new = session(path)
    for keyframe in keyframes:
        new.add(keyframe)
    return new


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SemanticMap]:
    """A map of the room, and what it said."""
    path = tmp_path_factory.mktemp("first") / "map"
    mapped = driven(path, first_drive())
    published = mapped.snapshot()
    mapped.keep()
    return path, published


@pytest.fixture(scope="module")
def second(first: tuple[Path, SemanticMap]) -> tuple[MapSession, list]:
    """The session that went on from there, through the changed room."""
    keyframes = [*first_drive(), *changing_room.drive(changing_room.changed(GONE, MOVED), NUM_KEYFRAMES)]
    again = session(first[0])
    assert again.resume(keyframes) and again.num_added == NUM_KEYFRAMES
    again.catch_up(keyframes)
    return again, keyframes


def test_what_stands_is_looked_through_by_nobody(first: tuple[Path, SemanticMap]) -> None:
    again = session(first[0])
    assert again.resume(first_drive())
    assert len(again.geometry.ghosts) < 0.001 * len(again.gaussians)


def test_a_session_that_goes_on_knows_what_the_first_knew(first: tuple[Path, SemanticMap]) -> None:
    path, published = first
    again = session(path)
    assert again.resume(first_drive())
    same = again.snapshot()
    assert torch.equal(same.gaussians.means, published.gaussians.means)
    for name, level in published.levels.items():
        assert torch.equal(same.levels[name].track_of_gaussian, level.track_of_gaussian)


def test_other_options_begin_anew(first: tuple[Path, SemanticMap]) -> None:
    other = MapSession(updated(CONFIG, {"field.slots": 4}), MapDirectory.open(first[0]))
    assert not other.resume(first_drive()) and other.num_added == 0
    assert not session(first[0]).resume(first_drive()[:-1])


def assert_follows(changed: SemanticMap, record_property: Callable[[str, object], None], when: str) -> None:
    assert not answers(changed, GONE)
    room = changing_room.changed(GONE, MOVED).room
    (place,) = answers(changed, MOVED)
    item = next(item for item in room.objects if item.category == MOVED)
    error = float(np.linalg.norm(place - item.centroid))
    record_property("figure", f"{when}: what was removed is not found, what moved is {100 * error:.0f} cm off")
    assert error < 0.2
    assert np.isfinite(errors(changed, room)).all()


def test_what_was_removed_is_not_found_and_what_moved_is_where_it_is(
    second: tuple[MapSession, list], record_property: Callable[[str, object], None]
) -> None:
    assert_follows(second[0].snapshot(), record_property, "live")


def test_a_refine_believes_the_later_keyframes(
    second: tuple[MapSession, list], record_property: Callable[[str, object], None]
) -> None:
    again, keyframes = second
    again.refine(keyframes)
    assert_follows(again.snapshot(), record_property, "refined")


def test_row_30_a_loop_closure_moves_the_map_along(
    first: tuple[Path, SemanticMap], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    truth, room = first_drive(), changing_room.scene().room
    undisturbed = errors(first[1], room).mean()
    lost = driven(tmp_path / "map", changing_room.drifted(truth))
    drifted = errors(lost.snapshot(), room)
    assert lost.correct(truth, [keyframe.world_from_camera for keyframe in truth], 1)
    corrected = errors(lost.snapshot(), room).mean()
    record_property(
        "figure",
        f"0.5 m and 10 degrees off: mean error {100 * drifted[np.isfinite(drifted)].mean():.0f} cm, "
        f"{(~np.isfinite(drifted)).sum()} of {len(drifted)} not found; corrected {100 * corrected:.1f} cm, "
        f"without drift {100 * undisturbed:.1f} cm",
    )
    assert corrected < MAX_RATIO * undisturbed
    assert not lost.correct(truth, [keyframe.world_from_camera for keyframe in truth], 1)


def test_a_correction_that_is_broken_off_changes_nothing(tmp_path: Path) -> None:
    truth = first_drive()[:6]
    lost = driven(tmp_path / "map", changing_room.drifted(truth))
    before, count = lost.gaussians.means.clone(), len(lost.gaussians)

    def stop(stage: str, done: int, total: int, **figures: float) -> None:
        if stage == "corrections" and done == 3:
            raise Cancelled

    lost.progress = stop
    poses = [keyframe.world_from_camera for keyframe in truth]
    with pytest.raises(Cancelled):
        lost.correct(truth, poses, 1)
    assert len(lost.gaussians) == count and torch.equal(lost.gaussians.means, before) and lost.revision == 0
    lost.progress = lambda *_, **__: None
    assert lost.correct(truth, poses, 1) and lost.revision == 1
