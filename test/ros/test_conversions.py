# SPDX-License-Identifier: Apache-2.0
"""Between messages and our nouns: axes, quaternions, pixel centres, bytes."""

import dataclasses
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

import torch
from geometry_msgs.msg import Pose, Quaternion
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CompressedImage, PointField
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from ccl_lgs_ros.answers import Box, Instance
from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import rigid, transform_points
from ccl_lgs_ros.ingest.depth import decode_depth
from ccl_lgs_ros.ingest.images import decode_colour
from ccl_lgs_ros.ingest.messages import camera_info_record, colour_record, depth_record, pose_record
from ccl_lgs_ros.ros.answers import answer_cloud, answer_markers, gaussian_indices, instance_messages
from ccl_lgs_ros.ros.clouds import cloud_message, columns_of, packed_rgb
from ccl_lgs_ros.ros.conversions import (
    camera_info_message,
    camera_of,
    header_message,
    image_message,
    keyframe_message,
    path_message,
    pose_message,
    quat_wxyz,
    quaternion_message,
    transform_of,
)
from ccl_lgs_ros.structures import Gaussians

CAMERA = Camera(width=64, height=48, fx=50.0, fy=51.0, cx=32.5, cy=24.0)
HEADER = Header(frame_id="map")
SHOWN = 1e-4  # metres; to which answers are rounded
SH_BAND_0 = 0.28209479177387814


def some_pose(seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return rigid(Rotation.random(random_state=seed).as_matrix(), generator.normal(size=3))


def test_a_quaternion_is_xyzw_in_messages_and_wxyz_inside() -> None:
    message = quaternion_message(np.array([0.1, 0.2, 0.3, 0.4]))
    assert (message.w, message.x, message.y, message.z) == (0.1, 0.2, 0.3, 0.4)
    assert quat_wxyz(message).tolist() == [0.1, 0.2, 0.3, 0.4]


def test_a_quarter_turn_about_z_is_what_ros_says_it_is() -> None:
    turn = rigid(np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.zeros(3))
    message = pose_message(turn).orientation
    half = np.sqrt(0.5)
    assert [message.x, message.y, message.z, message.w] == pytest.approx([0.0, 0.0, half, half])


@pytest.mark.parametrize("seed", range(5))
def test_a_pose_survives_the_way_there_and_back(seed: int) -> None:
    pose = some_pose(seed)
    assert transform_of(pose_message(pose)) == pytest.approx(pose)


def test_a_pose_without_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="quat"):
        transform_of(Pose(orientation=Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)))


def test_the_centre_of_the_first_pixel_is_zero_in_ros_and_a_half_inside() -> None:
    message = camera_info_message(CAMERA, HEADER)
    assert (message.k[2], message.k[5]) == (CAMERA.cx - 0.5, CAMERA.cy - 0.5)
    assert (message.p[2], message.p[6]) == (CAMERA.cx - 0.5, CAMERA.cy - 0.5)
    assert camera_of(message) == CAMERA
    message.p = [0.0] * 12
    assert camera_of(message) == CAMERA
    assert camera_info_record(message).image_size == (CAMERA.width, CAMERA.height)


def test_a_camera_without_intrinsics_is_refused() -> None:
    message = camera_info_message(CAMERA, HEADER)
    message.k, message.p = [0.0] * 9, [0.0] * 12
    with pytest.raises(ValueError, match="fx"):
        camera_of(message)


def test_images_are_read_as_they_were_written() -> None:
    generator = np.random.default_rng(0)
    color = generator.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    assert (decode_colour(colour_record(image_message(color, HEADER))) == color).all()
    depth = generator.uniform(0.5, 4.0, (6, 5)).astype(np.float32)
    depth[0] = np.nan
    read = decode_depth(depth_record(image_message(depth, HEADER)), depth_scale=0.0)
    assert np.array_equal(read, depth, equal_nan=True)
    assert image_message((color[..., 0] > 9).astype(np.uint8) * 255, HEADER).encoding == "mono8"
    with pytest.raises(ValueError, match="float64"):
        image_message(depth.astype(np.float64), HEADER)


def test_a_view_into_an_image_is_written_as_it_looks() -> None:
    color = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)[1:5, 2:6]
    assert (decode_colour(colour_record(image_message(color, HEADER))) == color).all()


def test_a_compressed_message_keeps_its_format_and_its_topic() -> None:
    message = CompressedImage(header=header_message(5, "/eye"), format="jpeg", data=b"\xff\xd8")
    record = colour_record(message, "/camera/image_rect/compressed")
    assert (record.is_compressed, record.format, record.frame_id, record.stamp_ns) == (True, "jpeg", "eye", 5)
    assert record.is_rectified and bytes(record.data) == b"\xff\xd8"


def test_a_path_holds_every_pose_with_its_stamp() -> None:
    poses = [(10**9 + i, some_pose(i)) for i in range(3)]
    path = path_message(poses, HEADER)
    for (stamp_ns, pose), message in zip(poses, path.poses, strict=True):
        read = pose_record(message)
        assert read.stamp_ns == stamp_ns and read.frame_id == "map"
        assert read.translation == pytest.approx(pose[:3, 3])


def test_a_keyframe_tells_how_far_it_is_from_the_last() -> None:
    depth = np.full((48, 64), 2.0, np.float32)
    depth[:24] = np.nan
    image, before = np.zeros((48, 64, 3), np.uint8), some_pose()
    turn = rigid(Rotation.from_rotvec([0.0, 0.3, 0.0]).as_matrix(), np.array([0.0, 0.0, 0.4]))
    keyframe = Keyframe(
        id=3, stamp_ns=12, camera=CAMERA, world_from_camera=before @ turn, image=image, depth=depth, sharpness=7.0
    )
    where = {"map_frame": "map", "camera_frame": "eye", "map_path": "/m", "uri": "keyframes/images/3.jpg"}
    message = keyframe_message(keyframe, before, **where)
    assert (message.translation, message.rotation) == pytest.approx((0.4, 0.3))
    assert (message.id, message.header.frame_id, message.has_depth) == (3, "eye", True)
    assert message.depth_valid_ratio == 0.5
    first = keyframe_message(keyframe, None, **where)
    assert (first.translation, first.rotation) == (0.0, 0.0)


def test_a_cloud_is_read_as_it_was_written_and_fits_rviz() -> None:
    generator = np.random.default_rng(0)
    columns = {name: generator.normal(size=7).astype(np.float32) for name in ("x", "y", "z", "rgb", "score")}
    columns["instance"] = np.arange(7, dtype=np.uint32)
    columns["level"] = np.arange(7, dtype=np.uint8)
    message = cloud_message(columns, HEADER)
    assert (message.height, message.width, message.is_bigendian, message.is_dense) == (1, 7, False, True)
    assert len(message.data) == message.row_step == 7 * message.point_step
    assert [(f.offset, f.datatype) for f in message.fields[:3]] == [(o, PointField.FLOAT32) for o in (0, 4, 8)]
    read = columns_of(message)
    assert list(read) == list(columns)
    for name, column in columns.items():
        assert (read[name] == column).all(), name


def test_a_cloud_with_a_hole_says_so_and_an_empty_one_is_one() -> None:
    x = np.array([0.0, np.nan], np.float32)
    assert not cloud_message({"x": x, "y": x, "z": x}, HEADER).is_dense
    empty = cloud_message({name: np.zeros(0, np.float32) for name in ("x", "y", "z")}, HEADER)
    assert (empty.width, len(empty.data)) == (0, 0)


def test_a_large_cloud_is_written_without_a_loop() -> None:
    columns = {name: np.zeros(200_000, np.float32) for name in ("x", "y", "z", "rgb", "score")}
    began = time.monotonic()
    cloud_message(columns, HEADER)
    assert time.monotonic() - began < 1.0  # a list of numbers takes several seconds


def test_rgb_is_packed_as_rviz_unpacks_it() -> None:
    packed = packed_rgb(np.array([[1.0, 0.5, 0.0], [2.0, -1.0, 1.0]])).view(np.uint32)
    assert [hex(value) for value in packed] == ["0xff8000", "0xff00ff"]


def instance(id: int, ids: list[int], center: tuple[float, float, float]) -> Instance:
    point = np.array(center)
    box = Box(center=point, rotation=np.eye(3), size=np.array([0.1, 0.2, 0.3]))
    return Instance(
        id=id, level="wp", score=0.9 - id / 10, centroid=point, box=box, gaussian_ids=torch.tensor(ids), entry=4
    )


def gaussians(count: int) -> Gaussians:
    means = torch.arange(3.0 * count).reshape(count, 3)
    sh = torch.full((count, 1, 3), 0.5 / SH_BAND_0)  # white
    quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1)
    return Gaussians(
        means=means, quats=quats, log_scales=torch.zeros(count, 3), logit_opacities=torch.zeros(count), sh=sh
    )


def test_each_instance_finds_its_gaussians_in_the_list() -> None:
    found = [instance(0, [5, 1], (0, 0, 1)), instance(1, [2, 3, 4], (1, 0, 0))]
    messages, indices = instance_messages(found, np.eye(4)), gaussian_indices(found)
    for one, message in zip(found, messages, strict=True):
        rows = indices[message.index_offset : message.index_offset + message.num_gaussians]
        assert rows.tolist() == one.gaussian_ids.tolist()
    assert gaussian_indices([]).tolist() == []


def test_the_uncertainty_is_told_where_it_is_known() -> None:
    unknown = instance(0, [0], (0, 0, 1))
    messages = instance_messages([unknown, dataclasses.replace(unknown, uncertainty=0.25)], np.eye(4))
    assert [list(message.uncertainty) for message in messages] == [[], [0.25]]


def test_an_answer_in_another_frame_is_carried_there_as_a_whole() -> None:
    found, answer_from_world = [instance(0, [0, 2], (0.5, 1.0, 1.5))], some_pose()
    message = instance_messages(found, answer_from_world)[0]
    expected = transform_points(answer_from_world, found[0].centroid)
    assert [message.centroid.x, message.centroid.y, message.centroid.z] == pytest.approx(expected, abs=SHOWN)
    expected = answer_from_world @ rigid(np.eye(3), found[0].box.center)
    assert transform_of(message.box_pose) == pytest.approx(expected, abs=2 * SHOWN)
    cloud = columns_of(answer_cloud(found, gaussians(4), answer_from_world, HEADER))
    points = np.stack([cloud["x"], cloud["y"], cloud["z"]], axis=1)
    assert points == pytest.approx(transform_points(answer_from_world, gaussians(4).means[[0, 2]].numpy()), abs=1e-5)
    assert cloud["id"].tolist() == [0, 2] and cloud["instance"].tolist() == [0, 0]
    assert cloud["rgb"].view(np.uint32).tolist() == [0xFFFFFF, 0xFFFFFF]


def test_markers_replace_those_of_the_last_answer() -> None:
    messages = instance_messages([instance(0, [0], (0, 0, 1)), instance(1, [1], (1, 0, 0))], np.eye(4))
    markers = answer_markers(messages, "red mug", HEADER).markers
    assert markers[0].action == Marker.DELETEALL
    assert [m.type for m in markers[1:4]] == [Marker.CUBE, Marker.SPHERE, Marker.TEXT_VIEW_FACING]
    assert len({(m.ns, m.id) for m in markers[1:]}) == len(markers) - 1 == 6
    assert markers[3].text == "red mug 0: 0.90"
    assert [m.action for m in answer_markers([], "x", HEADER).markers] == [Marker.DELETEALL]
