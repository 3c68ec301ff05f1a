# SPDX-License-Identifier: Apache-2.0
"""Every encoding of one depth image decodes to the same metres; depth carried into another camera is seen rightly."""

import struct

import cv2
import numpy as np
import pytest
from rvl_encoder import encode_rvl

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.depth import decode_depth, limited
from ccl_lgs_ros.ingest.records import DepthRecord
from ccl_lgs_ros.ingest.rectify import Lens
from ccl_lgs_ros.ingest.registration import RayMap, register_depth
from ccl_lgs_ros.ingest.rvl import decode_rvl

UNITS = np.array([[0, 1, 500], [1000, 65535, 4000]], np.uint16)
METRES = np.array([[np.nan, 0.001, 0.5], [1.0, np.nan, 4.0]], np.float32)
NO_TURN = np.eye(4)


def raw(pixels: np.ndarray, encoding: str, *, padding: int = 0, is_bigendian: bool = False) -> DepthRecord:
    height, width = pixels.shape
    if is_bigendian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = np.pad(np.frombuffer(pixels.tobytes(), np.uint8).reshape(height, -1), ((0, 0), (0, padding)))
    return DepthRecord(
        stamp_ns=1,
        frame_id="depth",
        encoding=encoding,
        width=width,
        height=height,
        step=rows.shape[1],
        is_bigendian=is_bigendian,
        data=rows.tobytes(),
    )


def compressed(data: bytes, sent_as: str) -> DepthRecord:
    return DepthRecord(stamp_ns=1, frame_id="depth", format=sent_as, data=data, is_compressed=True)


def png(units: np.ndarray) -> bytes:
    return cv2.imencode(".png", units)[1].tobytes()


def header(a: float = 0.0, b: float = 0.0) -> bytes:
    return struct.pack("<iff", 0, a, b)


def lens(width: int, height: int, f: float) -> Lens:
    return Lens(width=width, height=height, fx=f, fy=f, cx=(width - 1) / 2, cy=(height - 1) / 2)


def camera(width: int, height: int, f: float) -> Camera:
    return Camera(width=width, height=height, fx=f, fy=f, cx=width / 2, cy=height / 2)


def plane(of: Lens, normal: tuple[float, float, float], distance: float) -> np.ndarray:
    """Depth of the plane normal . point = distance."""
    rays = of.rays()
    return (distance / (rays[..., 0] * normal[0] + rays[..., 1] * normal[1] + normal[2])).astype(np.float32)


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_integer_depth_is_millimetres_and_its_extremes_are_unknown(
    encoding: str, padding: int, is_bigendian: bool
) -> None:
    decoded = decode_depth(raw(UNITS, encoding, padding=padding, is_bigendian=is_bigendian))
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, METRES, rtol=1e-6)


@pytest.mark.parametrize("is_bigendian", [False, True])
def test_float_depth_is_metres_and_what_is_no_distance_is_unknown(is_bigendian: bool) -> None:
    pixels = np.array([[np.nan, np.inf, -np.inf], [0.0, -1.0, 2.5]], np.float32)
    decoded = decode_depth(raw(pixels, "32FC1", padding=4, is_bigendian=is_bigendian))
    np.testing.assert_array_equal(decoded, np.array([[np.nan] * 3, [np.nan, np.nan, 2.5]], np.float32))


def test_both_encodings_of_one_scene_agree_and_a_scale_overrides_them() -> None:
    metres = np.nan_to_num(METRES)
    np.testing.assert_allclose(decode_depth(raw(metres, "32FC1")), decode_depth(raw(UNITS, "16UC1")), rtol=1e-6)
    np.testing.assert_allclose(decode_depth(raw(UNITS, "16UC1"), depth_scale=0.0002), METRES / 5, rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "sent_as"),
    [
        (png(UNITS), "16UC1; png compressed "),
        (header() + png(UNITS), "16UC1; compressedDepth png"),
        (header() + png(UNITS), "16UC1; compressedDepth"),
        (header() + encode_rvl(UNITS), "16UC1; compressedDepth rvl"),
    ],
)
def test_compressed_depth_decodes_as_raw_does(data: bytes, sent_as: str) -> None:
    np.testing.assert_allclose(decode_depth(compressed(data, sent_as)), METRES, rtol=1e-6)


@pytest.mark.parametrize("code", [png, encode_rvl])
def test_quantised_float_depth_comes_back_within_its_step(code: object) -> None:
    depth = np.linspace(0.3, 9.0, 200, dtype=np.float32).reshape(10, 20)
    a, b = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0  # of the sender: quantisation 100, farthest 10 m
    units = np.round(a / depth + b).astype(np.uint16)
    units[0, 0] = 0
    suffix = "rvl" if code is encode_rvl else "png"
    sent = compressed(header(a, b) + code(units), f"32FC1; compressedDepth {suffix}")  # type: ignore[operator]
    decoded = decode_depth(sent)
    assert np.isnan(decoded[0, 0])
    assert np.nanmax(np.abs(decoded - depth) / depth**2) < 1.0 / a


def test_rvl_keeps_every_value_of_a_random_image() -> None:
    generator = np.random.default_rng(3)
    units = generator.integers(0, 65536, (37, 53)).astype(np.uint16)
    units[generator.random(units.shape) < 0.4] = 0
    units[5:20] = 0
    np.testing.assert_array_equal(decode_rvl(np.frombuffer(encode_rvl(units), np.uint8)), units)


@pytest.mark.parametrize(
    ("sent", "word"),
    [
        (raw(UNITS.astype(np.uint8), "mono8"), "mono8"),
        (compressed(b"", "16UC1; compressedDepth png"), "12 bytes"),
        (compressed(header() + png(UNITS)[:30], "16UC1; compressedDepth png"), "cut off"),
        (compressed(b"\xff\xd8\xff\xe0", "16UC1; jpeg compressed"), "JPEG is destroyed"),
        (compressed(header() + b"\xff\xd8\xff\xe0", "16UC1; compressedDepth jpeg"), "JPEG is destroyed"),
        (compressed(png(UNITS.astype(np.uint8)), "16UC1; png"), "16-bit"),
        (compressed(png(UNITS), "32FC1; png compressed"), "32FC1"),
        (compressed(header() + encode_rvl(np.full((40, 40), 7, np.uint16))[:40], "16UC1; compressedDepth rvl"), "RVL"),
        (compressed(header() + struct.pack("<ii", -4, 9), "16UC1; compressedDepth rvl"), "plausible"),
        (compressed(header() + b"abc", "16UC1; compressedDepth rvl"), "RVL"),
    ],
)
def test_depth_that_cannot_be_read_is_refused_in_a_sentence(sent: DepthRecord, word: str) -> None:
    with pytest.raises(DecodeError, match=word):
        decode_depth(sent)


def test_depth_outside_its_limits_is_unknown() -> None:
    depth = np.array([[0.05, 0.1, np.nan, 8.0, 8.1]], np.float32)
    kept = limited(depth, depth_min=0.1, depth_max=8.0)
    np.testing.assert_array_equal(np.isfinite(kept), [[False, True, False, True, False]])


def test_registering_into_the_same_camera_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    depth = generator.uniform(0.5, 4.0, (24, 32)).astype(np.float32)
    depth[generator.random(depth.shape) < 0.2] = np.nan
    np.testing.assert_allclose(
        register_depth(depth, RayMap.of(lens(32, 24, 30.0)), camera(32, 24, 30.0), NO_TURN), depth, rtol=1e-6
    )


@pytest.mark.parametrize("size", [(32, 24), (64, 48), (128, 96), (160, 120), (320, 240)])
def test_a_plane_seen_by_a_moved_and_turned_camera_of_another_size_is_that_plane_without_holes(
    size: tuple[int, int],
) -> None:
    normal, distance = (0.3, -0.2, 1.0), 2.0
    source = lens(64, 48, 40.0)
    target = camera(*size, 55.0 * size[0] / 64)
    turn = cv2.Rodrigues(np.array([0.03, -0.05, 0.02]))[0]
    target_from_source = np.eye(4)
    target_from_source[:3, :3], target_from_source[:3, 3] = turn, (0.05, 0.01, -0.02)
    registered = register_depth(plane(source, normal, distance), RayMap.of(source), target, target_from_source)
    inner = registered[size[1] // 8 : -size[1] // 8, size[0] // 8 : -size[0] // 8]
    assert np.isfinite(inner).mean() > 0.995
    points = target.unproject(registered)[np.isfinite(registered)]
    back = (points - target_from_source[:3, 3]) @ turn
    off = np.abs(back @ np.array(normal) - distance) / np.linalg.norm(normal)
    assert np.median(off) < 0.01 and off.max() < 0.06  # half a depth pixel on a slanted plane


def test_near_hides_far_whatever_the_order_of_pixels() -> None:
    source, target = lens(40, 10, 20.0), camera(40, 10, 20.0)
    depth = np.full((10, 40), 4.0, np.float32)
    depth[:, 18:22] = 1.0
    for side in (-0.5, 0.5):  # the near strip moves by 10 pixels, the wall by 2.5, to either side
        moved = np.eye(4)
        moved[0, 3] = side
        registered = register_depth(depth, RayMap.of(source), target, moved)
        strip = slice(18 + int(20 * side), 22 + int(20 * side))
        np.testing.assert_allclose(registered[:, strip], 1.0)
        known = registered[np.isfinite(registered)]
        assert set(np.round(known, 4)) == {1.0, 4.0}


def test_what_the_depth_camera_did_not_see_stays_unknown() -> None:
    source, target = lens(40, 10, 40.0), camera(40, 10, 20.0)
    registered = register_depth(np.full((10, 40), 2.0, np.float32), RayMap.of(source), target, NO_TURN)
    known = np.isfinite(registered[5])
    assert known[11:29].all() and not known[:9].any() and not known[31:].any()


def test_points_behind_or_in_the_plane_of_the_colour_camera_draw_nothing() -> None:
    source, target = lens(8, 8, 8.0), camera(8, 8, 8.0)
    back = np.eye(4)
    for shift in (-1.0, -2.0):
        back[2, 3] = shift
        assert np.isnan(register_depth(np.ones((8, 8), np.float32), RayMap.of(source), target, back)).all()
    assert np.isnan(register_depth(np.full((8, 8), np.nan, np.float32), RayMap.of(source), target, NO_TURN)).all()
