# SPDX-License-Identifier: Apache-2.0
"""Pictures that are part of the page's text, so that the page is one file."""

import base64
from typing import NamedTuple

import cv2

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.pictures import Image, resized

QUALITY = 84  # of JPEG; more is not seen at these sizes


class Inside(NamedTuple):
    """A picture as the template shows it."""

    uri: str
    width: int  # pixels
    height: int


def inside(image: Image, most_width: int = 0) -> Inside:
    """An RGB image, made narrower where it is wider than so many pixels (0 = as it is)."""
    shown = resized(image, most_width) if 0 < most_width < image.shape[1] else image
    is_done, data = cv2.imencode(".jpg", cv2.cvtColor(shown, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not is_done:
        raise MapError(f"a picture of {shown.shape[1]}x{shown.shape[0]} pixels cannot be written as JPEG")
    text = base64.b64encode(data.tobytes()).decode()
    return Inside(f"data:image/jpeg;base64,{text}", shown.shape[1], shown.shape[0])
