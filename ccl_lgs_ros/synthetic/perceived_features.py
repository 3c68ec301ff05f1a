# SPDX-License-Identifier: Apache-2.0
"""Language features as the image tower of a text-image model would give them, built on the model's real text vectors.

A feature is a sum of parts whose squared lengths are published or measured (docs/noise_model.md):

    cone       what all images share: the modality gap, and a little of what all texts share
    class      the thing's name: a small part along its text vector, a larger one that only images have
    instance   what sets this thing apart from its class
    drift      what changes smoothly with the direction and distance of the view
    view       what no two views share

and a mask's feature is the mix of what it covers, with a leak of what is around it. Cone and class are the space, not
noise: they stay at every strength.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from ccl_lgs_ros.synthetic.perceived_masks import neighbours
from ccl_lgs_ros.synthetic.perception_noise import PerceptionNoise, chance, size_difficulty
from ccl_lgs_ros.synthetic.shapes import Floats
from ccl_lgs_ros.synthetic.truth import FrameTruth

CONE = 0.55  # energy that all images share
TEXT_OF_CONE = 0.232  # of it, along the mean of all texts: image-text cosines of strangers are 0.2
CLASS_TEXT = 0.032  # energy along the text vector: matching image-text cosines are 0.29
CLASS_IMAGE = 0.148  # energy of the class that only images have
MEANING = 0.5  # share of the noise that lies where texts differ, so that it can be mistaken for meaning
WAVES = 32  # of a smooth random function
LOOK_ALIKES, SYNONYM, LIKENESS = 8, 0.85, 0.1  # names taken for each other; cosine of synonyms; softness of the choice
STABLE_CONFUSION = 0.5  # share of a confusion's chance that the view decides, the rest is luck
SPACE_SEED = 20505469  # the space is one, whatever the seed of the noise

# Names of the rooms that the tables of text vectors lack, as names that they have.
NEAR_NAMES = {
    "wall": ("house", "building", "window blind"),
    "floor": ("carpet", "doormat", "table"),
    "ceiling": ("ceiling fan", "lampshade", "building"),
    "picture": ("picture frame",),
    "rug": ("carpet",),
}


# Names of parts, as names that the tables have. Other parts are known by the thing alone.
PART_NAMES = {
    "handle": ("handle",),
    "shade": ("lampshade",),
    "lid": ("bottle cap", "cover"),
    "leg": ("wooden leg",),
    "back": ("headboard",),
    "seat": ("cushion",),
}
ONE_PART = 0.9  # share of a segment, of what it shows of a thing, in one of its parts, from which on it is that part


class ImageTower:
    """A synthetic image tower for the space of some text vectors.

    Args:
        names: of the texts, distinct.
        vectors: [n, D] of any length, a text each.
        noise: how far features are from the truth.
        seed: of everything random but the space.
        knows_parts: a segment of one part of a thing has the name of that part; not so in docs/noise_model.md.
    """

    def __init__(
        self,
        names: Sequence[str],
        vectors: NDArray[np.floating],
        noise: PerceptionNoise,
        seed: int,
        *,
        knows_parts: bool = False,
    ) -> None:
        unit = np.asarray(vectors, np.float64)
        self.texts = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        self.row = {name: index for index, name in enumerate(names)}
        self.noise, self.seed = noise, seed
        self._part_names = PART_NAMES if knows_parts else {}
        self.mean = self.texts.mean(0)
        spread = self.texts - self.mean
        self.contents = spread / np.linalg.norm(spread, axis=1, keepdims=True)
        space = np.random.default_rng(SPACE_SEED)
        self._turn = np.linalg.qr(space.normal(size=(self.dim, self.dim)))[0]
        self._cone = self._image_cone()
        self._drifts: dict[int, _Drift] = {}

    @property
    def dim(self) -> int:
        """D."""
        return self.texts.shape[1]

    def text(self, name: str) -> Floats:
        """[D] the unit text vector of a name, or of the names that come near it.

        Raises:
            KeyError: if there is none.
        """
        rows = [self.row[near] for near in {**NEAR_NAMES, **self._part_names}.get(name, (name,))]
        mean = self.texts[rows].mean(0)
        return mean / np.linalg.norm(mean)

    def knows(self, name: str) -> bool:
        """Whether a name can be asked for."""
        return name in self.row or name in self._part_names

    def features(self, truth: FrameTruth, labels: NDArray[np.integer], count: int, key: tuple[int, ...]) -> Tensor:
        """Unit features [M, D] of the segments 0 to count - 1 of a label map [H, W]; equal keys give equal features."""
        blur = self._blur(key)
        rows = np.zeros((count, self.dim))
        for segment in range(count):
            mask = labels == segment
            if mask.any():
                rows[segment] = self._segment(mask, truth, blur, key)
            else:
                rows[segment] = self._cone
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return torch.from_numpy(rows.astype(np.float32))

    def _segment(self, mask: NDArray[np.bool_], truth: FrameTruth, blur: float, key: tuple[int, ...]) -> Floats:
        """[D] what the tower makes of one masked crop."""
        random = np.random.default_rng([*key, 37, zlib.crc32(np.packbits(mask).tobytes())])
        covered, pixels = np.unique(truth.things[mask], return_counts=True)
        share = pixels / pixels.sum()
        small = size_difficulty(float(mask.mean()), self.noise.small_share)
        clear = (1.0 - small) * float(share @ truth.seen[covered]) * (1.0 - blur)
        difficulty = 1.0 - clear
        names = [self._name(int(thing), mask, truth) for thing in covered]
        contents = [
            self._content(int(t), truth, difficulty, key, random, name) for t, name in zip(covered, names, strict=True)
        ]
        inside = share @ np.stack(contents)
        around, rim = neighbours(mask, truth.things)
        leak = chance(self.noise.leak, max(small, blur))
        if len(around) and leak > 0:
            outside = (
                rim / rim.sum() @ np.stack([self._content(int(t), truth, difficulty, key, random) for t in around])
            )
            inside = (1.0 - leak) * inside + leak * outside
        view = np.sqrt(self.noise.view[0] + self.noise.view[1] * difficulty)
        return self._cone + inside + view * self._unmeant(random)

    def _content(
        self,
        thing: int,
        truth: FrameTruth,
        difficulty: float,
        key: tuple[int, ...],
        random: np.random.Generator,
        part: str = "",
    ) -> Floats:
        """[D] what a thing adds to the cone from here: its class or a look-alike's, itself, and the view.

        Args:
            part: the one part of it that is shown, if it is one that has a name of its own.
        """
        drift = self._drift(thing)
        vector, luck = drift.at(truth.viewpoint[thing])
        luck = np.sqrt(STABLE_CONFUSION) * luck + np.sqrt(1.0 - STABLE_CONFUSION) * random.normal()
        meaning = self._meaning(part or truth.names[thing])
        if ndtr(luck) < chance(self.noise.confusion, difficulty):
            meaning = self._look_alike(meaning, random)
        own = np.sqrt(CLASS_TEXT) * meaning + np.sqrt(CLASS_IMAGE) * self._turn @ meaning
        return own + np.sqrt(self.noise.instance) * drift.instance + np.sqrt(self.noise.drift) * vector

    def _name(self, thing: int, mask: NDArray[np.bool_], truth: FrameTruth) -> str:
        """The part of a thing that a mask shows of it, where that is one part of several in view and has a name."""
        if not self._part_names:
            return ""
        of_thing = truth.things == thing
        shown, pixels = np.unique(truth.parts[mask & of_thing], return_counts=True)
        names = np.array([truth.part_names[part] for part in shown])
        name = str(names[pixels.argmax()])
        in_view = np.isin(truth.parts[of_thing], np.flatnonzero(np.array(truth.part_names) == name)).mean()
        is_one = pixels[names == name].sum() >= ONE_PART * pixels.sum() and in_view < ONE_PART
        return name if is_one and name in self._part_names else ""

    def _meaning(self, name: str) -> Floats:
        """[D] the unit direction in which a name differs from all names."""
        spread = self.text(name) - self.mean
        return spread / np.linalg.norm(spread)

    def _look_alike(self, meaning: Floats, random: np.random.Generator) -> Floats:
        likeness = self.contents @ meaning
        near = np.argsort(-np.where(likeness > SYNONYM, -1.0, likeness), kind="stable")[:LOOK_ALIKES]
        weight = np.exp((likeness[near] - likeness[near].max()) / LIKENESS)
        return self.contents[random.choice(near, p=weight / weight.sum())]

    def _drift(self, thing: int) -> "_Drift":
        if thing not in self._drifts:
            self._drifts[thing] = _Drift(self, np.random.default_rng([self.seed, 41, thing]))
        return self._drifts[thing]

    def _blur(self, key: tuple[int, ...]) -> float:
        """How blurred a frame is, 0 to 1."""
        random = np.random.default_rng([*key, 43])
        return float(random.uniform(0.3, 1.0)) if random.random() < self.noise.blurred else 0.0

    def _image_cone(self) -> Floats:
        """[D] the mean of all images: a gap across all that texts say, and a little of what all of them share."""
        center = self.mean / np.linalg.norm(self.mean)
        spread = self.texts - self.mean
        silent = np.linalg.eigh(spread.T @ spread)[1][:, 0]  # the direction in which texts differ least
        silent = silent * np.sign(silent.sum()) if silent.sum() else silent
        gap = silent - (silent @ center) * center
        gap *= np.sqrt(CONE - TEXT_OF_CONE**2) / np.linalg.norm(gap)
        return gap + TEXT_OF_CONE * center

    def _unmeant(self, random: np.random.Generator) -> Floats:
        """[D] a random unit vector, part of which looks like meaning."""
        return unmeant(self.contents, random)


class _Drift:
    """What is one thing's own: a constant, and a smooth random function of the view."""

    def __init__(self, tower: ImageTower, random: np.random.Generator) -> None:
        scale = np.array([tower.noise.drift_angle] * 3 + [tower.noise.drift_distance])
        self.instance = unmeant(tower.contents, random)
        self._directions = np.stack([unmeant(tower.contents, random) for _ in range(WAVES)])
        self._frequency = random.normal(size=(2 * WAVES, 4)) / scale
        self._phase = random.uniform(0, 2 * np.pi, 2 * WAVES)

    def at(self, viewpoint: Floats) -> tuple[Floats, float]:
        """[D] of about unit length, and a standard normal number; both change smoothly with the viewpoint [4]."""
        waves = np.sqrt(2.0 / WAVES) * np.cos(self._frequency @ viewpoint + self._phase)
        return waves[:WAVES] @ self._directions, float(waves[WAVES:].sum())


def unmeant(contents: Floats, random: np.random.Generator) -> Floats:
    """[D] a random unit vector: part of it a mix of the unit contents [n, D], the rest in any direction."""
    mixed = random.normal(size=len(contents)) @ contents
    anywhere = random.normal(size=contents.shape[1])
    vector = np.sqrt(MEANING) * mixed / np.linalg.norm(mixed) + np.sqrt(1.0 - MEANING) * anywhere / np.linalg.norm(
        anywhere
    )
    return vector / np.linalg.norm(vector)
