# SPDX-License-Identifier: Apache-2.0
"""The paints of the synthetic room: one clear colour per family, and neutral tones for everything that is no object."""

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

# sRGB albedo. Each stays in its family when shaded to a half or exposed an eighth brighter.
FAMILIES = MappingProxyType(
    {
        "red": (206, 24, 30),
        "orange": (255, 106, 2),
        "yellow": (250, 212, 20),
        "green": (36, 146, 58),
        "turquoise": (18, 186, 172),
        "blue": (24, 100, 224),
        "purple": (122, 46, 164),
        "pink": (250, 122, 172),
        "brown": (112, 66, 30),
        "lime green": (130, 234, 40),
    }
)
# Families that a person may call by one word; a room holds at most one of a pair and never asks for the other.
ALIKE = (frozenset({"green", "lime green"}),)

WALL = (226, 224, 219)
CEILING = (240, 240, 238)
FLOOR = (152, 150, 146)
FURNITURE = ((222, 221, 218), (190, 189, 187), (120, 120, 121), (88, 88, 90))
SOFA = (110, 112, 115)
FRAME = (70, 70, 71)
PAPER = (236, 234, 226)
METAL = (150, 151, 153)


def linear(srgb: tuple[int, int, int]) -> NDArray[np.float64]:
    """Linear light [3], 0 to 1, of an sRGB colour 0 to 255."""
    value = np.asarray(srgb) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def srgb_bytes(light: NDArray[np.floating]) -> NDArray[np.uint8]:
    """sRGB uint8 of linear light, clipped to what can be shown."""
    value = np.clip(light, 0.0, 1.0)
    encoded = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255.0).astype(np.uint8)
