# SPDX-License-Identifier: Apache-2.0
"""What planners are told of mapped rooms, held against the rooms themselves."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from mapped_rooms import OF_ONE_COLOUR, MappedRoom
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.cli import main
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.grid import FREE, OCCUPIED, UNKNOWN
from ccl_lgs_ros.navigating import Surroundings, find_approaches, surroundings
from ccl_lgs_ros.navigation.approach import Approach, Approaches, distance_to_outline
from ccl_lgs_ros.storage.grid_files import read_grid
from ccl_lgs_ros.synthetic.outlines import outline_of
from ccl_lgs_ros.synthetic.raycaster import first_shape
from ccl_lgs_ros.synthetic.room import Room, RoomObject

CONFIG = MapConfig()
OPTIONS = CONFIG.navigation
SAME_PLACE = 0.15  # metres between the centroids of an answer and of the object that it is
FACING = np.radians(10.0)  # of nine poses in ten; the middle of a thing is known as well as its box is
OFF = 0.25  # metres by which the distance to a thing may be wrong, as its box is, where a part of it was never seen
USUALLY_OFF = 0.03  # metres, in the median
SKIN = 0.01  # metres by which the middle of a free cell may be inside something: the noise of the depth camera


class Planned:
    """A room, what its map says of the floor, and where to stand for each of its objects that is found."""

    def __init__(self, mapped: MappedRoom) -> None:
        self.mapped, self.room = mapped, mapped.scene.room
        self.around: Surroundings = surroundings(mapped.semantic_map, CONFIG)
        self.stands: list[tuple[RoomObject, Instance, Approaches]] = list(self._stands())
        self.poses = [(item, pose) for item, _, stand in self.stands for pose in stand.poses]

    def _stands(self) -> Iterator[tuple[RoomObject, Instance, Approaches]]:
        for category in self.room.categories:
            for found in query_map(self.mapped.semantic_map, category, CONFIG).instances:
                for item in self.room.objects:
                    if item.category == category and np.linalg.norm(item.centroid - found.centroid) < SAME_PLACE:
                        yield item, found, find_approaches(found, self.around, CONFIG)


@pytest.fixture(scope="module", params=OF_ONE_COLOUR)
def planned(request: pytest.FixtureRequest, mapped_room: Callable[[str], MappedRoom]) -> Planned:
    return Planned(mapped_room(request.param))


def outlines(room: Room) -> list[NDArray[np.float64]]:
    """The true outlines [n, 2] of all that a robot would run into, part by part."""
    groups = [(piece.parts, pose) for piece, pose in room.furniture]
    groups += [(item.parts, item.world_from_thing) for item in room.objects]
    found = []
    for parts, pose in (*groups, *room.decoration):
        for part in parts:
            heights = part.corners[:, 2] + pose[2, 3]
            if heights.max() > OPTIONS.min_height and heights.min() < OPTIONS.robot_height:
                found.append(outline_of([part]) @ pose[:2, :2].T + pose[:2, 3])
    return found


def depth_inside(room: Room, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """[n] metres that points [n, 2] are inside something or beyond the walls; negative: so far off everything."""
    deepest = (np.abs(points) - room.size[:2] / 2).max(1)
    for outline in outlines(room):
        edge = np.roll(outline, -1, axis=0) - outline
        outward = np.stack([edge[:, 1], -edge[:, 0]], axis=1) / np.linalg.norm(edge, axis=1, keepdims=True)
        is_inside = ((points[:, None] - outline) * outward).sum(-1)
        off = distance_to_outline(points, outline)
        deepest = np.maximum(deepest, np.where(off > 0, -off, -is_inside.max(1)))
    return deepest


def test_no_free_cell_is_inside_anything_and_most_of_the_free_floor_is_known(
    planned: Planned, record_property: Callable[[str, object], None]
) -> None:
    grid = planned.around.grid
    inside = depth_inside(planned.room, grid.centers().reshape(-1, 3)[:, :2]).reshape(grid.cells.shape)
    assert planned.around.floor == pytest.approx(0.0, abs=0.02)
    assert inside[grid.cells == FREE].max() <= SKIN
    touches = inside > -grid.resolution / 2  # cells that anything reaches into
    known = grid.cells != UNKNOWN
    occupied = grid.cells == OCCUPIED
    overlap = (occupied & touches).sum() / ((occupied | touches) & known).sum()
    is_floor = inside < -OPTIONS.robot_radius
    seen_free = ((grid.cells == FREE) & is_floor).sum() / is_floor.sum()
    record_property("figure", f"IoU of occupied cells {overlap:.2f}, {100 * seen_free:.0f} % of open floor free")
    assert overlap >= 0.75  # a wall drawn two cells thick instead of one makes 0.8
    assert seen_free >= 0.8
    assert (occupied & (inside < -3 * grid.resolution)).sum() <= 0.01 * known.sum()


def test_poses_are_found_for_nearly_all_that_is_found(planned: Planned) -> None:
    assert len({item.id for item, _, _ in planned.stands}) >= 0.7 * len(planned.room.objects)
    for item, _, stand in planned.stands:
        print(item.category, stand.message, dict(stand.refused))
    assert sum(bool(stand.poses) for _, _, stand in planned.stands) >= 0.9 * len(planned.stands)


def test_the_robot_stands_free_of_everything_at_every_pose(
    planned: Planned, record_property: Callable[[str, object], None]
) -> None:
    places = np.array([pose.world_from_base[:2, 3] for _, pose in planned.poses])
    gap = -depth_inside(planned.room, places)
    spare = 100 * (gap.min() - OPTIONS.robot_radius)
    record_property("figure", f"{len(places)} poses, the robot {spare:.0f} cm off everything or more")
    assert (gap >= OPTIONS.robot_radius).all()
    assert (gap >= np.array([pose.clearance for _, pose in planned.poses]) - SKIN).all()


def test_the_robot_faces_the_thing_at_the_standoff(
    planned: Planned, record_property: Callable[[str, object], None]
) -> None:
    turns, distances = [], []
    for item, pose in planned.poses:
        place, forward = pose.world_from_base[:2, 3], pose.world_from_base[:2, 0]
        towards = item.box[0][:2] - place
        turns.append(np.arccos(np.clip(forward @ towards / np.linalg.norm(towards), -1, 1)))
        distances.append(float(distance_to_outline(place[None], item.outline)[0]))
    off = np.abs(np.array(distances) - [pose.distance for _, pose in planned.poses])
    degrees = np.degrees(turns)
    record_property(
        "figure",
        f"{len(off)} poses: facing within {degrees.max():.1f} degrees, the distance {100 * np.median(off):.0f} cm "
        f"off in the median, {100 * off.max():.0f} cm at most",
    )
    assert np.quantile(turns, 0.9) <= FACING and max(turns) <= 2 * FACING
    assert np.median(off) <= USUALLY_OFF and off.max() <= OFF
    assert (np.abs(np.array(distances) - OPTIONS.standoff) <= OPTIONS.tolerance + OFF).all()


def test_the_robot_sees_the_thing_from_every_pose(planned: Planned) -> None:
    assert all(sees(planned.room, item, pose) for item, pose in planned.poses)


def test_the_commands_say_the_same(
    mapped_room: Callable[[str], MappedRoom], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapped = mapped_room("plain")
    wanted = mapped.truth.objects[0]
    prompt, folder = wanted.category, str(mapped.map)
    picture = tmp_path / "plan.png"
    assert main(["approach", folder, prompt, "--json", "--picture", str(picture)]) == 0
    told = json.loads(capsys.readouterr().out)
    best = told["instances"][0]["approaches"][0]
    assert set(best) == {"position", "quaternion_xyzw", "yaw", "distance", "clearance", "score"}
    plan = cv2.imread(str(picture))
    assert plan is not None and min(plan.shape[:2]) > 300 and len(np.unique(plan.reshape(-1, 3), axis=0)) > 20
    assert main(["approach", folder, prompt]) == 0
    assert f"{best['position'][0]:7.3f} {best['position'][1]:7.3f}" in capsys.readouterr().out
    assert main(["export", folder, "--grid", str(tmp_path / "room.yaml")]) == 0
    grid = read_grid(tmp_path / "room.yaml")
    assert grid.at(np.array([best["position"]])).tolist() == [FREE]
    assert main(["export", folder, "--grid", str(tmp_path / "keep_out.yaml"), "--keep-out", prompt]) == 0
    mask = read_grid(tmp_path / "keep_out.yaml")
    assert mask.at(np.array([wanted.box.center])).tolist() == [OCCUPIED]
    assert main(["approach", folder, prompt, "--costmap", str(tmp_path / "room.yaml"), "--near", "0", "0"]) == 0
    assert main(["approach", folder, prompt, "--near", "1"]) == 2


def sees(room: Room, item: RoomObject, pose: Approach) -> bool:
    """Whether any of an object's surface shows to the robot's sensor."""
    eye = pose.world_from_base[:3, 3] + [0.0, 0.0, OPTIONS.sensor_height]
    shape = first_shape(room.shapes, eye, item.surface[::7])
    return any(room.paints[index].object_id == item.id for index in shape)
