# SPDX-License-Identifier: Apache-2.0
"""Stands for cv_bridge, which no package index has: its two functions that we call, with what they do and refuse."""

import cv2
import numpy as np

COLOURS = {
    "rgb": (3, None),
    "bgr": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
    "mono": (1, cv2.COLOR_GRAY2RGB),
    "bayer_rggb": (1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr": (1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg": (1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg": (1, cv2.COLOR_BayerGRBG2RGB),
}
PAIRS = {"yuv422": cv2.COLOR_YUV2RGB_UYVY, "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2}
OF_A_LATER_VERSION = "gbr8"


class CvBridgeError(TypeError):
    """As cv_bridge's."""


class CvBridge:
    """As cv_bridge's: rows are cut by whole pixels, 16 bits become 8 by rounding."""

    def encoding_to_dtype_with_channels(self, encoding):
        if encoding in PAIRS:
            return "uint8", 2
        if encoding == OF_A_LATER_VERSION:
            return "uint8", 3
        name, bits = encoding.rstrip("0123456789"), encoding.lstrip("abcdefghijklmnopqrstuvwxyz_")
        if name not in COLOURS or bits not in ("8", "16"):
            raise CvBridgeError(f"Unrecognized image encoding [{encoding}]")
        return f"uint{bits}", COLOURS[name][0]

    def imgmsg_to_cv2(self, message, desired_encoding="passthrough"):
        assert desired_encoding == "rgb8"
        dtype, channels = self.encoding_to_dtype_with_channels(message.encoding)
        per_row = int(message.step / np.dtype(dtype).itemsize / channels)
        shape = (message.height, per_row) if channels == 1 else (message.height, per_row, channels)
        pixels = np.ndarray(shape=shape, dtype=dtype, buffer=message.data)[:, : message.width]
        if message.is_bigendian:
            raise AttributeError("`newbyteorder` was removed from the ndarray class in NumPy 2.0")
        if message.encoding == OF_A_LATER_VERSION:
            return pixels[..., [2, 0, 1]]
        code = PAIRS.get(message.encoding) or COLOURS[message.encoding.rstrip("0123456789")][1]
        image = np.ascontiguousarray(pixels) if code is None else cv2.cvtColor(np.ascontiguousarray(pixels), code)
        return image if image.dtype == np.uint8 else np.rint(image * (255 / 65535)).astype(np.uint8)
