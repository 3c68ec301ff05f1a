# SPDX-License-Identifier: Apache-2.0
"""A text as words, and what of the tables of wording.py they begin with."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from ccl_lgs_ros.query.wording import (
    ARTICLES,
    CHOICES,
    COURTESY,
    COURTESY_BEFORE_ARTICLES,
    FAREWELLS,
    LINKS,
    LONGEST,
    ONE_NAME,
    ORDINALS,
    Spellings,
)

EDGES = '.,;:!?"()[]{}\u201c\u201d\u201e\u00ab\u00bb\u2026'  # punctuation around words

BACKWARDS = {way[::-1]: meaning for way, meaning in FAREWELLS.items()}
IN_NAMES = frozenset(word for name in ONE_NAME for word in name)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text."""

    text: str  # as written, without the punctuation around it
    plain: str  # as compared


Words = Sequence[Word]


def words_of(text: str) -> Words:
    """The words of a text, without the punctuation around them; "second-largest" is two."""
    words = [word_of(part) for raw in text.split() if (part := raw.strip(EDGES))]
    split: list[Word] = []
    for word in words:
        first, _, second = word.text.partition("-")
        is_choice = first.casefold() in ORDINALS and begins([word_of(second)], CHOICES)[0]
        split += [word_of(first), word_of(second)] if is_choice else [word]
    return split


def word_of(text: str) -> Word:
    """A word as it is compared: case, width and kind of apostrophe do not count."""
    return Word(text, unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'"))


def joined(words: Words) -> str:
    """The words as one text."""
    return " ".join(word.text for word in words)


def begins(words: Words, spellings: Spellings) -> tuple[str, int]:
    """What the words begin with, of a table, and how many words that takes; the longest spelling counts."""
    start = tuple(word.plain for word in words[:LONGEST])
    length = next((n for n in range(len(start), 0, -1) if start[:n] in spellings), 0)
    return spellings.get(start[:length], ""), length


def is_inside_name(words: Words, place: int) -> bool:
    """Whether a word belongs to a name that the grammar must not tear."""
    if words[place].plain not in IN_NAMES:
        return False
    for name in ONE_NAME:
        for start in range(max(0, place - len(name) + 1), place + 1):
            end = start + len(name)
            if tuple(word.plain for word in words[start:end]) == name:
                return end == len(words) or words[end].plain not in ARTICLES - LINKS
    return False


def without_articles(words: Words) -> Words:
    """The words without "the" and its like before them."""
    while len(words) > 1 and words[0].plain in ARTICLES:
        words = words[1:]
    return words


def without_links(words: Words) -> Words:
    """The words without "that is standing" at their end."""
    while len(words) > 1 and words[-1].plain in LINKS:
        words = words[:-1]
    return words


def without_courtesy(words: Words) -> Words:
    """The words without what people say around a request."""
    polite = after(words, COURTESY)
    bold = after(words, {**COURTESY, **COURTESY_BEFORE_ARTICLES})
    return without_farewell(bold if bold and bold[0].plain in ARTICLES else polite)


def without_farewell(words: Words) -> Words:
    """The words without "please" at their end."""
    return after(words[::-1], BACKWARDS)[::-1]


def after(words: Words, spellings: Spellings) -> Words:
    """The words after as much of a table as they begin with; at least one is left."""
    while 0 < (length := begins(words, spellings)[1]) < len(words):
        words = words[length:]
    return words
