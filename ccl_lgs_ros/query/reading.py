# SPDX-License-Identifier: Apache-2.0
"""A small grammar of requests: which thing, which of several, where, and a part of what.

    request  = [courtesy] phrase [courtesy]
    phrase   = [article] [choice] name [tail]
             | [article] [choice] part "of" phrase      the handle of the mug
             | phrase "'s" part                         the mug's handle
    choice   = [ordinal] superlative                    the second largest box
    tail     = relation phrase                          on the table next to the lamp: the table is next to the lamp
             | "between" phrase ["and" phrase]          between the lamp and the door; between the two chairs
             | nearest ["to"] [phrase | viewer]         chair closest to the window; chair farthest from me
             | side [tail]                              (second box) from the left; (chair) on the right

A phrase takes all that follows it: it branches to the right. A word means something to the grammar in its place alone:
"left shoe", "top hat" and "on-off switch" are names, as is every text without a relation, a choice or a part. What
looks like more and cannot be read is taken as one name, and the reading says so. The words are tabled in wording.py.
"""

import re
from dataclasses import dataclass

from ccl_lgs_ros.answers import Phrase, Reading
from ccl_lgs_ros.query.telling import quoted, told
from ccl_lgs_ros.query.wording import (
    ARTICLES,
    CHOICES,
    FAREWELLS,
    JOINERS,
    MEASURED_FROM,
    NEGATIONS,
    ORDINALS,
    PARTS,
    PLACES,
    PREPOSITIONS,
    PRONOUNS,
    RELATIONS,
    SIDES,
    VIEWERS,
)
from ccl_lgs_ros.query.words import (
    Words,
    begins,
    is_inside_name,
    joined,
    without_articles,
    without_courtesy,
    without_farewell,
    without_links,
    word_of,
    words_of,
)

MAX_WORDS = 64  # a request names one thing; more is a mistake or an attack
SIDE_NAMES = {" ".join(way[2:]) for way in SIDES if way[1] == "the"}
OWNER = re.compile("(.+?)['\u2019]s?")
MEASURES = {way: meaning for way, meaning in CHOICES.items() if meaning in MEASURED_FROM}


class UnreadableError(ValueError):
    """A text that looks like more than a name, and that no rule fits; says why."""


def read(text: str) -> Reading:
    """How a text is understood; any text is, if only as one name."""
    words = words_of(text)
    if not words:
        return as_one_name(text)
    try:
        if len(words) > MAX_WORDS:
            raise UnreadableError(f"it has more than {MAX_WORDS} words")
        phrase = _phrase(without_courtesy(words))
    except UnreadableError as why:
        phrase, sentence = Phrase(words=text), f"{quoted(text)} is taken as one name: {why}"
        return Reading(text=text, phrase=phrase, sentence=sentence, is_plain=True, is_doubtful=True)
    if phrase == Phrase(words=joined(words)):
        phrase = Phrase(words=text)  # nothing to leave out: the name is the text as it was written
    return Reading(text=text, phrase=phrase, sentence=told(phrase), is_plain=phrase == Phrase(words=phrase.words))


def as_one_name(text: str) -> Reading:
    """The reading without any grammar."""
    phrase = Phrase(words=text)
    return Reading(text=text, phrase=phrase, sentence=told(phrase), is_plain=True)


@dataclass(frozen=True, slots=True)
class _Choice:
    name: str = ""
    rank: int = 1


def _phrase(words: Words) -> Phrase:
    """The rule `phrase`."""
    words = without_articles(words)
    if turned := _part_of_owner(words):
        return _phrase(turned)
    choice, words = _leading_choice(words)
    for place in range(1, len(words)):
        if not is_inside_name(words, place) and (phrase := _with_tail(words[:place], words[place:], choice)):
            return phrase
    return Phrase(words=_name(words), choice=choice.name, rank=choice.rank)


def _with_tail(head: Words, tail: Words, choice: _Choice) -> Phrase | None:
    """A name that is followed by a tail; None where no tail begins."""
    relation, length = begins(tail, RELATIONS)
    side, side_length = begins(tail, SIDES)
    measured, measured_length = begins(tail, MEASURES)
    if tail[0].plain == "of" and _is_part(head):
        return Phrase(words=_name(head), choice=choice.name, rank=choice.rank, whole=_phrase(_needed(tail, 1)))
    rest = tail[side_length:]
    if side_length > length and (not rest or begins(rest, RELATIONS)[0]):  # else "on the left shelf"
        head, choice = _chosen(head, choice, side)
        return _with_tail(head, rest, choice) if rest else _plain(head, choice)
    if length:
        return _related(without_links(head), relation, _needed(tail, length), choice)
    if measured_length:
        head, choice = _chosen(without_links(head), choice, measured)
        return _measured(head, tail[measured_length:], choice)
    if choice.name in MEASURED_FROM and tail[0].plain in ("to", "from"):
        return _measured(head, tail, choice)
    return None


def _is_part(words: Words) -> bool:
    """Whether words name a part of something: "left handle"; not "lamp at the top"."""
    return words[-1].plain in PARTS and not any(word.plain in PREPOSITIONS for word in words)


def _related(head: Words, relation: str, rest: Words, choice: _Choice) -> Phrase:
    """A thing in a relation to what the rest names."""
    if len(rest) == 1 and rest[0].plain in PRONOUNS:
        raise UnreadableError(f'"{relation} {rest[0].text}" is about whoever asks, whom only nearest and farthest know')
    anchors = _both(rest) if relation == "between" else (_anchor(rest),)
    name, first = _name(head), anchors[0]
    if relation == "in" and first.words.casefold() in PLACES and not (first.choice or first.whole):
        relation, anchors = first.relation, first.anchors  # all that is asked for is there
    return Phrase(words=name, choice=choice.name, rank=choice.rank, relation=relation, anchors=anchors)


def _both(words: Words) -> tuple[Phrase, ...]:
    """What something is between: two things, or things of one name."""
    joints = [i for i in range(1, len(words) - 1) if words[i].plain == "and"]
    clear = [i for i in joints if words[i + 1].plain in ARTICLES]
    if not joints:
        words = without_articles(words)
        return (_anchor(words[1:] if len(words) > 1 and words[0].plain in ("two", "both") else words),)
    joint = clear[0] if clear else joints[-1]
    return _anchor(words[:joint]), _anchor(words[joint + 1 :])


def _anchor(words: Words) -> Phrase:
    """What something is in a relation to."""
    phrase = _phrase(words)
    if phrase.words.casefold() in SIDE_NAMES:
        raise UnreadableError(f'"{phrase.words}" is not the name of a thing')
    return phrase


def _measured(head: Words, rest: Words, choice: _Choice) -> Phrase:
    """The nearest or farthest, from what the rest names or from whoever asks."""
    if loose := next((word.text for word in head if word.plain in ("to", "from")), ""):
        raise UnreadableError(f'"{loose}" stands before what is measured')
    rest = rest[1:] if rest and rest[0].plain == "away" else rest
    if rest and rest[0].plain in ("to", "from"):
        rest = without_articles(_needed(rest, 1))
    is_viewer = not rest or (len(rest) == 1 and rest[0].plain in VIEWERS)
    anchors = () if is_viewer else (_anchor(rest),)
    return Phrase(words=_name(head), choice=choice.name, rank=choice.rank, anchors=anchors)


def _plain(head: Words, choice: _Choice) -> Phrase:
    return Phrase(words=_name(without_links(head)), choice=choice.name, rank=choice.rank)


def _leading_choice(words: Words) -> tuple[_Choice, Words]:
    """The choice before a name, and the words after it. An ordinal may have what it counts by at the very end."""
    rank = ORDINALS.get(words[0].plain, 0) if len(words) > 1 and not is_inside_name(words, 0) else 0
    name, length = begins(words[bool(rank) :], CHOICES)
    if name and len(words) > bool(rank) + length:
        return _Choice(name, rank or 1), words[bool(rank) + length :]
    for place in range(2, len(words) if rank else 0):
        side, length = begins(words[place:], SIDES)
        if length == len(words) - place:
            return _Choice(side, rank), words[1:place]
    return _Choice(), words


def _chosen(head: Words, choice: _Choice, name: str) -> tuple[Words, _Choice]:
    """A name without the ordinal that it begins with, and the choice that stands behind it."""
    if choice.name:
        raise UnreadableError(f'it asks for both the "{choice.name}" and the "{name}"')
    rank = ORDINALS.get(head[0].plain, 0) if len(head) > 1 and not is_inside_name(head, 0) else 0
    return head[bool(rank) :], _Choice(name, rank or 1)


def _part_of_owner(words: Words) -> Words:
    """ "mug's handle on the table" as "handle of mug on the table"; nothing where no owner has a part."""
    related = next((i for i in range(1, len(words)) if begins(words[i:], RELATIONS)[0]), len(words))
    head = without_links(words[:related])
    for place in range(len(head) - 1):
        owner = OWNER.fullmatch(head[place].text)
        first = next((i for i in range(place + 1, len(head)) if head[i].plain in PARTS), 0)
        if owner and first == len(head) - 1 and not is_inside_name(head, place):
            return [*head[place + 1 :], word_of("of"), *head[:place], word_of(owner[1]), *words[related:]]
    return ()


def _name(words: Words) -> str:
    """The words as one name.

    Raises:
        UnreadableError: if they are none.
    """
    words = without_farewell(words)
    if begins(words, FAREWELLS)[1] == len(words):  # or there are no words
        raise UnreadableError("a name is missing")
    if (relation := begins(words, RELATIONS)[0]) and not is_inside_name(words, 0):
        raise UnreadableError(f'nothing comes before "{relation}"')
    if words[-1].plain in NEGATIONS:
        raise UnreadableError(f'it says "{words[-1].text}"')
    if words[-1].plain in JOINERS:
        raise UnreadableError(f'it has several conditions, joined by "{words[-1].text}"')
    for place, word in enumerate(words):
        if word.plain in JOINERS and words[place + 1].plain in ARTICLES:
            raise UnreadableError(f'it asks for several things, joined by "{word.text}"')
        if length := begins(words[place:], {**CHOICES, **SIDES})[1]:
            raise UnreadableError(f'"{joined(words[place : place + length])}" stands where it cannot choose')
    return joined(words)


def _needed(words: Words, start: int) -> Words:
    """The words from a place on, of which there must be some."""
    if len(words) == start:
        raise UnreadableError(f'nothing comes after "{joined(words)}"')
    return words[start:]
