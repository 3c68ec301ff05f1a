# SPDX-License-Identifier: Apache-2.0
"""The pixels of a stored keyframe: JPEG colour, PNG depth in millimetres, PNG labels. No torch."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.durable import disk_errors

MILLIMETRES = 1000.0  # per metre
MAX_STORED_MM = 65534  # 65535 means unknown to some cameras, so it is never written


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


def read_image(path: Path) -> NDArray[np.uint8]:
    """An RGB image [H, W, 3]; raises MapError where the file cannot be read."""
    return np.ascontiguousarray(cv2.cvtColor(_pixels(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def read_depth(path: Path) -> NDArray[np.float32]:
    """Depth [H, W] in metres, NaN where unknown; raises MapError where the file cannot be read."""
    stored = _pixels(path, cv2.IMREAD_UNCHANGED)
    return np.where(stored == 0, np.float32(np.nan), stored.astype(np.float32) / np.float32(MILLIMETRES))


def read_labels(path: Path) -> NDArray[np.int32]:
    """Labels [H, W]; raises MapError where the file cannot be read."""
    return _pixels(path, cv2.IMREAD_UNCHANGED).astype(np.int32)


def _pixels(path: Path, mode: int) -> NDArray:
    with disk_errors("read", path):
        content = np.fromfile(path, np.uint8)
    pixels = cv2.imdecode(content, mode) if len(content) else None
    if pixels is None:
        raise MapError(f"{path} is damaged; restore it from a copy, or capture the map again")
    return pixels


def _encoded(kind: str, pixels: NDArray, parameters: list[int]) -> bytes:
    is_done, content = cv2.imencode(kind, pixels, parameters)
    assert is_done
    return content.tobytes()
