# SPDX-License-Identifier: Apache-2.0
"""Point clouds become the depth of images that have none: decoded, moved to the camera, projected."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from ros_bags import T, header, messages_of, write_bag

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.capture import capture_bag
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import BagError, DecodeError
from ccl_lgs_ros.ingest.clouds import cloud_depth, decode_cloud
from ccl_lgs_ros.ingest.messages import cloud_record
from ccl_lgs_ros.ingest.records import CameraInfoRecord, CloudField, CloudRecord, ColourRecord, TransformRecord

F4, F8, U1 = 7, 8, 2
POINTS = np.array([[1.0, 2.0, 3.0], [-4.0, 5.5, 6.25]])
CAMERA = Camera(width=8, height=6, fx=4.0, fy=4.0, cx=4.0, cy=3.0)
SECOND = 1_000_000_000


def cloud(points: NDArray[Any] = POINTS, *, kind: str = "<f4", padding: int = 0, **changes: Any) -> CloudRecord:
    """A cloud of x, y, z one after the other, with some bytes of something else behind each."""
    size = np.dtype(kind).itemsize
    rows = np.zeros((len(points), 3 * size + padding), np.uint8)
    rows[:, : 3 * size] = np.ascontiguousarray(points.astype(kind)).view(np.uint8).reshape(len(points), 3 * size)
    rows[:, 3 * size :] = 0xEE
    fields = tuple(CloudField(name=n, offset=i * size, datatype=F4 if size == 4 else F8) for i, n in enumerate("xyz"))
    made = CloudRecord(
        stamp_ns=SECOND,
        frame_id="lidar",
        data=rows.tobytes(),
        fields=fields,
        width=len(points),
        point_step=rows.shape[1],
        row_step=rows.size,
        is_bigendian=kind[0] == ">",
    )
    return replace(made, **changes)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_points_are_read_in_either_byte_order_and_size_whatever_lies_behind_them(kind: str, padding: int) -> None:
    np.testing.assert_array_equal(decode_cloud(cloud(kind=kind, padding=padding)), POINTS)


def test_rows_may_be_padded_and_fields_may_stand_in_any_order() -> None:
    # Two rows of one point; z before y before x, a byte of intensity first, three bytes behind each row.
    layout = np.dtype({"names": ["i", "z", "y", "x"], "formats": ["u1", "<f4", "<f4", "<f4"], "offsets": [0, 1, 5, 9]})
    rows = np.zeros((2, 16), np.uint8)
    for row, (x, y, z) in zip(rows, POINTS, strict=True):
        row[:13] = np.frombuffer(np.array((7, z, y, x), layout).tobytes(), np.uint8)
    fields = [CloudField(name="i", offset=0, datatype=U1)]
    fields += [CloudField(name=n, offset=o, datatype=F4) for n, o in (("z", 1), ("y", 5), ("x", 9))]
    record = cloud(data=rows.tobytes(), fields=tuple(fields), width=1, height=2, point_step=13, row_step=16)
    np.testing.assert_array_equal(decode_cloud(record), POINTS)


def test_points_that_are_not_finite_are_left_out() -> None:
    points = np.vstack([POINTS, [[np.nan, 0, 1], [0, np.inf, 1], [0, 0, -np.inf]]])
    np.testing.assert_array_equal(decode_cloud(cloud(points)), POINTS)
    assert decode_cloud(cloud(np.zeros((0, 3)))).shape == (0, 3)


def test_what_is_no_cloud_of_points_is_refused_in_a_sentence() -> None:
    good = cloud()
    with pytest.raises(DecodeError, match=r"fields x, y, z, got x, y$"):
        decode_cloud(replace(good, fields=good.fields[:2]))
    with pytest.raises(DecodeError, match="field x of a cloud as one f4 or f8, got 1 of u1"):
        decode_cloud(replace(good, fields=(CloudField(name="x", offset=0, datatype=U1), *good.fields[1:])))
    with pytest.raises(DecodeError, match=r"expected 24 bytes of cloud .* got 20"):
        decode_cloud(replace(good, data=bytes(good.data)[:20]))
    with pytest.raises(DecodeError, match="at least 12 bytes, got a point_step of 8"):
        decode_cloud(replace(good, point_step=8))
    with pytest.raises(DecodeError, match="expected 24 bytes"):
        decode_cloud(replace(good, row_step=12))


def test_the_nearest_point_of_a_pixel_is_its_depth() -> None:
    # f = 4, c = (4, 3): (0.1, 0.1, 2) falls into pixel (4, 3), and so does (0.2, 0.2, 4) behind it.
    depth = cloud_depth(np.array([[0.2, 0.2, 4.0], [0.1, 0.1, 2.0], [0.0, 0.0, -1.0], [9.0, 0.0, 1.0]]), CAMERA)
    assert depth[3, 4] == 2.0
    assert np.isfinite(depth).sum() == 1


def test_points_that_shine_through_a_sparse_surface_are_left_out() -> None:
    camera = Camera(width=80, height=60, fx=80.0, fy=80.0, cx=40.0, cy=30.0)
    v, u = np.mgrid[0:60:4, 0:80:4].reshape(2, -1) + 0.5

    def seen(u: NDArray[Any], v: NDArray[Any], z: float) -> NDArray[Any]:
        return np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, np.full(len(u), z)], axis=1)

    left = u < 40  # a near surface covers the left half; the wall behind it is everywhere, between its points
    depth = cloud_depth(np.vstack([seen(u[left], v[left], 1.0), seen(u + 2, v + 2, 3.0)]), camera)
    shown = depth[4:-4, 4:32]
    assert set(np.unique(shown[np.isfinite(shown)])) == {1.0}
    wall = depth[4:-4, 48:-4]
    assert set(np.unique(wall[np.isfinite(wall)])) == {3.0}
    assert np.isfinite(wall).sum() == 13 * 7  # all of them


class Kept(list[Keyframe]):
    """A store in memory."""

    entries: tuple[Any, ...] = ()

    def append(self, keyframe: Keyframe) -> bool:
        super().append(keyframe)
        return True


def recorded(path: Path, clouds: list[tuple[int, str, NDArray[Any]]]) -> Path:
    """A bag of three images a second and half a metre apart, and of clouds (stamp, frame, points); the lidar sits half
    a metre to the right of the camera."""
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    _, data = cv2.imencode(".png", pixels)
    still = {"quat": (1.0, 0.0, 0.0, 0.0)}
    k = (4.0, 0.0, 3.5, 0.0, 4.0, 2.5, 0.0, 0.0, 1.0)
    info = CameraInfoRecord(stamp_ns=SECOND, frame_id="camera", width=8, height=6, k=k)
    fixed = TransformRecord(
        stamp_ns=SECOND, parent="camera", child="lidar", translation=(0.5, 0.0, 0.0), is_static=True, **still
    )
    records: list[Any] = [fixed, info]
    for i in range(3):
        at = (i + 1) * SECOND
        records += [
            TransformRecord(stamp_ns=at, parent="map", child="camera", translation=(0.5 * i, 0.0, 0.0), **still),
            ColourRecord(stamp_ns=at, frame_id="camera", data=data.tobytes(), format="png", is_compressed=True),
        ]
    sent = messages_of(records, {"colour": "/camera/color/image_raw/compressed"})
    for stamp_ns, frame, points in clouds:
        sent.append(("/lidar/points", stamp_ns, cloud_message(points, stamp_ns, frame)))
    return write_bag(path, sorted(sent, key=lambda message: message[1]))


def cloud_message(points: NDArray[Any], stamp_ns: int, frame: str) -> Any:
    fields = [T["sensor_msgs/msg/PointField"](name=n, offset=4 * i, datatype=F4, count=1) for i, n in enumerate("xyz")]
    data = np.ascontiguousarray(points.astype("<f4"))
    return T["sensor_msgs/msg/PointCloud2"](
        header=header(stamp_ns, frame),
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(points),
        data=data.view(np.uint8).ravel(),
        is_dense=True,
    )


def captured(bag: Path, **changes: object) -> list[Keyframe]:
    store = Kept()
    given = {"ingest.cloud_topic": "/lidar/points", "keyframes.min_sharpness": 0.0, "ingest.max_image_size": 16}
    capture_bag(bag, store, updated(MapConfig(), {**given, **{k.replace("__", "."): v for k, v in changes.items()}}))
    return list(store)


def test_a_message_holds_what_its_record_holds() -> None:
    record = cloud_record(cloud_message(POINTS, SECOND, "/lidar"))
    np.testing.assert_array_equal(decode_cloud(record), POINTS)
    assert (record.stamp_ns, record.frame_id) == (SECOND, "lidar")


def test_clouds_around_an_image_are_its_depth_each_from_where_its_sensor_was(tmp_path: Path) -> None:
    # One point in the world at (0.6, 0.1, 2), seen by the lidar at 2 s, when it stood at x = 1.0.
    bag = recorded(tmp_path / "bag", [(2 * SECOND, "lidar", np.array([[-0.4, 0.1, 2.0]]))])
    first, second, third = captured(bag)
    assert first.depth is None and third.depth is None  # a second away
    assert second.depth is not None
    # The camera stood at x = 0.5: u = 4 * 0.1 / 2 + 4, v = 4 * 0.1 / 2 + 3.
    assert np.argwhere(np.isfinite(second.depth)).tolist() == [[3, 4]]
    assert second.depth[3, 4] == 2.0
    # With room for a second either side all images take it, the point staying where it is in the world.
    columns = [np.argwhere(np.isfinite(k.depth)).tolist() for k in captured(bag, ingest__cloud_slop=1.0)]
    assert columns == [[[3, 5]], [[3, 4]], [[3, 3]]]


def test_a_cloud_in_the_map_frame_holds_until_the_next(tmp_path: Path) -> None:
    bag = recorded(
        tmp_path / "bag",
        [(SECOND, "map", np.array([[0.6, 0.1, 2.0]])), (3 * SECOND, "map", np.array([[0.6, 0.1, 4.0]]))],
    )
    depths = [k.depth[np.isfinite(k.depth)].tolist() for k in captured(bag)]
    assert depths == [[2.0], [2.0], [4.0]]


def test_a_cloud_topic_that_is_none_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    bag = recorded(tmp_path / "bag", [(SECOND, "lidar", POINTS)])
    with pytest.raises(BagError, match=r"did you mean /lidar/points.*ingest\.cloud_topic"):
        captured(bag, ingest__cloud_topic="/lidar/point")
    with pytest.raises(BagError, match="holds tf2_msgs"):
        captured(bag, ingest__cloud_topic="/tf")


def test_without_the_option_no_cloud_is_read(tmp_path: Path) -> None:
    bag = recorded(tmp_path / "bag", [(2 * SECOND, "lidar", np.array([[-0.4, 0.1, 2.0]]))])
    assert all(k.depth is None for k in captured(bag, ingest__cloud_topic=""))
