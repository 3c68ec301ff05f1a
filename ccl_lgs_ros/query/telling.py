# SPDX-License-Identifier: Apache-2.0
"""Phrases told to people, and as texts that read as the same phrase."""

from collections.abc import Callable

from ccl_lgs_ros.answers import Phrase
from ccl_lgs_ros.query.wording import ORDINALS

NUMERALS = {rank: word for word, rank in ORDINALS.items() if word.isalpha()}


def told(phrase: Phrase) -> str:
    """A phrase for people: names in quotes, in brackets what belongs together.

    >>> told(Phrase(words="book", relation="on", anchors=(Phrase(words="table"),)))
    'the "book" on the "table"'
    """
    return quoted(phrase.words) if phrase == Phrase(words=phrase.words) else _written(phrase, quoted, "({})".format)


def text_of(phrase: Phrase) -> str:
    """A phrase as a text that reads as the same phrase."""
    return _written(phrase, str, str)


def quoted(name: str) -> str:
    """A name in quotes."""
    return f'"{name}"'


def _written(phrase: Phrase, name: Callable[[str], str], inner: Callable[[str], str]) -> str:
    """The phrase, with its names and the phrases inside it as two functions write them."""

    def within(other: Phrase) -> str:
        text = _written(other, name, inner)
        return inner(text) if other.anchors or other.whole else text

    choice = f"{NUMERALS[phrase.rank]} {phrase.choice}" if phrase.rank > 1 else phrase.choice
    said = " ".join(part for part in ("the", choice, name(phrase.words)) if part)
    if phrase.whole:
        return f"{said} of {within(phrase.whole)}"
    if phrase.anchors:
        return f"{said} {phrase.relation or 'to'} {' and '.join(within(anchor) for anchor in phrase.anchors)}"
    return said
