# SPDX-License-Identifier: Apache-2.0
"""Depth images of every common encoding to float32 metres, NaN where unknown."""

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.images import compressed_pixels, raw_pixels
from ccl_lgs_ros.ingest.records import ImageRecord
from ccl_lgs_ros.ingest.rvl import decode_rvl

METRES_PER_UNIT = 0.001  # REP-118: integer depth is in millimetres
SATURATED = 65535  # what sensors write where they saw nothing or too far
HEADER = struct.Struct("<iff")  # compressedDepth: format, then the two quantisation parameters
JPEG_MAGIC = b"\xff\xd8"


def decode_depth(record: ImageRecord, *, depth_scale: float = 0.0) -> NDArray[np.float32]:
    """The depth [H, W] in metres along z; NaN for 0, 65535, negative and non-finite values.

    Args:
        record: raw (16UC1, mono16, 32FC1) or compressed (PNG, compressedDepth with PNG or RVL).
        depth_scale: metres per unit; 0 = by encoding.

    Raises:
        DecodeError: saying what was expected and what came.
    """
    if record.is_compressed:
        return _decode_compressed(record, depth_scale)
    if record.encoding in ("16UC1", "mono16"):
        return _from_units(raw_pixels(record, channels=1, dtype=np.uint16), depth_scale)
    if record.encoding == "32FC1":
        return _cleaned(raw_pixels(record, channels=1, dtype=np.float32) * np.float32(depth_scale or 1.0))
    raise DecodeError(f"cannot read depth images of encoding '{record.encoding}'; known: 16UC1, mono16, 32FC1")


def limited(depth: NDArray[np.float32], *, depth_min: float, depth_max: float) -> NDArray[np.float32]:
    """The depth with what is nearer or farther made unknown."""
    with np.errstate(invalid="ignore"):
        is_kept = (depth >= depth_min) & (depth <= depth_max)
    return np.where(is_kept, depth, np.float32(np.nan))


def _decode_compressed(record: ImageRecord, depth_scale: float) -> NDArray[np.float32]:
    data = np.frombuffer(record.data, dtype=np.uint8)
    is_float = record.format.startswith("32FC1")
    if "compressedDepth" not in record.format:
        if data[:2].tobytes() == JPEG_MAGIC:
            raise DecodeError(
                "depth sent as JPEG is destroyed by the compression; record or republish it raw or as compressedDepth"
            )
        if is_float:
            raise DecodeError("expected 32FC1 depth as compressedDepth, got a plain image; republish it")
        return _from_units(_png16(data), depth_scale)
    if data.size <= HEADER.size:
        raise DecodeError(f"expected compressedDepth of more than {HEADER.size} bytes, got {data.size}")
    _, quant_a, quant_b = HEADER.unpack(data[: HEADER.size].tobytes())
    units = _units(data[HEADER.size :], record.format)
    return _dequantised(units, quant_a, quant_b, depth_scale) if is_float else _from_units(units, depth_scale)


def _units(payload: NDArray[np.uint8], sent_as: str) -> NDArray[np.uint16]:
    if "rvl" in sent_as.lower():
        return decode_rvl(payload)
    if payload[:2].tobytes() == JPEG_MAGIC:
        raise DecodeError("depth sent as JPEG is destroyed by the compression; set the transport's format to png")
    return _png16(payload)


def _png16(data: NDArray[np.uint8]) -> NDArray[np.uint16]:
    pixels = compressed_pixels(data, cv2.IMREAD_UNCHANGED, "16-bit depth")
    if pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise DecodeError(f"expected depth of one 16-bit channel, got {pixels.dtype} {pixels.shape}")
    return pixels


def _dequantised(units: NDArray[np.uint16], a: float, b: float, depth_scale: float) -> NDArray[np.float32]:
    """Inverse-depth quantisation as compressed_depth_image_transport does it: depth = a / (unit - b); 0 unknown."""
    with np.errstate(divide="ignore"):
        depth = np.float32(a) / (units.astype(np.float32) - np.float32(b))
    return _cleaned(np.where(units == 0, np.float32(np.nan), depth) * np.float32(depth_scale or 1.0))


def _from_units(units: NDArray[np.uint16], depth_scale: float) -> NDArray[np.float32]:
    depth = units.astype(np.float32) * np.float32(depth_scale or METRES_PER_UNIT)
    return _cleaned(np.where(units == SATURATED, np.float32(np.nan), depth))


def _cleaned(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float32)
