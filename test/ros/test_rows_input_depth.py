# SPDX-License-Identifier: Apache-2.0
"""Rows 9 to 11, and 14 for depth: nothing that is no distance reaches the map, and every form of one depth agrees."""

import logging
import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from capture_records import SIZE, START, K, S, depth, drive, in_order, info, transform
from capture_runs import capture
from numpy.typing import NDArray
from rvl_encoder import encode_rvl

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.gaussians.losses import depth_loss
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.ingest.depth import decode_depth
from ccl_lgs_ros.ingest.records import DepthRecord, Record

NEAR, FAR = 0.5, 6.0  # metres
QUANTISATION, FARTHEST = 100.0, 10.0  # the sender's defaults for quantised float depth, the latter in metres
CUTS = 40


def slope() -> NDArray[np.float32]:
    """A surface whose distance grows to the right, in whole millimetres."""
    return np.broadcast_to(np.linspace(NEAR, FAR, SIZE[0]).round(3), SIZE[::-1]).astype(np.float32)


def raw(pixels: NDArray, encoding: str, stamp_ns: int = START, **changes: object) -> DepthRecord:
    fields = {"frame_id": "camera", "width": pixels.shape[1], "height": pixels.shape[0], **changes}
    pixels = np.ascontiguousarray(pixels)
    return DepthRecord(  # type: ignore[arg-type]
        stamp_ns=stamp_ns, encoding=encoding, step=pixels.strides[0], data=pixels.tobytes(), **fields
    )


def keyframes(depth_of: NDArray, encoding: str, **changes: object) -> list[Keyframe]:
    """What a drive stores whose depth images are all this one."""
    topics = drive(20)
    topics["depth"] = [raw(depth_of, encoding, record.stamp_ns) for record in topics["colour"]]
    return list(capture(in_order(topics), **changes)[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -1.5, 1e30], ids=str)
def test_row_09_what_is_no_distance_reaches_neither_seeds_nor_loss(bad: float) -> None:
    pixels = slope().copy()
    pixels[::2] = bad
    stored = keyframes(pixels, "32FC1")
    assert stored
    for keyframe in stored:
        assert np.isnan(keyframe.depth[::2]).all() and np.isfinite(keyframe.depth[1::2]).all()
        seeds = seed_gaussians(keyframe, None)
        assert len(seeds) and torch.isfinite(seeds.means).all() and torch.isfinite(seeds.log_scales).all()
        rendered = torch.full(keyframe.depth.shape, 2.0, requires_grad=True)
        loss = depth_loss(rendered, torch.ones_like(rendered), torch.from_numpy(keyframe.depth))
        loss.backward()
        assert torch.isfinite(loss) and rendered.grad is not None and torch.isfinite(rendered.grad).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0], ids=str)
def test_row_09_an_image_without_any_distance_is_dropped_and_counted(bad: float) -> None:
    topics = drive(20)
    nothing = np.full(SIZE[::-1], bad, np.float32)
    topics["depth"] = [raw(nothing, "32FC1", record.stamp_ns) for record in topics["colour"]]
    made, store = capture(in_order(topics))
    assert len(store) == 0 and made.counts["depth"] > 0
    assert "depth is known on 0.0% of the image" in made.drops.first["depth"]


def test_row_10_millimetres_and_metres_give_the_same_cloud(record_property) -> None:
    in_metres = keyframes(slope(), "32FC1")
    in_millimetres = keyframes(np.round(slope() * 1000).astype(np.uint16), "16UC1")
    assert in_metres and len(in_metres) == len(in_millimetres)
    pairs = [
        (a.camera.unproject(a.depth), b.camera.unproject(b.depth))
        for a, b in zip(in_metres, in_millimetres, strict=True)
    ]
    largest = max(float(np.nanmax(np.abs(a - b))) for a, b in pairs)
    assert largest < 1e-5
    record_property("figure", f"clouds of both encodings differ by {1e6 * largest:.1f} micrometres at most")


def test_row_10_an_implausible_unit_is_said_once_and_can_be_set(caplog: pytest.LogCaptureFixture) -> None:
    wrong = (slope() * 1000).astype(np.float32)  # millimetres under the name of metres
    with caplog.at_level(logging.WARNING):
        assert not keyframes(wrong, "32FC1")
    warnings = [r.getMessage() for r in caplog.records if "ingest.depth_scale" in r.getMessage()]
    assert len(warnings) == 1 and "the unit is likely wrong" in warnings[0]
    for keyframe in keyframes(wrong, "32FC1", ingest__depth_scale=0.001):
        np.testing.assert_allclose(keyframe.depth, slope(), rtol=1e-5)


@pytest.mark.parametrize("factor", [0.5, 2, 4])
def test_row_11_depth_of_another_size_lands_where_it_belongs(factor: float) -> None:
    size = (int(SIZE[0] * factor), int(SIZE[1] * factor))
    k = (
        K[0] * factor,
        0.0,
        (K[2] + 0.5) * factor - 0.5,
        0.0,
        K[4] * factor,
        (K[5] + 0.5) * factor - 0.5,
        0.0,
        0.0,
        1.0,
    )
    u = np.arange(size[0])
    leaning = np.broadcast_to(2.0 / (1.0 - 0.3 * (u - k[2]) / k[0]), size[::-1]).astype(np.float32)  # z = 2 + 0.3 x
    topics = drive(20)
    topics["depth"] = [raw(leaning, "32FC1", record.stamp_ns) for record in topics["colour"]]
    topics["depth_info"] = [info(START, is_depth=True, width=size[0], height=size[1], k=k)]
    _, store = capture(in_order(topics))
    assert len(store) > 3
    for keyframe in store:
        seen = keyframe.camera.unproject(keyframe.depth)
        seen = seen[np.isfinite(seen[..., 2])]
        assert len(seen) > 0.9 * SIZE[0] * SIZE[1]
        assert np.abs(seen[:, 2] - 2.0 - 0.3 * seen[:, 0]).max() < 0.05
        means = seed_gaussians(keyframe, None).means.numpy()
        assert len(means)


def test_row_11_depth_of_another_frame_is_carried_over_by_tf() -> None:
    topics = drive(20)
    mounted = replace(
        transform(0, 0.1, parent="camera", child="depth_camera", is_static=True), quat=(1.0, 0.0, 0.0, 0.0)
    )
    topics["tf"].append(mounted)
    u = np.broadcast_to(np.arange(SIZE[0]), SIZE[::-1])
    edge = np.where(u < SIZE[0] // 2, 1.0, 3.0).astype(np.float32)
    topics["depth"] = [raw(edge, "32FC1", record.stamp_ns, frame_id="depth_camera") for record in topics["colour"]]
    _, store = capture(in_order(topics))
    assert len(store) > 3
    moved_px = round(K[0] * 0.1 / 1.0)  # what is 1 m away moves by f x / z
    for keyframe in store:
        row = keyframe.depth[SIZE[1] // 2]
        np.testing.assert_allclose(row[moved_px + 1 : SIZE[0] // 2 + moved_px - 1], 1.0, rtol=1e-5)
        np.testing.assert_allclose(row[SIZE[0] // 2 + moved_px + 1 :], 3.0, rtol=1e-5)


def test_row_11_a_frame_that_tf_does_not_know_is_named(caplog: pytest.LogCaptureFixture) -> None:
    topics = drive(20)
    topics["depth"] = [depth(record.stamp_ns, frame_id="elsewhere") for record in topics["colour"]]
    with caplog.at_level(logging.WARNING):
        capture(in_order(topics))
    said = [r.getMessage() for r in caplog.records if "'elsewhere'" in r.getMessage()]
    assert len(said) == 1 and "taken to be in one place" in said[0] and "'camera'" in said[0]


def test_row_11_depth_of_another_shape_without_camera_info_is_refused_by_name() -> None:
    topics: dict[str, list[Record]] = {topic: records for topic, records in drive(20).items() if topic != "depth_info"}
    topics["depth"] = [raw(np.ones((20, 32), np.float32), "32FC1", r.stamp_ns) for r in topics["colour"]]
    made, store = capture(in_order(topics))
    assert len(store) == 0
    assert "depth without camera_info of 32x20 has another shape" in made.drops.first["depth"]


def compressed(data: bytes, sent_as: str) -> DepthRecord:
    return DepthRecord(stamp_ns=1, frame_id="depth", format=sent_as, data=data, is_compressed=True)


def units() -> NDArray[np.uint16]:
    return np.round(slope() * 1000).astype(np.uint16)


def png(pixels: NDArray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def quantised() -> tuple[bytes, NDArray[np.uint16]]:
    """Header and 16-bit values of inverse depth, as compressed_depth_image_transport computes them."""
    a = QUANTISATION * (QUANTISATION + 1.0)
    b = 1.0 - a / FARTHEST
    return struct.pack("<iff", 0, a, b), (a / slope() + b).astype(np.uint16)


HEADER = struct.pack("<iff", 0, 0.0, 0.0)
CODED = {
    "16UC1; png compressed ": png(units()),
    "16UC1; compressedDepth": HEADER + png(units()),
    "16UC1; compressedDepth png": HEADER + png(units()),
    "16UC1; compressedDepth rvl": HEADER + encode_rvl(units()),
}


@pytest.mark.parametrize("sent_as", CODED)
def test_row_14_compressed_depth_gives_the_depth(sent_as: str) -> None:
    np.testing.assert_allclose(decode_depth(compressed(CODED[sent_as], sent_as)), slope(), rtol=1e-6)


@pytest.mark.parametrize("code", [png, encode_rvl], ids=["png", "rvl"])
def test_row_14_quantised_float_depth_comes_back_within_its_step(code, record_property) -> None:
    header, values = quantised()
    decoded = decode_depth(compressed(header + code(values), f"32FC1; compressedDepth {code.__name__[-3:]}"))
    worst = float(np.abs(decoded - slope()).max())
    assert worst < FAR**2 / (QUANTISATION * (QUANTISATION + 1.0))  # a step of inverse depth, at the far end
    record_property("figure", f"off by {1000 * worst:.1f} mm at most, {NEAR} to {FAR} m")


def test_row_14_depth_as_jpeg_is_refused_with_the_reason() -> None:
    jpeg = cv2.imencode(".jpg", (slope() * 40).astype(np.uint8))[1].tobytes()
    for data, sent_as in (
        (jpeg, "16UC1; jpeg compressed"),
        (HEADER + jpeg, "16UC1; compressedDepth jpeg"),
        (jpeg, "jpeg"),
    ):
        with pytest.raises(DecodeError, match="depth sent as JPEG is destroyed by the compression"):
            decode_depth(compressed(data, sent_as))


def test_row_14_a_depth_image_cut_off_anywhere_is_read_or_refused_in_a_sentence(record_property) -> None:
    refused = dict.fromkeys(CODED, 0)
    for sent_as, whole in CODED.items():
        for length in np.linspace(0, len(whole) - 1, CUTS).astype(int):
            try:
                assert decode_depth(compressed(whole[:length], sent_as)).shape == SIZE[::-1]
            except DecodeError as error:
                refused[sent_as] += 1
                assert str(error) and "\n" not in str(error)
    assert all(refused.values())
    record_property("figure", f"{sum(refused.values())} of {CUTS * len(CODED)} cuts refused")


def test_row_14_images_that_cannot_be_read_cost_themselves_and_nothing_else() -> None:
    topics = drive(20)
    whole = CODED["16UC1; compressedDepth png"]
    broken = {2: b"", 5: whole[:20], 8: whole[: len(whole) // 2]}
    topics["depth"] = [
        replace(compressed(broken.get(i, whole), "16UC1; compressedDepth png"), stamp_ns=r.stamp_ns, frame_id="camera")
        for i, r in enumerate(topics["colour"])
    ]
    made, store = capture(in_order(topics), keyframes__min_translation=0.0)
    stamps = {keyframe.stamp_ns for keyframe in store}
    assert len(stamps) > 10 and not stamps & {START + i * S // 15 for i in (2, 8)}
    assert made.counts["depth"] == sum(topics["colour"][i].stamp_ns not in stamps for i in (2, 8))
