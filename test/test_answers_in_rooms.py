# SPDX-License-Identifier: Apache-2.0
"""What planners are told, held against exact geometry in mapped rooms, whose twins touch in two of three."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from answers import BARS, PART_IOU, approach_poses, part_ious, precisions, relations
from mapped_rooms import FRAMES, OF_ONE_COLOUR, MappedRoom
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.asking import create_encoder, query_map
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.evaluation.instances import owners
from ccl_lgs_ros.protocols import Encoder
from ccl_lgs_ros.synthetic.questions import questions
from ccl_lgs_ros.synthetic.surfaces import TrueSurface

CONFIG = MapConfig()
PER_SORT = 4


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A mapped room, and whose each Gaussian is."""

    room: MappedRoom
    encoder: Encoder
    owner: NDArray[np.int64]  # [N]

    def ask(self, text: str, world_from_viewer: NDArray[np.float64] | None = None) -> Answer:
        return query_map(self.room.semantic_map, text, CONFIG, self.encoder, seen_from=world_from_viewer)


@pytest.fixture(scope="module", params=OF_ONE_COLOUR)
def asked(request: pytest.FixtureRequest, mapped_room: Callable[[str], MappedRoom]) -> Asked:
    return asked_in(mapped_room(request.param))


def asked_in(room: MappedRoom) -> Asked:
    surface = room.truth.surface
    assert surface is not None
    owner = owners(room.semantic_map.gaussians.means.numpy(), surface.points, surface.objects)
    return Asked(room=room, encoder=create_encoder(room.semantic_map, CONFIG), owner=owner)


def test_things_are_told_apart(asked: Asked, record_property: Callable[[str, object], None]) -> None:
    found = precisions(asked.room.scene.room, True, asked.ask, asked.owner)
    record_property("figure", f"{asked.room.name}: AP50 {np.mean(list(found.values())):.2f} over {len(found)} names")
    assert np.mean(list(found.values())) >= BARS["ap50"], found


def test_relations_and_choices_mean_what_they_say(
    mapped_room: Callable[[str], MappedRoom], record_property: Callable[[str, object], None]
) -> None:
    found, wrong = [], []
    for name in OF_ONE_COLOUR:
        room = asked_in(mapped_room(name))
        here = relations(questions(room.room.scene, 0, by_colour=True, per_sort=PER_SORT), room.ask, room.owner)
        missed = [question for question in here if question["meant"] != question["found"]]
        record_property("figure", f"{name}: {len(here) - len(missed)} of {len(here)} relations and choices right")
        found, wrong = [*found, *here], [*wrong, *missed]
    assert len(found) >= 20
    assert len(wrong) <= (1 - BARS["relations"]) * len(found), wrong


def test_every_proposed_pose_is_free_near_and_faces_the_thing(
    asked: Asked, record_property: Callable[[str, object], None]
) -> None:
    found = approach_poses(asked.room.scene.room, asked.room.semantic_map, CONFIG, asked.ask)
    record_property("figure", f"{asked.room.name}: {sum(p['is_valid'] for p in found)} of {len(found)} poses valid")
    assert len(found) >= 10
    assert [pose for pose in found if not pose["is_valid"]] == []


def test_parts_are_found_inside_their_things(
    mapped_room: Callable[[str], MappedRoom], record_property: Callable[[str, object], None]
) -> None:
    room = mapped_room("two-tone")
    frames, surface = list(room.scene.frames(FRAMES)), TrueSurface(room.scene.room)
    for frame in frames[::2]:
        surface.add(frame)
    asked = questions(room.scene, 0, by_colour=True, per_sort=99)
    means = room.semantic_map.gaussians.means.numpy()
    found = part_ious(room.scene.room, frames, asked, asked_in(room).ask, means, surface)
    right = [part for part in found if part["iou"] > PART_IOU]
    record_property("figure", f"two-tone: {len(right)} of {len(found)} parts right")
    assert len(found) >= 4
    assert len(right) >= BARS["parts"] * len(found), found
