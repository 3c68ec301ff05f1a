# SPDX-License-Identifier: Apache-2.0
"""Finds the colour names in a text and lists the words that mean nothing here."""

import re
import unicodedata
from functools import cache

from ccl_lgs_ros.perception.colour_families import colour_table

SYNONYMS: dict[str, str] = {
    "gray": "grey",
    "grayish": "greyish",
    "whitish": "white",
    "blackish": "black",
    "lightgrey": "light grey",
}
# fmt: off
MODIFIERS = frozenset({
    "light", "dark", "pale", "bright", "deep", "very", "really", "quite", "rather", "medium", "mid", "dull", "muted",
    "soft", "vivid", "pastel", "neon", "faded", "dusty", "dusky", "rich", "strong", "warm", "cool", "intense",
    "saturated", "slightly", "somewhat",
})
# Words that carry no meaning of their own beside a colour; they are neither understood nor unknown.
FUNCTION_WORDS = frozenset({
    "a", "an", "the", "this", "that", "these", "those", "some", "any", "all", "every", "my", "your", "our", "their",
    "his", "her", "its", "of", "in", "on", "at", "by", "to", "and", "or", "with", "for", "is", "are", "there",
    "please", "find", "show", "me", "where", "which",
    "colour", "color", "coloured", "colored", "colours", "colors",
})
# fmt: on
COLOURED = frozenset(["colour", "color", "coloured", "colored"])


@cache
def _names() -> tuple[dict[tuple[str, ...], int], dict[tuple[str, ...], int], int]:
    """Rows of the table by words: names that are colours, all names, and the longest name's word count."""
    table = colour_table()
    every: dict[tuple[str, ...], int] = {}
    for row, name in enumerate(table.names):
        every.setdefault(words_of(name), row)
    for row, name in enumerate(table.names):  # "grey/green" must not hide "grey green"
        if "/" not in name:
            every[words_of(name)] = row
    colours = {words: row for words, row in every.items() if table.kinds[row] != "thing"}
    return colours, every, max(map(len, every))


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in plain lower case, without punctuation, in the table's spelling."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'").replace("'", "")
    words: list[str] = re.findall(r"[^\W_]+", plain)
    return tuple(part for word in words for part in SYNONYMS.get(word, word).split())


def colours_in(text: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The colour names in a text as rows of the table, and the words that are unknown.

    Names are found greedily, longest first. A word that is a colour or a thing ("rose") is the thing when it directly
    follows a colour ("red rose"). A thing that lends its name to a colour ("tea") is that colour only when the
    text says nothing else ("tea") or says so ("tea coloured box").
    """
    words = words_of(text)
    colours, every, longest = _names()
    if words in every:
        return (every[words],), ()
    rows, unknown = _matched(words, colours, longest)
    if not rows:
        things = _matched(words, every, longest)
        if not things[1] or COLOURED & set(words):
            rows, unknown = things
    if not words:
        unknown = tuple(text.split())
    return rows, unknown


def _matched(
    words: tuple[str, ...], names: dict[tuple[str, ...], int], longest: int
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    rows: list[int] = []
    unknown: list[str] = []
    modifiers: list[str] = []
    position, follows_colour = 0, False
    while position < len(words):
        length = next(
            (n for n in range(min(longest, len(words) - position), 0, -1) if words[position : position + n] in names), 0
        )
        row = names.get(words[position : position + length], -1)
        if length == 1 and follows_colour and colour_table().kinds[row] == "either":
            length = 0
        if length:
            rows.append(row)
            modifiers.clear()
        elif words[position] in MODIFIERS:
            modifiers.append(words[position])
        elif words[position] not in FUNCTION_WORDS:
            unknown += [*modifiers, words[position]]
            modifiers.clear()
        follows_colour = length > 0
        position += max(length, 1)
    return tuple(dict.fromkeys(rows)), tuple(dict.fromkeys([*unknown, *modifiers]))
