# SPDX-License-Identifier: Apache-2.0
"""An encoder for small robots: any image classifier, and a table of text vectors that gives its classes a meaning.

A feature is the sum of the text vectors of the likeliest classes, each times its probability, so that a prompt finds
things of classes that the classifier does not have, yet the table has near it (ConSE: Norouzi et al., 2014). It differs
from ConSE where the crops of segments in a room measured better:

- The table's mean is taken out of all vectors, because text vectors of any two names are alike (cosine 0.75 and more).
- The sum is not stretched to unit length. What it lacks goes to one dimension more, for what was left unsaid, so that a
  doubtful segment is near to no name.
- Probabilities are the geometric mean over three crops: masked, whole, with surroundings. What one crop alone suggests
  is mostly wrong.
- Classes that come up in many segments of an image count less: they are what the classifier says to the room.
"""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.answers import Prompt
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.perception.classifier_runtime import Classifier, runtime_lack
from ccl_lgs_ros.perception.text_relevancy import negative_texts, text_relevancy
from ccl_lgs_ros.perception.text_tables import TextTable, read_names, read_text_tables, synonyms, table_files

VERSION = "1"  # of everything below that decides what a feature is
CROPS = ((0.0, True), (0.0, False), (0.4, False))  # margin as a share of the longer side; background greyed out
GREY = 128
LEAST_PROBABILITY = 1.0 / 512.0  # half a step of 8-bit probabilities: what is written for 0 in geometric means
ROOM_DISCOUNT = 0.5  # power of a class's share in the image that its probability is divided by
ROOM_DOUBT = 8.0  # segments of no particular class that are counted into those shares
SAID = 0.25  # length of a sum that counts as 63 % said
THRESHOLD = 0.9  # between what is there and what is not in the map of a kitchen, see docs/measured.md


class ClassifierEncoder:
    """Segments and texts in the space of a table of text vectors.

    Args:
        encoder_model: path of a .tflite or .onnx image classifier.
        classifier_labels: path of its class names, a line each; synonyms by commas.
        classifier_top: the most classes that make a feature.
        text_tables: as `read_text_tables` takes them.
        encoder_batch: crops that are held at once.
        negatives, relevancy, sharpness: as `text_relevancy` takes them. The middle of the table stands for negatives
            that are not in it.

    Raises:
        ConfigError: if a file is missing, damaged or does not fit the others.
        MissingDependencyError: if the runtime of the classifier is not installed.
    """

    def __init__(
        self,
        *,
        encoder_model: str,
        classifier_labels: str,
        classifier_top: int,
        text_tables: str,
        encoder_batch: int,
        negatives: str,
        relevancy: str,
        sharpness: float,
    ) -> None:
        self._table = read_text_tables(text_tables)
        self._classifier = Classifier(encoder_model)
        self._labels = read_names(Path(classifier_labels).expanduser())
        self._vectors, self._classes = class_vectors(self._table, self._labels)
        if len(self._classes) == 0:
            raise ConfigError(f"no class of {classifier_labels} has a name in the tables of perception.text_tables")
        self._top, self._batch = min(classifier_top, len(self._classes)), encoder_batch
        self._form, self._sharpness = relevancy, sharpness
        self._negatives = negative_vectors(self._table, negative_texts(negatives))
        files = [Path(encoder_model), Path(classifier_labels), *table_files(text_tables)]
        self._identity = f"classifier/{_fingerprint(files, f'{VERSION} {classifier_top}')}"
        self._image_key = b""
        self._known: dict[bytes, NDArray[np.float32]] = {}  # probabilities of the last image's segments

    @staticmethod
    def is_available(encoder_model: str, classifier_labels: str, text_tables: str) -> str:
        lack = runtime_lack(encoder_model)
        if lack:
            return lack
        if not classifier_labels or not text_tables:
            return "a classifier needs the options perception.classifier_labels and perception.text_tables"
        return ""

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def dim(self) -> int:
        return self._table.dim + 1

    @property
    def threshold(self) -> float:
        return THRESHOLD

    def encode_segments(self, image: NDArray[np.uint8], labels: Tensor, count: int) -> Tensor:
        """Unit features [M, D] of the segments 0 to count - 1 of a label map [H, W].

        Each depends a little on the others of the image, see ROOM_DISCOUNT. The last dimension is what was left unsaid:
        all of it where a segment has no pixel.
        """
        label = labels.cpu().numpy()
        if label.shape != image.shape[:2]:
            raise ValueError(f"labels: expected {image.shape[:2]}, got {label.shape}")
        if count == 0:
            return torch.zeros(0, self.dim)
        probabilities = discounted(self._probabilities(image, label, count))
        named = torch.from_numpy(probabilities[:, self._classes])
        share, place = named.topk(self._top, dim=1)
        return with_unsaid((share[..., None] * self._vectors[place]).sum(dim=1))

    def understand(self, text: str) -> Prompt:
        """The mean of the table's names in a text, with the words that are in none."""
        names, unknown = self._table.names_in(text)
        feature = torch.zeros(self.dim)
        if names:
            centred = normalize(torch.stack([centred_vector(self._table, name) for name in names]), dim=1)
            feature[:-1] = normalize(centred.mean(dim=0), dim=0)
        return Prompt(text=text, feature=feature, unknown_words=unknown, encoder=self.identity)

    def relevancy(self, features: Tensor, prompt: Prompt) -> Tensor:
        """How much each feature [..., D] looks like the prompt rather than like a thing of no particular kind."""
        if not prompt.is_understood:
            return torch.zeros(features.shape[:-1])
        return text_relevancy(features, prompt.feature, self._negatives, sharpness=self._sharpness, form=self._form)

    def _probabilities(self, image: NDArray[np.uint8], label: NDArray, count: int) -> NDArray[np.float32]:
        """The classes' probabilities [M, C] of each segment; 0 where it has no pixel."""
        image_key = hashlib.blake2b(image.tobytes()).digest()
        if image_key != self._image_key:
            self._image_key, self._known = image_key, {}
        keys = [hashlib.blake2b(np.packbits(label == segment).tobytes()).digest() for segment in range(count)]
        new = [segment for segment in range(count) if keys[segment] not in self._known]
        step = max(self._batch // len(CROPS), 1)
        for start in range(0, len(new), step):
            some = new[start : start + step]
            for segment, probabilities in zip(some, self._classified(image, label, some), strict=True):
                self._known[keys[segment]] = probabilities
        return np.stack([self._known[key] for key in keys])

    def _classified(self, image: NDArray[np.uint8], label: NDArray, segments: list[int]) -> NDArray[np.float32]:
        found = np.zeros((len(segments), len(self._labels)), np.float32)
        masks = [label == segment for segment in segments]
        seen = [place for place, mask in enumerate(masks) if mask.any()]
        if seen:
            size = self._classifier.size
            crops = np.stack([square_crop(image, masks[p], size, margin, grey) for p in seen for margin, grey in CROPS])
            each = self._classifier.probabilities(crops)
            if each.shape[1] != len(self._labels):
                count = len(self._labels)
                raise ConfigError(f"perception.classifier_labels has {count} lines, the model {each.shape[1]} classes")
            found[seen] = agreed(each.reshape(len(seen), len(CROPS), -1))
        return found


def class_vectors(table: TextTable, labels: list[str]) -> tuple[Tensor, Tensor]:
    """The unit vectors [n, D], the table's mean taken out, and the numbers [n] int64 of the classes that have one.

    A class has the mean of those of its synonyms that are names in the table, or else of the names within them:
    "coffee mug" is as much mug as coffee.
    """
    vectors, classes = [], []
    for number, label in enumerate(labels):
        names = [name for name in synonyms(label) if table.knows(name)]
        names = names or [name for synonym in synonyms(label) for name in table.names_in(synonym)[0]]
        if names:
            vectors.append(torch.stack([centred_vector(table, name) for name in names]).mean(dim=0))
            classes.append(number)
    rows = normalize(torch.stack(vectors), dim=1) if vectors else torch.zeros(0, table.dim)
    return rows, torch.tensor(classes, dtype=torch.int64)


def centred_vector(table: TextTable, name: str) -> Tensor:
    """The vector [D] of a name from the middle of the table, not of unit length."""
    return table.vector(name) - table.mean


def negative_vectors(table: TextTable, texts: tuple[str, ...]) -> Tensor:
    """What a prompt must beat [P, D]: the texts that are names; one row of zeros, the middle, for all others."""
    known = [normalize(centred_vector(table, text), dim=0) for text in texts if table.knows(text)]
    rows = known + [torch.zeros(table.dim)] * (len(known) < len(texts))
    return torch.nn.functional.pad(torch.stack(rows), (0, 1))


def with_unsaid(sums: Tensor) -> Tensor:
    """Unit features [M, D + 1] of sums [M, D] that are at most 1 long: the longer, the more was said.

    Lengths are bent to 1 - exp(-length / SAID), because even what is recognised has small probabilities after the
    agreement of crops.
    """
    length = sums.norm(dim=1, keepdim=True)
    said = 1.0 - torch.exp(-length / SAID)
    return torch.cat([normalize(sums, dim=1) * said, (1.0 - said.square()).clamp_min(0.0).sqrt()], dim=1)


def agreed(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The geometric mean [M, C] over views [M, S, C], which adds up to 1 or to 0."""
    mean = np.exp(np.log(probabilities + LEAST_PROBABILITY).mean(axis=1)) - LEAST_PROBABILITY
    return _normalised(np.maximum(mean, 0.0))


def discounted(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [M, C] with what is common to the segments of an image counted less."""
    count, classes = probabilities.shape
    share = (probabilities.sum(axis=0) + ROOM_DOUBT / classes) / (count + ROOM_DOUBT)
    return _normalised(probabilities / share**ROOM_DISCOUNT)


def square_crop(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], size: tuple[int, int], margin: float, is_masked: bool
) -> NDArray[np.uint8]:
    """A square around a mask, scaled to size [rows, columns]; grey outside of the image, and of the mask if asked."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    side = round(float(longer) * (1.0 + 2.0 * margin))
    top, left = ((line[0] + line[-1] + 1 - side) // 2 for line in (rows, columns))
    square = np.full((side, side, 3), GREY, np.uint8)
    here = slice(max(top, 0), min(top + side, image.shape[0])), slice(max(left, 0), min(left + side, image.shape[1]))
    there = tuple(slice(part.start - first, part.stop - first) for part, first in zip(here, (top, left), strict=True))
    square[there] = np.where(mask[here][..., None], image[here], GREY) if is_masked else image[here]
    how = cv2.INTER_AREA if side > min(size) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size[1], size[0]), interpolation=how), np.uint8)


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows that add up to 1; rows of zeros stay."""
    total = rows.sum(axis=1, keepdims=True)
    return np.divide(rows, total, out=np.zeros_like(rows), where=total > 0)


def _fingerprint(files: list[Path], more: str) -> str:
    digest = hashlib.sha256(more.encode())
    for file in files:
        digest.update(hashlib.sha256(file.expanduser().read_bytes()).digest())
    return digest.hexdigest()[:12]
