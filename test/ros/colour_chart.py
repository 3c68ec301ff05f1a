# SPDX-License-Identifier: Apache-2.0
"""One colour chart in every encoding, as a driver would send it, with what may be seen of it."""

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.ingest.images import COLOUR_ENCODINGS
from ccl_lgs_ros.ingest.records import ColourRecord

PATCH, ROWS, COLUMNS = 16, 4, 6  # pixels; patches
SIZE = (COLUMNS * PATCH, ROWS * PATCH)  # width and height
MARGIN = 3  # pixels at a patch's border that a demosaicing mixes with its neighbours
STUDIO_LUMA = np.array([65.481, 128.553, 24.966]) / 255  # BT.601, as cameras send YUV
STUDIO_CHROMA = np.array([[-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
GREY = np.array([0.299, 0.587, 0.114])
SITES = {"rggb": (0, 1, 1, 2), "bggr": (2, 1, 1, 0), "gbrg": (1, 2, 0, 1), "grbg": (1, 0, 2, 1)}
PAIRS = {"yuv422": 1, "uyvy": 1, "yuv422_yuy2": 0, "yuyv": 0}  # encodings of two pixels that share a colour: where Y is
GREYS = ("mono8", "8UC1", "mono16", "16UC1")
FILLER = 77  # of padding


def chart() -> NDArray[np.uint8]:
    """Patches [H, W, 3] RGB of 24 colours: black, white, primaries, pastels, dark tones."""
    colours = np.random.default_rng(24).integers(0, 256, (ROWS, COLUMNS, 3))
    colours[0] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]]
    return colours.repeat(PATCH, axis=0).repeat(PATCH, axis=1).astype(np.uint8)


def grey() -> NDArray[np.uint8]:
    """The chart without colours, still three channels."""
    return np.repeat(np.round(chart() @ GREY)[..., None], 3, axis=-1).astype(np.uint8)


def inside() -> NDArray[np.bool_]:
    """Pixels [H, W] that lie well within their patch."""
    v, u = (np.arange(size) % PATCH for size in SIZE[::-1])
    well_v, well_u = ((x >= MARGIN) & (x < PATCH - MARGIN) for x in (v, u))
    return well_v[:, None] & well_u[None, :]


def encoded(encoding: str, *, padding: int = 0, is_bigendian: bool = False) -> ColourRecord:
    """The chart as a message; padding in bytes per row."""
    pixels = _pixels(encoding)
    if is_bigendian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8).reshape(SIZE[1], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=FILLER)
    return ColourRecord(
        stamp_ns=1,
        frame_id="camera",
        encoding=encoding,
        width=SIZE[0],
        height=SIZE[1],
        step=rows.shape[1],
        is_bigendian=is_bigendian,
        data=rows.tobytes(),
    )


def expected(encoding: str) -> NDArray[np.uint8]:
    """What decoding should give; of two bytes the lower one says nothing."""
    return grey() if encoding in GREYS else chart()


def _pixels(encoding: str) -> NDArray:
    assert encoding in COLOUR_ENCODINGS
    if encoding in PAIRS:
        return _luma_and_chroma(luma=PAIRS[encoding])
    if encoding.startswith("bayer"):
        pixels = _mosaic(SITES[encoding[6:10]])
    elif encoding in GREYS:
        pixels = grey()[..., 0]
    else:
        is_rgb = encoding.startswith("rgb")
        pixels = chart() if is_rgb else chart()[..., ::-1]
        if "a" in encoding or "C4" in encoding:
            pixels = np.concatenate([pixels, np.full((*pixels.shape[:2], 1), FILLER, np.uint8)], axis=-1)
    return pixels.astype(np.uint16) * 256 + FILLER if "16" in encoding else pixels


def _mosaic(sites: tuple[int, ...]) -> NDArray[np.uint8]:
    mosaic = np.zeros(SIZE[::-1], np.uint8)
    for i, channel in enumerate(sites):
        mosaic[i // 2 :: 2, i % 2 :: 2] = chart()[i // 2 :: 2, i % 2 :: 2, channel]
    return mosaic


def _luma_and_chroma(luma: int) -> NDArray[np.uint8]:
    pixels = np.zeros((*SIZE[::-1], 2))
    pixels[..., luma] = chart() @ STUDIO_LUMA + 16
    chroma = chart() @ STUDIO_CHROMA.T + 128
    pixels[:, ::2, 1 - luma], pixels[:, 1::2, 1 - luma] = chroma[:, ::2, 0], chroma[:, 1::2, 1]
    return np.round(pixels).astype(np.uint8)
