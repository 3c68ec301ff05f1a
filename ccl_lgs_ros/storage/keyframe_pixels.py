# SPDX-License-Identifier: Apache-2.0
"""The pixels of a stored keyframe: JPEG colour, PNG depth in millimetres, PNG labels. No torch."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.picture_header import MAX_PIXELS, stated_size
from ccl_lgs_ros.storage.durable import disk_errors

MILLIMETRES = 1000.0  # per metre
MAX_STORED_MM = 65534  # 65535 means unknown to some cameras, so it is never written


class EncodedPixels(NamedTuple):
    """The pixels of a keyframe as they lie on the disk."""

    image: bytes  # JPEG
    depth: bytes  # PNG, millimetres; empty for none
    labels: bytes  # PNG; empty for none

    @staticmethod
    def of(keyframe: Keyframe, jpeg_quality: int) -> "EncodedPixels":
        """A keyframe's pixels encoded; raises MapError where the labels do not fit."""
        return EncodedPixels(
            encoded_image(keyframe.image, jpeg_quality), encoded_depth(keyframe.depth), encoded_labels(keyframe.labels)
        )

    @property
    def num_bytes(self) -> int:
        return sum(len(content) for content in self)


def encoded_image(image: NDArray[np.uint8], quality: int) -> bytes:
    """An RGB image [H, W, 3] as JPEG of a quality from 1 to 100."""
    return _encoded(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])


def encoded_depth(depth: NDArray[np.float32] | None) -> bytes:
    """Depth [H, W] in metres as PNG; empty for none. What 16 bits of millimetres cannot hold becomes unknown."""
    if depth is None:
        return b""
    millimetres = np.rint(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * MILLIMETRES)
    known = (millimetres > 0) & (millimetres <= MAX_STORED_MM)
    return _encoded(".png", np.where(known, millimetres, 0).astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 1])


def encoded_labels(labels: NDArray[np.int32] | None) -> bytes:
    """Labels [H, W] as PNG; empty for none.

    Raises:
        MapError: if they are not from 0 to 65535.
    """
    if labels is None:
        return b""
    if labels.size and not 0 <= labels.min() <= labels.max() <= np.iinfo(np.uint16).max:
        raise MapError(f"labels: expected 0 to 65535, got {labels.min()} to {labels.max()}")
    return _encoded(".png", labels.astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 1])


def decoded_image(content: bytes) -> NDArray[np.uint8]:
    """An RGB image [H, W, 3]; raises ValueError where there is none to read."""
    return np.ascontiguousarray(cv2.cvtColor(_decoded(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def decoded_depth(content: bytes) -> NDArray[np.float32]:
    """Depth [H, W] in metres, NaN where unknown; raises ValueError where there is none to read."""
    stored = _decoded(content, cv2.IMREAD_UNCHANGED)
    return np.where(stored == 0, np.float32(np.nan), stored.astype(np.float32) / np.float32(MILLIMETRES))


def decoded_labels(content: bytes) -> NDArray[np.int32]:
    """Labels [H, W]; raises ValueError where there are none to read."""
    return _decoded(content, cv2.IMREAD_UNCHANGED).astype(np.int32)


def read_image(path: Path) -> NDArray[np.uint8]:
    """An RGB image [H, W, 3]; raises MapError where the file cannot be read."""
    return _read(path, decoded_image)


def read_depth(path: Path) -> NDArray[np.float32]:
    """Depth [H, W] in metres, NaN where unknown; raises MapError where the file cannot be read."""
    return _read(path, decoded_depth)


def read_labels(path: Path) -> NDArray[np.int32]:
    """Labels [H, W]; raises MapError where the file cannot be read."""
    return _read(path, decoded_labels)


def _read(path: Path, decoded: Callable[[bytes], NDArray]) -> NDArray:
    with disk_errors("read", path):
        content = path.read_bytes()
    try:
        return decoded(content)
    except ValueError:
        raise MapError(f"{path} is damaged; restore it from a copy, or capture the map again") from None


def _decoded(content: bytes, mode: int) -> NDArray:
    width, height = stated_size(content) or (0, 0)
    if width * height > MAX_PIXELS:
        raise ValueError(f"expected at most {MAX_PIXELS} pixels, got {width}x{height}")
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), mode) if width * height else None
    except cv2.error as error:
        raise ValueError(f"expected a JPEG or PNG, got {error}") from error
    if pixels is None:
        raise ValueError("expected a JPEG or PNG, got something else")
    return pixels


def _encoded(kind: str, pixels: NDArray, parameters: list[int]) -> bytes:
    is_done, content = cv2.imencode(kind, pixels, parameters)
    assert is_done
    return content.tobytes()
