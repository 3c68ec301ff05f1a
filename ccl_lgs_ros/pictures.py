# SPDX-License-Identifier: Apache-2.0
"""Pictures that people look at: masks and heat over photos, captions, sheets of pictures. Images are RGB uint8."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.lettering import Colour, line_height, wrapped, write

Image = NDArray[Any]  # [H, W, 3] uint8

MASK_COLOUR = (255, 64, 180)  # magenta: rare in rooms
PAPER, INK, FAINT = (24, 24, 24), (240, 240, 240), (165, 165, 165)
HEAT_SHARE = 0.75  # of the colours in a heat map; the rest is the grey picture under it
FULL_FROM = 0.25  # relevancy; what has less shows more of the grey, as it says little
LEGEND_WIDTH = 88
TEXT = 15  # pixels: letters of a caption
PAD = 6


def with_mask(image: Image, mask: NDArray[np.bool_], colour: Colour = MASK_COLOUR, is_tinted: bool = True) -> Image:
    """The image with a mask outlined and, unless told otherwise, tinted."""
    drawn = image.copy()
    if is_tinted:
        drawn[mask] = (0.6 * drawn[mask] + 0.4 * np.array(colour, np.float32)).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(drawn, contours, -1, colour, 2, cv2.LINE_AA)


def heat(relevancy: NDArray[np.floating], image: Image | None = None) -> Image:
    """Relevancy [H, W] in [0, 1] as colours, over the grey of the image if there is one."""
    colours = cv2.applyColorMap((np.clip(relevancy, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    colours = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    if image is None:
        return colours
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    share = HEAT_SHARE * np.clip(relevancy / FULL_FROM, 0.0, 1.0)[..., None]
    return ((1 - share) * grey + share * colours + 0.5).astype(np.uint8)


def legend(height: int, threshold: float | None = None) -> Image:
    """What the colours of a heat map mean, as a column: 1 on top, 0 below, the threshold marked if there is one."""
    column = np.full((height, LEGEND_WIDTH, 3), PAPER, np.uint8)
    top, bottom, left, right = TEXT, height - TEXT, 8, 26
    values = np.linspace(1.0, 0.0, bottom - top)[:, None].repeat(right - left, axis=1)
    column[top:bottom, left:right] = heat(values, np.full((*values.shape, 3), 128, np.uint8))

    def row(value: float) -> int:
        return round(top + (1.0 - value) * (bottom - top - 1))

    half = line_height(TEXT) // 2
    mark = None if threshold is None else row(float(np.clip(threshold, 0.0, 1.0)))
    for value in (0.0, 0.5, 1.0):
        if mark is None or abs(row(value) - mark) > 3 * half:
            write(column, f"{value:g}", right + 8, row(value) - half, TEXT, FAINT)
    if mark is None:
        return column
    cv2.line(column, (left - 4, mark), (right + 5, mark), INK, 2)
    first = int(np.clip(mark - half, 0, height - 4 * half))
    write(column, f"{threshold:.2f}", right + 8, first, TEXT, INK)
    write(column, "needed", right + 8, first + 2 * half, TEXT - 3, INK)
    return column


def captioned(image: Image, text: str, size: int = TEXT, colour: Colour = INK, is_above: bool = True) -> Image:
    """The image with a text on a dark bar above or below it, in as many lines as the text needs."""
    lines = wrapped(text, max(image.shape[1] - 2 * PAD, 1), size)
    bar = np.full((line_height(size) * len(lines) + PAD, image.shape[1], 3), PAPER, np.uint8)
    for number, line in enumerate(lines):
        write(bar, line, PAD, PAD // 2 + number * line_height(size), size, colour)
    return np.vstack([bar, image] if is_above else [image, bar])


def resized(image: Image, width: int) -> Image:
    """The image at another width."""
    height = round(image.shape[0] * width / image.shape[1])
    way = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=way)


def beside(*images: Image, columns: int = 0, gap: int = 0) -> Image:
    """Images side by side, in rows of `columns` (0 = one row); what is smaller than its cell is filled up."""
    columns = columns or len(images)
    rows = [images[i : i + columns] for i in range(0, len(images), columns)]
    widths = [max(image.shape[1] for image in images[i::columns]) + gap * (i < columns - 1) for i in range(columns)]
    heights = [max(image.shape[0] for image in row) + gap * (row is not rows[-1]) for row in rows]
    sheet = np.full((sum(heights), sum(widths), 3), PAPER, np.uint8)
    for row, top in zip(rows, np.cumsum([0, *heights]), strict=False):
        for image, left in zip(row, np.cumsum([0, *widths]), strict=False):
            sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def rendered_color(color: NDArray[np.floating]) -> Image:
    """Colours [H, W, 3] of a rendering as an image."""
    return (np.clip(color, 0, 1) * 255 + 0.5).astype(np.uint8)
