# SPDX-License-Identifier: Apache-2.0
"""Raw colour images by cv_bridge where it is installed and proves itself, by our own decoder otherwise.

cv_bridge's binaries are made for one numpy; with another they raise, or crash. So another process tries them first
(`python -m ccl_lgs_ros.ros.cv_bridge_decoder`), on a picture in every encoding that our decoder knows. What cv_bridge
refuses, and compressed images, whose formats it does not tell apart, are left to our decoder, which has the last word.
Recordings are read by ours alone: they give the same pixels wherever they are read.
"""

import importlib
import importlib.util
import logging
import subprocess
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.ingest.images import COLOUR_ENCODINGS, ColourDecoder, decode_colour
from ccl_lgs_ros.ingest.records import ImageRecord

logger = logging.getLogger(__name__)

CHECK_TIMEOUT = 30.0  # seconds; a cold start on a slow disk
CHECK_SIZE = (8, 6)  # pixels of the picture of the self-check
CHECK_ROW = 72  # bytes: room for four channels of two bytes, and padding of whole pixels of every encoding
TOLERANCE = 1  # of 255: cv_bridge rounds 16-bit colours, ours keep the high byte


def choose_colour_decoder() -> ColourDecoder:
    """cv_bridge before our decoder where it passes its self-check, ours alone where not; says which at most once."""
    if importlib.util.find_spec("cv_bridge") is None:
        return decode_colour
    fault = self_check_fault()
    if fault:
        logger.warning("cv_bridge is installed but of no use (%s); images are read by our own decoder", fault)
        return decode_colour
    logger.info("raw colour images are read by cv_bridge")
    return CvBridgeDecoder()


class CvBridgeDecoder:
    """Decodes as ingest.images.decode_colour, by cv_bridge first."""

    def __init__(self) -> None:
        self._bridge = importlib.import_module("cv_bridge").CvBridge()

    def __call__(self, record: ImageRecord) -> NDArray[np.uint8]:
        """The image as RGB uint8 [H, W, 3].

        Raises:
            DecodeError: of our decoder, if neither can read it.
        """
        image = None if record.is_compressed else self.converted(record)
        return decode_colour(record) if image is None else image

    def converted(self, record: ImageRecord) -> NDArray[np.uint8] | None:
        """What cv_bridge makes of a raw image, None where it refuses or gives no picture of that size.

        Rows whose padding is no whole number of pixels it would read askew.
        """
        try:
            dtype, channels = self._bridge.encoding_to_dtype_with_channels(record.encoding)
            if record.step % (np.dtype(dtype).itemsize * channels):
                return None
            image: Any = self._bridge.imgmsg_to_cv2(record, "rgb8")
        except Exception:  # its own error, and those of numpy and OpenCV behind it
            return None
        is_rgb8 = isinstance(image, np.ndarray) and image.dtype == np.uint8
        is_whole = is_rgb8 and image.shape == (record.height, record.width, 3) and image.size > 0
        return np.ascontiguousarray(image) if is_whole else None


def self_check_fault() -> str:
    """What is wrong with cv_bridge, found by another process; '' where nothing is."""
    command = [sys.executable, "-m", __name__]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"its self-check did not end within {CHECK_TIMEOUT:.0f} s"
    said = done.stderr.strip().splitlines()
    if done.returncode < 0:
        return f"it crashes with signal {-done.returncode}"
    return (said[-1] if said else f"exit code {done.returncode}") if done.returncode else ""


def self_check(decoder: CvBridgeDecoder) -> str:
    """The encodings that come out wrong, in a sentence; '' where cv_bridge may be used."""
    records = [_picture(encoding) for encoding in COLOUR_ENCODINGS]
    found = {record.encoding: (decoder.converted(record), decode_colour(record)) for record in records}
    wrong = [e for e, (image, ours) in found.items() if image is not None and _apart(image, ours) > TOLERANCE]
    if wrong:
        return f"it reads {', '.join(wrong)} wrongly"
    return "" if any(image is not None for image, _ in found.values()) else "it reads none of the common encodings"


def _picture(encoding: str) -> ImageRecord:
    width, height = CHECK_SIZE
    data = np.random.default_rng(0).integers(0, 256, height * CHECK_ROW, np.uint8)
    return ImageRecord(
        stamp_ns=1, frame_id="check", encoding=encoding, width=width, height=height, step=CHECK_ROW, data=data
    )


def _apart(image: NDArray[np.uint8], ours: NDArray[np.uint8]) -> int:
    return int(np.abs(image.astype(int) - ours).max())


if __name__ == "__main__":
    sys.exit(self_check(CvBridgeDecoder()) or 0)
