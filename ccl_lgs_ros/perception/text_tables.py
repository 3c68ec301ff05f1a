# SPDX-License-Identifier: Apache-2.0
"""Text vectors of names, made beforehand by some text encoder: a language space without that encoder.

A table is a pair of files: vectors as .npy, one per name, and the names in the same order. A name may have synonyms
("mug/cup") and a sense in brackets ("bat_(animal)"). What a prompt says beyond the known names is not understood.
"""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.errors import ConfigError

FILLERS = frozenset(
    re.findall(r"\w+", "a an the of on in at by to with and or for from near next my your some any that this is are")
)
SPLITS_NAMES = re.compile(r"[/,;|]")
IN_BRACKETS = re.compile(r"\([^)]*\)")
NO_WORD = re.compile(r"[^\w]+|_+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextTable:
    """Names and their text vectors."""

    vectors: Tensor  # [M, D] unit rows
    rows: dict[str, tuple[int, ...]]  # normalised name -> the rows that it names, in singular and as written

    @property
    def dim(self) -> int:
        return self.vectors.shape[1]

    @property
    def mean(self) -> Tensor:  # [D] not of unit length
        """The middle of all rows: what stands for a thing of no particular kind."""
        return self.vectors.mean(dim=0)

    def knows(self, phrase: str) -> bool:
        """Whether the phrase as a whole is a name here."""
        return self._key(phrase) is not None

    def vector(self, phrase: str) -> Tensor:
        """The unit vector [D] of a name: the mean over the rows that it names.

        Raises:
            KeyError: if there is no such name.
        """
        key = self._key(phrase)
        if key is None:
            raise KeyError(phrase)
        return torch.nn.functional.normalize(self.vectors[list(self.rows[key])].mean(dim=0), dim=0)

    def names_in(self, text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names that a text holds, the longest first taken, and the words that belong to none, both in order.

        A text that is a name as a whole is that name alone. Articles and prepositions are in neither.
        """
        words = normalised(text).split()
        found: list[tuple[int, str]] = []
        is_open = [True] * len(words)
        for length in range(len(words), 0, -1):
            for start in range(len(words) - length + 1):
                span = slice(start, start + length)
                phrase = " ".join(words[span])
                if all(is_open[span]) and phrase not in FILLERS and self.knows(phrase):
                    found.append((start, phrase))
                    is_open[span] = [False] * length
        unknown = [word for word, is_left in zip(words, is_open, strict=True) if is_left and word not in FILLERS]
        return tuple(phrase for _, phrase in sorted(found)), tuple(unknown)

    def _key(self, phrase: str) -> str | None:
        as_written = normalised(phrase)
        for key in (as_written, singular(as_written)):
            if key in self.rows:
                return key
        return None


def read_text_tables(option: str) -> TextTable:
    """The table that the option perception.text_tables names: one or more pairs of files, joined.

    Args:
        option: "VECTORS.npy=NAMES", more after commas; NAMES as text lines, a json list, or csv (its last column).
            Vectors are [M, D] or [D, M], of any length and floating type.

    Raises:
        ConfigError: if the option names no pair, a file cannot be read, or the files do not fit each other.
    """
    files = table_files(option)
    blocks: list[NDArray[np.float32]] = []
    rows: dict[str, list[int]] = {}
    for vectors_path, names_path in zip(files[::2], files[1::2], strict=True):
        names = read_names(names_path)
        blocks.append(read_vectors(vectors_path, len(names)))
        if blocks[-1].shape[1] != blocks[0].shape[1]:
            lengths = f"{blocks[0].shape[1]} and {blocks[-1].shape[1]}"
            raise ConfigError(f"the tables of perception.text_tables hold vectors of different length: {lengths}")
        first = sum(len(block) for block in blocks[:-1])
        for row, name in enumerate(names, start=first):
            for key in {key for synonym in synonyms(name) for key in (synonym, singular(synonym))}:
                rows.setdefault(key, []).append(row)
    vectors = torch.from_numpy(np.concatenate(blocks))
    return TextTable(vectors=vectors, rows={key: tuple(which) for key, which in rows.items()})


def table_files(option: str) -> list[Path]:
    """The files of all pairs in turn: vectors, names, vectors, names, ...

    Raises:
        ConfigError: if the option names no pair.
    """
    pairs = [pair.strip() for pair in option.split(",") if pair.strip()]
    if not pairs or any(pair.count("=") != 1 for pair in pairs):
        raise ConfigError("option 'perception.text_tables' needs VECTORS.npy=NAMES, more after commas")
    return [Path(part.strip()).expanduser() for pair in pairs for part in pair.split("=")]


def read_vectors(path: Path, count: int) -> NDArray[np.float32]:
    """The unit rows [M, D] of a .npy file with M vectors as rows or columns.

    Raises:
        ConfigError: if the file cannot be read or does not hold `count` vectors.
    """
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"cannot read text vectors from {path}: expected a .npy file of numbers") from error
    if vectors.ndim != 2 or count not in vectors.shape or not np.issubdtype(vectors.dtype, np.floating):
        raise ConfigError(
            f"{path} holds {vectors.dtype} {vectors.shape}, expected one vector for each of {count} names"
        )
    vectors = (vectors if vectors.shape[0] == count else vectors.T).astype(np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(length).all() or not length.all():
        raise ConfigError(f"{path} holds vectors that are zero or not finite")
    return vectors / length


def read_names(path: Path) -> list[str]:
    """The names of a file, in order: lines of text, a json list of strings or of objects with a name, or csv.

    Raises:
        ConfigError: if the file cannot be read as such, or holds no name.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            names = [item["name"] if isinstance(item, dict) else item for item in json.loads(text)]
        elif path.suffix == ".csv":
            names = [cells[-1] for cells in csv.reader(text.splitlines()) if cells]
        else:
            names = text.splitlines()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"cannot read names from {path}: expected text lines, a json list or csv") from error
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path} holds no list of names")
    return [name.strip() for name in names]


def synonyms(name: str) -> tuple[str, ...]:
    """The normalised names that an entry stands for, without repetition: "Bowl/Basin" is bowl and basin.

    What is in brackets is a sense and no part of the name; what follows the brackets is another name.
    """
    parts = [
        part for alternative in SPLITS_NAMES.split(IN_BRACKETS.sub("/", name)) for part in [normalised(alternative)]
    ]
    return tuple(dict.fromkeys(part for part in parts if part))


def normalised(text: str) -> str:
    """The words of a text in lower case, one space apart."""
    return " ".join(NO_WORD.sub(" ", text).casefold().split())


def singular(phrase: str) -> str:
    """The phrase with its last word in the singular, by the regular rules of English."""
    before, space, word = phrase.rpartition(" ")
    if len(word) > 3 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return before + space + word
