# SPDX-License-Identifier: Apache-2.0
"""What planners get of the query node, over DDS, on a map of a red and a blue box in the middle of an open floor."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")
pytest.importorskip("moveit_msgs", reason="its messages are checked")
pytest.importorskip("nav2_msgs", reason="its messages are checked")

from dataclasses import replace

from ccl_lgs_ros.srv import SemanticQuery
from geometry_msgs.msg import Pose, PoseArray, PoseStamped, TransformStamped
from moveit_msgs.msg import CollisionObject, PlanningScene
from nav2_msgs.msg import CostmapFilterInfo
from nav_msgs.msg import OccupancyGrid
from rcl_interfaces.srv import SetParameters
from ros.harness import LATCHED, STATIC_TF
from ros.small_map import BLUE_CENTRE, BOX, RED_CENTRE, STARTS, map_at, small_map, start_with_map
from ros.test_query_interface import parameter
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from ccl_lgs_ros.geometry import rigid, rotation_from_quat
from ccl_lgs_ros.grid import FREE, OCCUPIED, Grid
from ccl_lgs_ros.ros.collision_objects import moveit_messages
from ccl_lgs_ros.ros.collision_topics import CollisionTopics
from ccl_lgs_ros.ros.conversions import header_message, quat_wxyz, xyz
from ccl_lgs_ros.ros.grids import grid_message, grid_of
from ccl_lgs_ros.ros.keepout import KeepoutTopics, filter_info_message
from ccl_lgs_ros.structures import Gaussians, SemanticMap

FLOOR = (4.0, 4.0)  # metres
STANDOFF, TOLERANCE, RADIUS = 0.7, 0.3, 0.25  # metres, as the options are by default
ODOM_IN_MAP = np.array([0.5, -0.2, 0.0])
RED_ID, BLUE_ID = "ccl_lgs_red_0", "ccl_lgs_blue_1"


def open_floor() -> SemanticMap:
    """The boxes on a floor that is flat, as a mapped one is."""
    semantic_map = small_map(floor_size=FLOOR)
    tensors = semantic_map.gaussians.tensors()
    scales = tensors["log_scales"].clone()
    scales[semantic_map.levels["wp"].track_of_gaussian == 2] = torch.tensor([0.03, 0.03, 0.001]).log()
    return replace(semantic_map, gaussians=Gaussians(**{**tensors, "log_scales": scales}))


@pytest.fixture(scope="module")
def map_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return map_at(tmp_path_factory.mktemp("planners") / "map", open_floor()).path


def ask(client: Any, prompt: str, **fields: Any) -> SemanticQuery.Response:
    response = client.call(SemanticQuery, "semantic_query", STARTS, prompt=prompt, **fields)
    assert response.success, response.message
    return response


def put(client: Any, name: str, value: Any) -> None:
    response = client.call(SetParameters, "query_node/set_parameters", parameters=[parameter(name, value)])
    assert response.results[0].successful, response.results[0].reason


def latest(client: Any, kind: type, topic: str, is_right: Callable[[Any], bool] = lambda _: True) -> Any:
    """The message of a topic that comes, as soon as one is right, to who subscribes now."""
    messages = client.collect(kind, topic, LATCHED)
    return client.until(lambda: next((m for m in messages if is_right(m)), None), STARTS, f"the right {topic}")


def gap(position: np.ndarray, centre: tuple[float, float, float]) -> float:
    """Metres along the floor from a place to the near side of a box."""
    away = np.abs(position[:2] - np.array(centre[:2])) - np.array(BOX[:2]) / 2
    return float(np.linalg.norm(np.maximum(away, 0.0)))


def check_pose(pose: Pose, thing: tuple[float, float, float]) -> None:
    """A robot there is on the floor, clear of both boxes, at the standoff, and faces the thing."""
    position, turn = xyz(pose.position), rotation_from_quat(quat_wxyz(pose.orientation))
    assert abs(position[2]) < 0.03 and (np.abs(position[:2]) <= np.array(FLOOR) / 2 - RADIUS).all()
    assert min(gap(position, RED_CENTRE), gap(position, BLUE_CENTRE)) >= RADIUS
    assert STANDOFF - TOLERANCE - 0.05 <= gap(position, thing) <= STANDOFF + TOLERANCE + 0.05
    towards = (np.array(thing) - position)[:2]
    assert turn[:2, 0] @ towards / np.linalg.norm(towards) > 0.99, "its x axis points at the thing"
    assert turn[2, 2] == pytest.approx(1.0)


def test_a_late_planner_gets_where_to_drive_and_what_to_keep_out_of(client, start, map_path: Path) -> None:
    start_with_map(start, map_path=map_path, publish_occupancy=True, keepout_prompts="blue")
    response = ask(client, "red", max_approaches=3)
    (found,) = response.instances
    assert len(found.approach_poses) == 3 and "red" in response.understood
    assert np.abs(xyz(found.surface_point[0]) - np.array(RED_CENTRE)).max() < BOX[0] / 2 + 0.02
    assert list(found.keyframe_ids) == [0]
    for pose in found.approach_poses:
        check_pose(pose, RED_CENTRE)
    goal, poses = latest(client, PoseStamped, "query/goal_pose"), latest(client, PoseArray, "query/approach_poses")
    assert goal.header.frame_id == poses.header.frame_id == "map"
    assert goal.pose == poses.poses[0] and len(poses.poses) == 5
    assert xyz(goal.pose.position) == pytest.approx(xyz(found.approach_poses[0].position), abs=1e-3)
    assert not ask(client, "red", max_approaches=0).instances[0].approach_poses
    nearer = ask(client, "blue", standoff=0.5).instances[0].approach_poses[0]
    assert gap(xyz(nearer.position), BLUE_CENTRE) == pytest.approx(0.5, abs=0.15)
    check_grids(client)
    check_markers(client)


def check_grids(client: Any) -> None:
    """Where the boxes stand is occupied, the floor is free; the mask covers what its prompts name, as they change."""
    grid = grid_of(latest(client, OccupancyGrid, "occupancy"), np.eye(4))
    places = np.array([RED_CENTRE, BLUE_CENTRE, (1.0, 1.0, 0.0)])
    assert grid.at(places).tolist() == [OCCUPIED, OCCUPIED, FREE]
    mask = grid_of(latest(client, OccupancyGrid, "query/keepout"), np.eye(4))
    assert mask.at(places).tolist() == [FREE, OCCUPIED, FREE]
    info = latest(client, CostmapFilterInfo, "query/keepout_info")
    assert (info.type, info.filter_mask_topic, info.base, info.multiplier) == (0, "/query/keepout", 0.0, 1.0)
    for prompts, expected in (("red, blue", [OCCUPIED, OCCUPIED, FREE]), ("", [FREE, FREE, FREE])):
        put(client, "keepout_prompts", prompts)
        latest(
            client, OccupancyGrid, "query/keepout", lambda m, e=expected: grid_of(m, np.eye(4)).at(places).tolist() == e
        )


def check_markers(client: Any) -> None:
    """Those of the last answer replace all before; an arrow stands where its pose is."""
    markers = latest(client, MarkerArray, "query/markers").markers
    assert markers[0].action == Marker.DELETEALL and all(m.action == Marker.ADD for m in markers[1:])
    names = [(m.ns, m.id) for m in markers[1:]]
    assert len(names) == len(set(names)) and {ns for ns, _ in names} == {"boxes", "centroids", "names", "approaches"}
    (arrow,) = [m for m in markers if m.ns == "approaches"]
    assert arrow.type == Marker.ARROW
    assert gap(xyz(arrow.pose.position), BLUE_CENTRE) < STANDOFF


def test_an_arm_is_told_what_not_to_hit_but_for_what_it_shall_grasp(client, start, map_path: Path) -> None:
    start_with_map(start, map_path=map_path, collision_prompts="red, blue")
    both = latest(client, PlanningScene, "planning_scene")
    assert both.is_diff and both.robot_state.is_diff
    objects = {item.id: item for item in both.world.collision_objects}
    assert set(objects) == {RED_ID, BLUE_ID}
    red = objects[RED_ID]
    assert red.operation == CollisionObject.ADD and red.header.frame_id == "map"
    assert list(red.primitives[0].dimensions) == pytest.approx(BOX, abs=0.03)
    assert xyz(red.pose.position) == pytest.approx(RED_CENTRE, abs=0.03)
    assert red.primitive_poses == [Pose()] and red.subframe_names == ["grasp"]
    check_grasp(red)
    ask(client, "red")
    scene = latest(client, PlanningScene, "planning_scene", lambda m: len(m.world.collision_objects) == 2)
    scene = latest(client, PlanningScene, "planning_scene", lambda m: operations(m).get(RED_ID) == "remove")
    assert operations(scene) == {RED_ID: "remove", BLUE_ID: "add"}
    ask(client, "blue")
    scene = latest(client, PlanningScene, "planning_scene", lambda m: operations(m).get(RED_ID) == "add")
    assert operations(scene) == {RED_ID: "add", BLUE_ID: "remove"}
    put(client, "collision_target", "kept")
    ask(client, "blue")
    latest(client, PlanningScene, "planning_scene", lambda m: operations(m) == {RED_ID: "add", BLUE_ID: "add"})
    put(client, "collision_prompts", "")
    latest(client, PlanningScene, "planning_scene", lambda m: operations(m) == {RED_ID: "remove", BLUE_ID: "remove"})


def operations(scene: PlanningScene) -> dict[str, str]:
    names = {CollisionObject.ADD: "add", CollisionObject.REMOVE: "remove"}
    return {item.id: names[item.operation] for item in scene.world.collision_objects}


def check_grasp(thing: CollisionObject) -> None:
    """On the surface of the box, z out of it."""
    pose = thing.subframe_poses[0]
    place, outwards = xyz(pose.position), rotation_from_quat(quat_wxyz(pose.orientation))[:, 2]
    assert np.abs(np.abs(place) / (np.array(thing.primitives[0].dimensions) / 2)).max() == pytest.approx(1.0, abs=0.15)
    assert outwards @ place > 0


def test_poses_respect_the_costmap_and_the_surface_is_that_which_the_robot_sees(client, start, map_path: Path) -> None:
    start_with_map(start, map_path=map_path, costmap_topic="/costmap")
    tf = client.publisher(TFMessage, "/tf_static", STATIC_TF)
    tf.publish(
        TFMessage(transforms=[transform("odom", ODOM_IN_MAP), transform("base_link", np.array([-1.5, 0.0, 0.0]))])
    )
    costmaps = client.publisher(OccupancyGrid, "/costmap", LATCHED)
    response = ask(client, "red", max_approaches=5)
    assert "no costmap has come on /costmap" in response.message
    assert response.instances[0].surface_point[0].x < RED_CENTRE[0] - 0.05, "on the robot's side"
    costmaps.publish(costmap(lambda centers: centers[..., 1] > -0.3))  # nothing north of the boxes is free
    south = client.until(lambda: with_costmap(client), STARTS, "an answer with the costmap")
    assert south and all(pose.position.y < -0.3 - RADIUS for pose in south)
    for pose in south:
        check_pose(pose, RED_CENTRE)
    costmaps.publish(costmap(lambda centers: centers[..., 0] < 9.0))  # nothing is free
    response = client.until(lambda: without_poses(client), STARTS, "an answer without poses")
    assert response.success and "no pose" in response.message
    assert not latest(client, PoseArray, "query/approach_poses").poses


def transform(child: str, place: np.ndarray) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = "map"
    message.transform.translation.x, message.transform.translation.y = float(place[0]), float(place[1])
    return message


def costmap(is_lethal: Callable[[np.ndarray], np.ndarray]) -> OccupancyGrid:
    """As nav2 has it: in odom, five metres wide, lethal where the places [..., 3] in the map are so."""
    in_odom = rigid(np.eye(3), np.array([-2.5, -2.5, 0.0]) - ODOM_IN_MAP)
    cells = np.zeros((50, 50), np.int8)
    in_map = Grid(cells=cells, resolution=0.1, world_from_grid=rigid(np.eye(3), np.array([-2.5, -2.5, 0.0])))
    cells = np.where(is_lethal(in_map.centers()), OCCUPIED, FREE).astype(np.int8)
    grid = Grid(cells=cells, resolution=0.1, world_from_grid=in_odom)
    return grid_message(grid, header_message(0, "odom"))


def with_costmap(client: Any) -> list[Pose]:
    response = ask(client, "red", max_approaches=5)
    return [] if "no costmap" in response.message else response.instances[0].approach_poses


def without_poses(client: Any) -> SemanticQuery.Response | None:
    response = ask(client, "red")
    return None if response.instances[0].approach_poses else response


def test_left_is_left_of_whoever_asks(client, start, map_path: Path) -> None:
    start_with_map(start, map_path=map_path)
    from_south, from_north = Pose(), Pose()
    from_south.position.y, from_north.position.y = -1.5, 1.5
    from_south.orientation.z = from_south.orientation.w = 0.5**0.5  # facing +y
    from_north.orientation.z, from_north.orientation.w = -(0.5**0.5), 0.5**0.5
    for viewer, count in ((from_south, 1), (from_north, 0)):
        assert len(ask(client, "red to the left of blue", seen_from=[viewer]).instances) == count
    response = client.call(SemanticQuery, "semantic_query", STARTS, prompt="red to the left of blue", plain=True)
    assert "left" in response.unknown_words


def test_without_the_messages_of_nav2_and_moveit_nothing_else_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nav2_msgs", "nav2_msgs.msg", "moveit_msgs", "moveit_msgs.msg"):
        monkeypatch.setitem(sys.modules, name, None)
    assert filter_info_message() is None and moveit_messages() is None
    sent: dict[str, list] = {}

    def create_publisher(_: type, topic: str, **__: object) -> SimpleNamespace:
        return SimpleNamespace(publish=sent.setdefault(topic, []).append, topic_name=topic)

    clock = SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=0))
    node: Any = SimpleNamespace(create_publisher=create_publisher, get_clock=lambda: clock)
    KeepoutTopics(node).publish(Grid(cells=np.zeros((1, 1), np.int8), resolution=1.0, world_from_grid=np.eye(4)), "map")
    assert not CollisionTopics(node).is_possible
    assert {topic: len(messages) for topic, messages in sent.items()} == {"query/keepout": 1}


def test_grids_come_back_as_they_were_sent() -> None:
    cells = np.arange(-1, 5, dtype=np.int8).reshape(2, 3)
    turn = rotation_from_quat(np.array([0.5**0.5, 0.0, 0.0, 0.5**0.5]))
    grid = Grid(cells=cells, resolution=0.25, world_from_grid=rigid(turn, np.array([1.0, 2.0, 0.5])))
    message = grid_message(grid, header_message(7, "map"))
    assert (message.info.width, message.info.height) == (3, 2)
    moved = rigid(np.eye(3), np.array([10.0, 0.0, 0.0]))
    back = grid_of(message, moved)
    assert (back.cells == cells).all() and back.resolution == 0.25
    assert back.world_from_grid == pytest.approx(moved @ grid.world_from_grid)
    message.data = message.data[:-1]
    with pytest.raises(ValueError, match="3x2 cells came with 5"):
        grid_of(message, moved)
