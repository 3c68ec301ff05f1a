# SPDX-License-Identifier: Apache-2.0
"""Rows 12 to 14 for colours: one chart in every encoding, padded, in either byte order, compressed, and cut off."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from capture_records import drive, in_order
from capture_runs import capture
from numpy.typing import NDArray
from ros.colour_chart import PAIRS, SIZE, chart, encoded, expected, inside

from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.images import COLOUR_ENCODINGS, decode_colour
from ccl_lgs_ros.ingest.records import ColourRecord, Record

EXACT, STUDIO = 0, 4  # of 255: bytes are bytes; YUV has 219 steps of brightness, and two pixels share a colour
PADDINGS = (1, 6, 64)  # bytes: less than a pixel, whole pixels, cache lines
CUTS = 40


def off(image: NDArray[np.uint8], encoding: str) -> int:
    """The largest difference to the chart, where the encoding keeps it."""
    difference = np.abs(image.astype(int) - expected(encoding))
    return int(difference[inside()].max() if encoding.startswith("bayer") else difference.max())


@pytest.mark.parametrize("encoding", COLOUR_ENCODINGS)
def test_row_12_every_encoding_of_one_chart_gives_its_colours(encoding: str) -> None:
    image = decode_colour(encoded(encoding))
    assert image.dtype == np.uint8 and image.shape == (*SIZE[::-1], 3)
    assert off(image, encoding) <= (STUDIO if encoding in PAIRS else EXACT)


def test_row_12_an_unknown_encoding_costs_its_images_and_nothing_else(record_property) -> None:
    topics = {topic: drive(30)[topic] for topic in ("colour", "info", "tf")}
    strange: list[Record] = [
        replace(record, encoding="hsv9", stamp_ns=record.stamp_ns + 1) for record in topics["colour"]
    ]
    options = {"keyframes__min_translation": 0.0, "ingest__use_depth": False}
    _, clean = capture(in_order(topics), **options)
    made, store = capture(in_order({**topics, "strange": strange}), **options)
    assert [k.stamp_ns for k in store] == [k.stamp_ns for k in clean]
    assert made.counts["format"] == len(strange)
    assert "cannot read colour images of encoding 'hsv9'; known: rgb8, bgr8" in made.drops.first["format"]
    record_property("figure", f"{len(COLOUR_ENCODINGS)} encodings")


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("is_bigendian", [False, True])
def test_row_13_padding_and_byte_order_change_no_pixel(padding: int, is_bigendian: bool) -> None:
    for encoding in COLOUR_ENCODINGS:
        plain = decode_colour(encoded(encoding))
        sent = encoded(encoding, padding=padding, is_bigendian=is_bigendian)
        np.testing.assert_array_equal(decode_colour(sent), plain, err_msg=encoding)


def compressed(data: bytes, sent_as: str) -> ColourRecord:
    return ColourRecord(stamp_ns=1, frame_id="camera", format=sent_as, data=data, is_compressed=True)


def coded(suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, chart()[..., ::-1], options)[1].tobytes()


@pytest.mark.parametrize(
    ("suffix", "sent_as", "tolerance"),
    [(".png", "rgb8; png compressed bgr8", 0), (".png", "png", 0), (".jpg", "rgb8; jpeg compressed bgr8", 12)],
)
def test_row_14_compressed_colours_give_the_chart(suffix: str, sent_as: str, tolerance: int) -> None:
    image = decode_colour(compressed(coded(suffix), sent_as))
    assert np.abs(image.astype(int) - chart())[inside()].max() <= tolerance


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_row_14_a_colour_image_cut_off_anywhere_is_read_or_refused_in_a_sentence(suffix: str, record_property) -> None:
    whole = coded(suffix)
    refused = 0
    for length in np.linspace(0, len(whole) - 1, CUTS).astype(int):
        try:
            assert decode_colour(compressed(whole[:length], "jpeg")).shape == (*SIZE[::-1], 3)
        except DecodeError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused
    record_property("figure", f"{refused} of {CUTS} cuts of a {suffix[1:]} image refused")
