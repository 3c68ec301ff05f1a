# SPDX-License-Identifier: Apache-2.0
"""Colour families: regions of CIELAB that are held by the colour names which people gave them.

`colour_names.csv` lists the 949 names of the XKCD colour survey, the sRGB value that each stands for, the family
it belongs to and whether the word is a colour, a thing, or either. It was made by a rule (the head word of the name,
"dark grass *green*", then lightness, hue and saturation; names without a head word by their nearest neighbours) and
then reviewed by hand. A name holds no region when its sample looks like
another family ("midnight" is as good as black).
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray

TABLE = "colour_names.csv"

# How far a prompt that names a family accepts another one: 1 as if it were named, 0.5 undecided, absent not at all.
# A plain word takes its shades ("red" takes claret, "blue" takes navy), a shade does not take the plain colour
# ("light blue" never takes blue), and a neighbour that people would argue about stays below 0.5.
ACCEPTED: dict[str, dict[str, float]] = {
    "red": {"dark red": 0.95},
    "dark red": {"red": 0.4},
    "orange": {"peach": 0.2},
    "brown": {"beige": 0.2},
    "beige": {"brown": 0.2, "peach": 0.2},
    "peach": {"pink": 0.4, "beige": 0.2},
    "pink": {"magenta": 0.7, "peach": 0.4, "lilac": 0.2},
    "magenta": {"pink": 0.6, "purple": 0.3},
    "purple": {"lilac": 0.75, "magenta": 0.3},
    "lilac": {"purple": 0.4, "pink": 0.2},
    "yellow": {"olive": 0.2},
    "olive": {"dark green": 0.2},
    "lime": {"light green": 0.3, "green": 0.3},
    "green": {"dark green": 0.95, "light green": 0.85, "lime": 0.7, "grey green": 0.4, "olive": 0.4},
    "dark green": {"green": 0.4, "olive": 0.2},
    "light green": {"green": 0.4, "lime": 0.4},
    "grey green": {"green": 0.3},
    "turquoise": {"cyan": 0.85},
    "cyan": {"turquoise": 0.6, "light blue": 0.5},
    "light blue": {"cyan": 0.9, "grey blue": 0.45, "turquoise": 0.45, "blue": 0.4},
    "blue": {"dark blue": 0.95, "light blue": 0.75, "cyan": 0.45, "grey blue": 0.45, "turquoise": 0.2},
    "dark blue": {"blue": 0.4},
    "grey blue": {"blue": 0.3, "light blue": 0.3},
    "black": {"dark grey": 0.6},
    "dark grey": {"black": 0.6, "grey": 0.4},
    "grey": {"dark grey": 0.85, "light grey": 0.85},
    "light grey": {"grey": 0.6, "white": 0.4},
    "white": {"light grey": 0.6},
}
FAMILIES = tuple(ACCEPTED)
NEUTRALS = frozenset({"black", "dark grey", "grey", "light grey", "white"})

# The space in which names are neighbours. A change of exposure scales chroma and lightness together, so saturation
# (chroma over lightness) and hue stay as they are; lightness is kept at a discount.
DARK_OFFSET = 24.0  # lightness that steadies the saturation of dark colours; CIELAB's own constant is 16
NOISE_LIGHTNESS = 20.0  # lightness at which half of the saturation that is seen is believed
SATURATION_KNEE = 0.15  # saturations below hardly count, those above count logarithmically
LIGHTNESS_WEIGHT = 1.0  # length of the axis from black to white, where the hue circles reach a radius of about 2
NAME_RADIUS = 0.12  # how far around a name its meaning fades
TAIL = 3.0  # how fast it fades far from every name: slowly, so that colours without a name belong nowhere clearly


@dataclass(frozen=True, slots=True, eq=False)
class ColourTable:
    """The colour names with their families, sorted by family in the order of FAMILIES."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]  # "colour", "thing" (apple) or "either" (salmon)
    families: NDArray[np.int64]  # [B] index into FAMILIES
    points: NDArray[np.float32]  # [R, 3] in the space of `perceived`, of the names that hold a region
    starts: NDArray[np.int64]  # [F] first point of each family


@cache
def colour_table() -> ColourTable:
    """The committed table; read once."""
    text = resources.files("ccl_lgs_ros.perception").joinpath(TABLE).read_text(encoding="utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    rows.sort(key=lambda row: FAMILIES.index(row["family"]))
    families = np.array([FAMILIES.index(row["family"]) for row in rows])
    rgb = np.array([[int(row["srgb"][i : i + 2], 16) for i in (1, 3, 5)] for row in rows], np.float32)
    holds = np.array([row["holds_region"] == "yes" for row in rows])
    return ColourTable(
        names=tuple(row["name"] for row in rows),
        kinds=tuple(row["kind"] for row in rows),
        families=families,
        points=perceived(lab_of(rgb[holds])),
        starts=np.searchsorted(families[holds], np.arange(len(FAMILIES))),
    )


def lab_of(rgb: NDArray) -> NDArray[np.float32]:
    """CIELAB [..., 3] of sRGB [..., 3] from 0 to 255."""
    unit = np.ascontiguousarray(rgb, dtype=np.float32).reshape(-1, 1, 3) / 255.0
    return np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB), np.float32).reshape(np.shape(rgb))


def perceived(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """CIELAB [..., 3] as hue and saturation in a plane, and discounted lightness [..., 3]."""
    lightness = np.maximum(lab[..., :1], 0.0)
    plane = lab[..., 1:] / (lightness + DARK_OFFSET) * (lightness / (lightness + NOISE_LIGHTNESS))
    saturation = np.linalg.norm(plane, axis=-1, keepdims=True)
    plane = plane / np.maximum(saturation, 1e-6) * np.log1p((saturation / SATURATION_KNEE) ** 2) / 2.0
    return np.concatenate([plane, lightness / 100.0 * LIGHTNESS_WEIGHT], axis=-1).astype(np.float32)


def memberships(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much each colour [B, 3] belongs to each family [B, F]; rows sum to 1.

    A family is as near as its nearest name, so that a family of few names is not outvoted by one of many.
    """
    table = colour_table()
    points = perceived(lab)
    squared = (points**2).sum(1)[:, None] + (table.points**2).sum(1)[None] - 2.0 * points @ table.points.T
    nearest = np.minimum.reduceat(squared, table.starts, axis=1)
    nearest = np.maximum(nearest, 0.0)
    weight = (1.0 + nearest / (2.0 * TAIL * NAME_RADIUS**2)) ** -TAIL
    return weight / weight.sum(axis=1, keepdims=True)


def acceptance(family: int) -> NDArray[np.float32]:
    """How far a prompt that names this family accepts each family [F]."""
    row = np.zeros(len(FAMILIES), np.float32)
    row[family] = 1.0
    for name, degree in ACCEPTED[FAMILIES[family]].items():
        row[FAMILIES.index(name)] = degree
    return row
