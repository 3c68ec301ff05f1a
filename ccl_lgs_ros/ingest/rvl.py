# SPDX-License-Identifier: Apache-2.0
"""RVL, the run-length and variable-length depth code that compressedDepth may carry.

Source: Wilson, "Fast Lossless Depth Image Compression", 2017. A stream of numbers, each in groups of three bits with a
flag that more follow: how many zeros, how many depths, then the zigzag differences of those depths; again until done.
"""

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import DecodeError

SIZE_BYTES = 8  # the width and height before the stream, as compressed_depth_image_transport writes them
MAX_PIXELS = 1 << 24  # more is a damaged header, not a camera
MAX_GROUPS = 8  # groups of three bits in a number of up to 24 bits


def decode_rvl(payload: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The depth units [H, W] of a size (two little-endian int32: width, height) and an RVL stream.

    Raises:
        DecodeError: if the size is implausible or the stream ends early.
    """
    if payload.size < SIZE_BYTES:
        raise DecodeError(f"expected RVL depth of at least {SIZE_BYTES} bytes, got {payload.size}")
    width, height = (int(x) for x in np.frombuffer(payload[:SIZE_BYTES].tobytes(), dtype="<i4"))
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise DecodeError(f"expected RVL depth of a plausible size, got {width}x{height}")
    numbers = _numbers(payload[SIZE_BYTES:])
    return _filled(numbers, width * height).reshape(height, width)


def _filled(numbers: NDArray[np.int64], num_pixels: int) -> NDArray[np.uint16]:
    differences = np.zeros(num_pixels, dtype=np.int64)
    is_known = np.zeros(num_pixels, dtype=bool)
    zigzag = (numbers >> 1) ^ -(numbers & 1)
    pixel, at = 0, 0
    while pixel < num_pixels:
        if at + 1 >= len(numbers):
            raise DecodeError(f"the RVL depth ends after {pixel} of {num_pixels} pixels")
        pixel += int(numbers[at])
        run = int(numbers[at + 1])
        at += 2
        if pixel + run > num_pixels or at + run > len(numbers):
            raise DecodeError(f"the RVL depth is damaged at pixel {pixel} of {num_pixels}")
        differences[pixel : pixel + run] = zigzag[at : at + run]
        is_known[pixel : pixel + run] = True
        pixel, at = pixel + run, at + run
    return np.where(is_known, np.cumsum(differences), 0).astype(np.uint16)


def _numbers(stream: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Every number of the stream, whatever it means; words are little-endian, nibbles high first."""
    words = np.frombuffer(stream[: stream.size // 4 * 4].tobytes(), dtype="<u4")
    shifts = np.arange(28, -4, -4, dtype=np.uint32)
    nibbles = ((words[:, None] >> shifts) & 0xF).astype(np.int64).ravel()
    is_last = (nibbles & 0x8) == 0
    ends = np.flatnonzero(is_last)
    if not len(ends):
        return np.zeros(0, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= MAX_GROUPS:
        raise DecodeError("the RVL depth is damaged: a number does not end")
    nibbles = nibbles[: ends[-1] + 1]
    position = np.arange(len(nibbles)) - np.repeat(starts, ends - starts + 1)
    return np.add.reduceat((nibbles & 0x7) << (3 * position), starts)
