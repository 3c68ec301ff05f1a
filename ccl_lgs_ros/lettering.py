# SPDX-License-Identifier: Apache-2.0
"""Text in pictures: any script that a font of this machine knows, wrapped, never cut."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

# Fonts with more than Latin letters, tried in this order where Pillow's own lacks a letter of the text.
WIDER_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "unifont.otf")
UNKNOWN = "\uffff"  # no font has a letter for it
LINE, DEPTH = 1.4, 0.35  # height of a line, and of what is under its letters, by their size

Colour = tuple[int, int, int]


def ink(text: str, size: int) -> NDArray[np.uint8]:
    """One line of text as coverage [h, w], 0 to 255; h depends on the size alone."""
    return _drawn(text, _font_for(text, size))


def text_width(text: str, size: int) -> int:
    """Pixels that a line of text takes."""
    return max(1, int(np.ceil(_font_for(text, size).getlength(text))))


def line_height(size: int) -> int:
    """Pixels from one line of text to the next."""
    return round(LINE * size)


def wrapped(text: str, width: int, size: int) -> list[str]:
    """A text in lines no wider than so many pixels, broken between words, within one only where it is too long."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if text_width(longer, size) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            *whole, line = _pieces(word, width, size)
            lines += whole
        lines.append(line)
    return lines


def write(image: NDArray[np.uint8], text: str, left: int, top: int, size: int, colour: Colour) -> None:
    """Draw one line of text into an image [H, W, 3]; what lies outside of it is left out."""
    cover = ink(text, size)
    top_row, left_column = max(top, 0), max(left, 0)
    bottom, right = max(image.shape[0] - top, 0), max(image.shape[1] - left, 0)
    cover = cover[top_row - top : bottom, left_column - left : right]
    if cover.size == 0:
        return
    patch = image[top_row : top_row + cover.shape[0], left_column : left_column + cover.shape[1]]
    share = cover[..., None].astype(np.float32) / 255.0
    patch[:] = (patch * (1.0 - share) + np.array(colour, np.float32) * share + 0.5).astype(np.uint8)


def _pieces(word: str, width: int, size: int) -> list[str]:
    """A word in pieces that fit; each has a letter at least."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and text_width(pieces[-1] + letter, size) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """The first font that has every letter of a text, or of those that are here the one that lacks the fewest."""
    lacking = {name: sum(_lacks(name, letter) for letter in set(text)) for name in _fonts()}
    return _font(min(lacking, key=lambda name: lacking[name]), size)


@lru_cache(maxsize=1)
def _fonts() -> tuple[str, ...]:
    """The fonts that are here; '' is Pillow's own."""
    found = [""]
    for name in WIDER_FONTS:
        try:
            ImageFont.truetype(name, 12)
        except OSError:
            continue
        found.append(name)
    return tuple(found)


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


@lru_cache(maxsize=4096)
def _lacks(name: str, letter: str) -> bool:
    """Whether a font draws a letter as it draws what it has no letter for."""
    font = _font(name, 16)
    return not letter.isspace() and np.array_equal(_drawn(letter, font), _drawn(UNKNOWN, font))


def _drawn(text: str, font: ImageFont.FreeTypeFont) -> NDArray[np.uint8]:
    """A line of text as coverage, its letters on one height."""
    size = round(font.size)
    picture = Pictures.new("L", (max(1, int(np.ceil(font.getlength(text)))), line_height(size)))
    ImageDraw.Draw(picture).text((0, round((LINE - DEPTH) * size)), text, fill=255, font=font, anchor="ls")
    return np.asarray(picture)
