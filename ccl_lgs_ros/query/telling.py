# SPDX-License-Identifier: Apache-2.0
"""Phrases told to people, and as texts that read as the same phrase."""

from collections.abc import Callable

from ccl_lgs_ros.answers import Phrase
from ccl_lgs_ros.query.wording import ORDINALS

_Writes = Callable[[str], str]
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


def told_place(phrase: Phrase) -> str:
    """Where the thing of a phrase is, for people: 'on the "table"'; '' where nothing is said."""
    return _tail(phrase, quoted, "({})".format)


def quoted(name: str) -> str:
    """A name in quotes."""
    return f'"{name}"'


def _written(phrase: Phrase, name: _Writes, inner: _Writes) -> str:
    """The phrase, with its names and the phrases inside it as two functions write them."""
    choice = f"{NUMERALS[phrase.rank]} {phrase.choice}" if phrase.rank > 1 else phrase.choice
    return " ".join(part for part in ("the", choice, name(phrase.words), _tail(phrase, name, inner)) if part)


def _tail(phrase: Phrase, name: _Writes, inner: _Writes) -> str:
    """What comes after the name."""

    def within(other: Phrase) -> str:
        text = _written(other, name, inner)
        return inner(text) if other.anchors or other.whole else text

    if phrase.whole:
        return f"of {within(phrase.whole)}"
    if phrase.anchors:
        relation = phrase.relation or ("from" if phrase.choice == "farthest" else "to")
        return f"{relation} {' and '.join(within(anchor) for anchor in phrase.anchors)}"
    return ""
