# SPDX-License-Identifier: Apache-2.0
"""What is asked and what is answered: a prompt as an encoder understood it, the things that match, their boxes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.structures import NONE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """A text as the encoder understood it."""

    text: str
    feature: Tensor  # [D] unit, or zeros where nothing was understood
    unknown_words: tuple[str, ...] = ()
    encoder: str = ""

    @property
    def is_understood(self) -> bool:
        return bool(self.feature.any())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Box:
    """An oriented box in the world: world_from_box turns its axes, size runs along them."""

    center: NDArray[np.float64]  # [3] metres
    rotation: NDArray[np.float64]  # [3, 3] world_from_box
    size: NDArray[np.float64]  # [3] metres, full lengths


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instance:
    """One thing that matched a prompt."""

    id: int  # of the thing, the same from snapshot to snapshot
    level: str
    score: float  # relevancy in [0, 1]
    centroid: NDArray[np.float64]  # [3] metres, world
    box: Box
    gaussian_ids: Tensor  # [n] int64, valid for the map's version only
    entry: int = NONE
    surface_point: NDArray[np.float64] | None = None  # [3] metres, world: the nearest that can be seen of it
    surface_normal: NDArray[np.float64] | None = None  # [3] unit, world, towards who can see it
    keyframe_ids: tuple[int, ...] = ()  # that show it best, best first
    uncertainty: float | None = None  # in [0, 1]: how little its Gaussians' labels are trusted; None = not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A thing as a text describes it: "the largest red mug on the table" is a choice, words, a relation, an anchor."""

    words: str  # what the encoder is asked for
    choice: str = ""  # which of several: "largest", "leftmost"; '' all
    rank: int = 1  # by that choice: 2 is the second largest
    relation: str = ""  # to the anchors: "on", "next to"; '' with anchors, the choice is measured from them
    anchors: tuple["Phrase", ...] = ()
    whole: "Phrase | None" = None  # the thing that it is a part of


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a text was understood."""

    text: str
    phrase: Phrase
    sentence: str  # for people: what was understood, or why the text was taken as the name of one thing
    is_plain: bool  # the whole text is the name of one thing
    is_doubtful: bool = False  # it looks like more than a name, and no rule fits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What a map says to a prompt; an absent thing has no instances and a best score below the threshold."""

    prompt: Prompt
    instances: tuple[Instance, ...]  # best first
    best_score: float
    threshold: float
    level: str
    map_version: int
    message: str
    reading: Reading | None = None
