# SPDX-License-Identifier: Apache-2.0
"""The size that a JPEG or PNG says it has, read before it is decoded: a few bytes may claim a gigabyte of pixels."""

import struct

MAX_PIXELS = 1 << 26  # of what is worth decoding; a camera's are fewer
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_SIZE = struct.Struct(">II")  # width, height
PNG_SIZE_AT = 16
JPEG_MAGIC = b"\xff\xd8"
JPEG_SIZE = struct.Struct(">HH")  # height, width
JPEG_SIZE_AT = 5  # bytes after a frame's marker began: the marker, the length, a byte of precision
FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the others of that range are tables
LONELY_MARKERS = {0x01, *range(0xD0, 0xD8)}  # no length follows


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Width and height; None where the data is neither a JPEG nor a PNG, or ends before it says."""
    if data.startswith(PNG_MAGIC) and len(data) >= PNG_SIZE_AT + PNG_SIZE.size:
        width, height = PNG_SIZE.unpack_from(data, PNG_SIZE_AT)
        return width, height
    return _jpeg_size(data) if data.startswith(JPEG_MAGIC) else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = len(JPEG_MAGIC)
    while at + JPEG_SIZE_AT + JPEG_SIZE.size <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in FRAME_MARKERS:
            height, width = JPEG_SIZE.unpack_from(data, at + JPEG_SIZE_AT)
            return width, height
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in LONELY_MARKERS:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
