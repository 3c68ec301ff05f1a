# SPDX-License-Identifier: Apache-2.0
"""Colour images of every common encoding to RGB uint8."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.records import ImageRecord
from ccl_lgs_ros.picture_header import MAX_PIXELS, stated_size

# Encoding -> channels, bytes per channel, cv2 conversion to RGB (None: RGB already). OpenCV's own 8UC3 order is BGR.
_PLAIN: dict[str, tuple[int, int, int | None]] = {
    "rgb8": (3, 1, None),
    "bgr8": (3, 1, cv2.COLOR_BGR2RGB),
    "8UC3": (3, 1, cv2.COLOR_BGR2RGB),
    "rgba8": (4, 1, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, 1, cv2.COLOR_BGRA2RGB),
    "8UC4": (4, 1, cv2.COLOR_BGRA2RGB),
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": (3, 2, None),
    "bgr16": (3, 2, cv2.COLOR_BGR2RGB),
    "16UC3": (3, 2, cv2.COLOR_BGR2RGB),
    "rgba16": (4, 2, cv2.COLOR_RGBA2RGB),
    "bgra16": (4, 2, cv2.COLOR_BGRA2RGB),
    "16UC4": (4, 2, cv2.COLOR_BGRA2RGB),
    "mono16": (1, 2, cv2.COLOR_GRAY2RGB),
    "16UC1": (1, 2, cv2.COLOR_GRAY2RGB),
    "bayer_rggb8": (1, 1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr8": (1, 1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg8": (1, 1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg8": (1, 1, cv2.COLOR_BayerGRBG2RGB),
    "bayer_rggb16": (1, 2, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr16": (1, 2, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg16": (1, 2, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg16": (1, 2, cv2.COLOR_BayerGRBG2RGB),
    "yuv422": (2, 1, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, 1, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, 1, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, 1, cv2.COLOR_YUV2RGB_YUY2),
}

ColourDecoder = Callable[[ImageRecord], NDArray[np.uint8]]  # as decode_colour
COLOUR_ENCODINGS = tuple(_PLAIN)
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
HIGH_BYTE = 8  # bits dropped from 16-bit colours


def decode_colour(record: ImageRecord) -> NDArray[np.uint8]:
    """The image as RGB uint8 [H, W, 3].

    Raises:
        DecodeError: saying what was expected and what came.
    """
    if record.is_compressed:
        return _decode_compressed(record)
    if record.encoding not in _PLAIN:
        raise DecodeError(
            f"cannot read colour images of encoding '{record.encoding}'; known: {', '.join(COLOUR_ENCODINGS)}"
        )
    channels, size, conversion = _PLAIN[record.encoding]
    pixels = raw_pixels(record, channels=channels, dtype=np.uint8 if size == 1 else np.uint16)
    if channels == 2 and record.width % 2:
        raise DecodeError(f"expected an even width of a {record.encoding} image, got {record.width}")
    return _to_rgb8(pixels, conversion)


def raw_pixels(record: ImageRecord, *, channels: int, dtype: type[np.generic]) -> NDArray:
    """The pixels of a raw image, [H, W] or [H, W, channels], native byte order, row padding cut off.

    Raises:
        DecodeError: if the buffer is too small for the size that the message states.
    """
    width, height = record.width, record.height
    if width < 1 or height < 1:
        raise DecodeError(f"expected an image of at least 1x1 pixels, got {width}x{height}")
    row = width * channels * np.dtype(dtype).itemsize
    step = record.step or row  # some drivers leave step at 0
    buffer = np.frombuffer(record.data, dtype=np.uint8)
    needed = step * (height - 1) + row
    if step < row or buffer.size < needed:
        raise DecodeError(
            f"expected rows of {row} bytes and {needed} bytes in all for {width}x{height} {record.encoding}, "
            f"got rows of {step} and {buffer.size} in all"
        )
    rows = np.lib.stride_tricks.as_strided(buffer, shape=(height, row), strides=(step, 1), writeable=False)
    order = ">" if record.is_bigendian else "<"
    pixels = np.ascontiguousarray(rows).view(np.dtype(dtype).newbyteorder(order)).astype(dtype, copy=False)
    return pixels if channels == 1 else pixels.reshape(height, width, channels)


def compressed_pixels(data: object, flags: int, what: str) -> NDArray:
    """The pixels of a JPEG or PNG buffer.

    Raises:
        DecodeError: if the buffer is empty, cut off or neither.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)  # type: ignore[call-overload]
    size = stated_size(buffer.tobytes())
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise DecodeError(f"expected {what} of at most {MAX_PIXELS} pixels, got {size[0]}x{size[1]}")
    try:
        pixels = cv2.imdecode(buffer, flags) if size is not None else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise DecodeError(f"expected {what} as JPEG or PNG, got {buffer.size} bytes that are neither or are cut off")
    return pixels


def _decode_compressed(record: ImageRecord) -> NDArray[np.uint8]:
    if "compressedDepth" in record.format:
        raise DecodeError(f"expected a colour image, got a depth image ('{record.format}'); choose another topic")
    sent_as = record.format.partition(";")[0].strip()
    if sent_as.startswith("bayer") and "bgr8" not in record.format and sent_as in _PLAIN:
        mosaic = compressed_pixels(record.data, cv2.IMREAD_UNCHANGED, "a mosaic")
        if mosaic.ndim == 2:
            return _to_rgb8(mosaic, _PLAIN[sent_as][2])
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # camera_info knows nothing of EXIF
    return _to_rgb8(compressed_pixels(record.data, flags, "a colour image"), cv2.COLOR_BGR2RGB)


def _to_rgb8(pixels: NDArray, conversion: int | None) -> NDArray[np.uint8]:
    rgb = pixels if conversion is None else np.asarray(cv2.cvtColor(pixels, conversion))
    if rgb.dtype == np.uint16:
        rgb = rgb.view(np.uint16) >> HIGH_BYTE
    return np.ascontiguousarray(rgb, dtype=np.uint8)
