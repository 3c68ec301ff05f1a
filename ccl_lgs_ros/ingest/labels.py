# SPDX-License-Identifier: Apache-2.0
"""Label images of simulators and detectors: one value per pixel that names the thing seen there, 0 for none."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.images import compressed_pixels, raw_pixels
from ccl_lgs_ros.ingest.records import ImageRecord

# Encodings of label images and the type of their values.
LABEL_TYPES: dict[str, type[np.generic]] = {
    "mono8": np.uint8,
    "8UC1": np.uint8,
    "8SC1": np.int8,
    "mono16": np.uint16,
    "16UC1": np.uint16,
    "16SC1": np.int16,
    "32SC1": np.int32,
}
MAX_LABEL = 65535  # what a stored label image holds


def label_values(record: ImageRecord) -> NDArray[np.integer]:
    """The values [H, W] of a label image as they were sent.

    Raises:
        DecodeError: if it has more than one value per pixel, or cannot be read.
    """
    if record.is_compressed:
        if any(name in record.format.lower() for name in ("jpeg", "jpg")):
            raise DecodeError("labels sent as JPEG are destroyed by the compression; send them raw or as PNG")
        pixels, kind = compressed_pixels(record.data, cv2.IMREAD_UNCHANGED, "a label image"), record.format
    elif record.encoding in LABEL_TYPES:
        return raw_pixels(record, channels=1, dtype=LABEL_TYPES[record.encoding])
    else:
        pixels, kind = np.zeros(0, np.uint8), record.encoding
    if pixels.ndim != 2:
        raise DecodeError(f"a label image holds one value per pixel ({', '.join(LABEL_TYPES)} or PNG), got {kind}")
    return pixels


def decode_labels(record: ImageRecord) -> NDArray[np.int32]:
    """The thing [H, W] of each pixel, 0 none, up to 65535.

    Negative values are none. Where a value is too large, all are renumbered from 1 in their order, in this image alone.

    Raises:
        DecodeError: if the image cannot be read.
    """
    values = np.maximum(label_values(record).astype(np.int64), 0)
    if values.max() > MAX_LABEL:
        values = np.searchsorted(np.union1d(values, [0]), values)
    return values.astype(np.int32)
