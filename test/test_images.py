# SPDX-License-Identifier: Apache-2.0
"""Every encoding of one picture decodes to that picture."""

import cv2
import numpy as np
import pytest

from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.images import decode_colour
from ccl_lgs_ros.ingest.records import ColourRecord

# 4x6 in flat 2x2 blocks, so that mosaics and chroma subsampling lose nothing inside a block.
BLOCKS = np.array([[[200, 30, 60], [20, 180, 40], [90, 90, 90]], [[250, 250, 250], [10, 20, 230], [0, 0, 0]]], np.uint8)
CHART = BLOCKS.repeat(2, axis=0).repeat(2, axis=1)  # [4, 6, 3] RGB
GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)


def record(pixels: np.ndarray, encoding: str, *, padding: int = 0, is_bigendian: bool = False) -> ColourRecord:
    height, width = pixels.shape[:2]
    if is_bigendian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return ColourRecord(
        stamp_ns=1,
        frame_id="camera",
        encoding=encoding,
        width=width,
        height=height,
        step=rows.shape[1],
        is_bigendian=is_bigendian,
        data=rows.tobytes(),
    )


def compressed(suffix: str, pixels_bgr: np.ndarray, sent_as: str) -> ColourRecord:
    data = cv2.imencode(suffix, pixels_bgr)[1].tobytes()
    return ColourRecord(stamp_ns=1, frame_id="camera", format=sent_as, data=data, is_compressed=True)


def with_alpha(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image, np.full((*image.shape[:2], 1), 9, image.dtype)], axis=-1)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", CHART),
        ("bgr8", CHART[..., ::-1]),
        ("8UC3", CHART[..., ::-1]),
        ("rgba8", with_alpha(CHART)),
        ("bgra8", with_alpha(CHART[..., ::-1])),
        ("8UC4", with_alpha(CHART[..., ::-1])),
    ],
)
def test_byte_colours_decode_exactly(encoding: str, pixels: np.ndarray, padding: int) -> None:
    np.testing.assert_array_equal(decode_colour(record(pixels, encoding, padding=padding)), CHART)


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb16", CHART),
        ("bgr16", CHART[..., ::-1]),
        ("16UC3", CHART[..., ::-1]),
        ("rgba16", with_alpha(CHART)),
        ("bgra16", with_alpha(CHART[..., ::-1])),
    ],
)
def test_wide_colours_keep_their_high_byte_in_either_byte_order(
    encoding: str, pixels: np.ndarray, is_bigendian: bool
) -> None:
    wide = pixels.astype(np.uint16) * 256 + 13
    decoded = decode_colour(record(wide, encoding, padding=4, is_bigendian=is_bigendian))
    np.testing.assert_array_equal(decoded, CHART)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_becomes_three_equal_channels(encoding: str) -> None:
    np.testing.assert_array_equal(decode_colour(record(GREY, encoding, padding=2)), np.stack([GREY] * 3, axis=-1))


@pytest.mark.parametrize("is_bigendian", [False, True])
def test_wide_grey_keeps_its_high_byte(is_bigendian: bool) -> None:
    wide = GREY.astype(np.uint16) * 256 + 200
    decoded = decode_colour(record(wide, "mono16", padding=2, is_bigendian=is_bigendian))
    np.testing.assert_array_equal(decoded, np.stack([GREY] * 3, axis=-1))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("pattern", "channels"),
    [("rggb", (0, 1, 1, 2)), ("bggr", (2, 1, 1, 0)), ("gbrg", (1, 2, 0, 1)), ("grbg", (1, 0, 2, 1))],
)
def test_mosaics_of_one_colour_decode_to_it(pattern: str, channels: tuple[int, ...], wide: bool) -> None:
    colour = np.array([200, 90, 30])
    mosaic = np.zeros((8, 10), np.uint8)
    for i, channel in enumerate(channels):
        mosaic[i // 2 :: 2, i % 2 :: 2] = colour[channel]
    pixels = mosaic.astype(np.uint16) * 256 if wide else mosaic
    decoded = decode_colour(record(pixels, f"bayer_{pattern}{16 if wide else 8}"))
    np.testing.assert_array_equal(decoded, np.broadcast_to(colour, (8, 10, 3)))


@pytest.mark.parametrize(("encoding", "luma"), [("yuv422", 1), ("uyvy", 1), ("yuv422_yuy2", 0), ("yuyv", 0)])
def test_yuv_pairs_decode_to_their_colours(encoding: str, luma: int) -> None:
    yuv = cv2.cvtColor(CHART, cv2.COLOR_RGB2YUV).astype(np.float64)
    y = 16 + yuv[..., 0] * 219 / 255  # studio range, as cameras send it
    weights = np.array([[-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
    chroma = CHART @ weights.T + 128
    pixels = np.zeros((4, 6, 2), np.uint8)
    pixels[..., luma] = np.round(y)
    pixels[..., 1 - luma] = np.round(np.where(np.arange(6) % 2 == 0, chroma[..., 0], chroma[..., 1]))
    decoded = decode_colour(record(pixels, encoding, padding=4))
    assert np.abs(decoded.astype(int) - CHART).max() <= 4


def test_png_decodes_exactly_and_jpeg_nearly() -> None:
    bgr = np.ascontiguousarray(CHART.repeat(8, axis=0).repeat(8, axis=1)[..., ::-1])
    np.testing.assert_array_equal(decode_colour(compressed(".png", bgr, "rgb8; png compressed bgr8")), bgr[..., ::-1])
    jpeg = decode_colour(compressed(".jpg", bgr, "jpeg"))
    assert np.abs(jpeg.astype(int) - bgr[..., ::-1]).mean() < 6


def test_compressed_wide_and_grey_and_alpha_pictures_become_rgb8() -> None:
    bgr = np.ascontiguousarray(CHART[..., ::-1])
    np.testing.assert_array_equal(decode_colour(compressed(".png", bgr.astype(np.uint16) * 257, "png")), CHART)
    np.testing.assert_array_equal(decode_colour(compressed(".png", with_alpha(bgr), "png")), CHART)
    np.testing.assert_array_equal(
        decode_colour(compressed(".png", GREY, "mono8; png compressed")), GREY[..., None] + 0 * CHART
    )


def test_a_mosaic_sent_as_png_is_demosaiced() -> None:
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[::2, ::2] = 200  # red sites of rggb
    decoded = decode_colour(compressed(".png", mosaic, "bayer_rggb8; png compressed"))
    np.testing.assert_array_equal(decoded, np.broadcast_to([200, 0, 0], (8, 8, 3)))


def test_a_rotation_mark_in_the_jpeg_is_ignored() -> None:
    data = cv2.imencode(".jpg", np.zeros((16, 32, 3), np.uint8))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # turned by 90 degrees
    marked = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    sent = ColourRecord(stamp_ns=1, frame_id="c", format="jpeg", data=marked, is_compressed=True)
    assert decode_colour(sent).shape == (16, 32, 3)


def test_a_missing_step_means_dense_rows_and_the_last_row_needs_no_padding() -> None:
    dense = record(CHART, "rgb8")
    no_step = ColourRecord(stamp_ns=1, frame_id="c", encoding="rgb8", width=6, height=4, step=0, data=dense.data)
    np.testing.assert_array_equal(decode_colour(no_step), CHART)
    padded = record(CHART, "rgb8", padding=6)
    cut = ColourRecord(stamp_ns=1, frame_id="c", encoding="rgb8", width=6, height=4, step=24, data=padded.data[:-6])
    np.testing.assert_array_equal(decode_colour(cut), CHART)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_any_buffer_of_bytes_is_read(kind: object) -> None:
    dense = record(CHART, "rgb8")
    sent = ColourRecord(
        stamp_ns=1,
        frame_id="c",
        encoding="rgb8",
        width=6,
        height=4,
        step=18,
        data=kind(dense.data),  # type: ignore
    )
    np.testing.assert_array_equal(decode_colour(sent), CHART)


@pytest.mark.parametrize(
    ("sent", "word"),
    [
        (ColourRecord(stamp_ns=1, frame_id="c", encoding="rgb8", width=6, height=4, step=18, data=b"123"), "72 bytes"),
        (ColourRecord(stamp_ns=1, frame_id="c", encoding="rgb8", width=6, height=4, step=6, data=bytes(99)), "rows"),
        (ColourRecord(stamp_ns=1, frame_id="c", encoding="rgb8", width=0, height=4, data=b""), "1x1"),
        (ColourRecord(stamp_ns=1, frame_id="c", encoding="hsv9", width=6, height=4, data=bytes(99)), "hsv9"),
        (ColourRecord(stamp_ns=1, frame_id="c", encoding="yuv422", width=5, height=4, data=bytes(99)), "even"),
        (ColourRecord(stamp_ns=1, frame_id="c", format="jpeg", data=b"", is_compressed=True), "0 bytes"),
        (ColourRecord(stamp_ns=1, frame_id="c", format="jpeg", data=b"no picture", is_compressed=True), "neither"),
        (
            ColourRecord(stamp_ns=1, frame_id="c", format="16UC1; compressedDepth png", data=b"x", is_compressed=True),
            "depth",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(sent: ColourRecord, word: str) -> None:
    with pytest.raises(DecodeError, match=word):
        decode_colour(sent)
