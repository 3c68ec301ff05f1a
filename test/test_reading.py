# SPDX-License-Identifier: Apache-2.0
"""How requests are read: what is a name, a choice, a relation, a part; and that any text is read."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_lgs_ros.answers import Phrase
from ccl_lgs_ros.query.reading import MAX_WORDS, as_one_name, read
from ccl_lgs_ros.query.telling import text_of, told
from ccl_lgs_ros.query.wording import CHOICES, LONGEST, ONE_NAME, ORDINALS, PARTS, RELATIONS, SIDES


def on(words: str, anchor: str | Phrase, relation: str = "on", **more) -> Phrase:
    anchor = Phrase(words=anchor) if isinstance(anchor, str) else anchor
    return Phrase(words=words, relation=relation, anchors=(anchor,), **more)


def chosen(words: str, choice: str, rank: int = 1, *anchors: str) -> Phrase:
    return Phrase(words=words, choice=choice, rank=rank, anchors=tuple(Phrase(words=a) for a in anchors))


def part(words: str, whole: str | Phrase, **more) -> Phrase:
    return Phrase(words=words, whole=Phrase(words=whole) if isinstance(whole, str) else whole, **more)


BETWEEN = Phrase(words="box", relation="between", anchors=(Phrase(words="lamp"), Phrase(words="door")))


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("the red mug on the table", on("red mug", "table")),
        ("book next to the screen", on("book", "screen", "next to")),
        ("the leftmost chair", chosen("chair", "leftmost")),
        ("biggest box", chosen("box", "largest")),
        ("second box from the left", chosen("box", "leftmost", 2)),
        ("the second-largest box", chosen("box", "largest", 2)),
        ("the chair on the right", chosen("chair", "rightmost")),
        ("chair closest to the window", chosen("chair", "nearest", 1, "window")),
        ("nearest chair to the window", chosen("chair", "nearest", 1, "window")),
        ("the third closest box to the lamp", chosen("box", "nearest", 3, "lamp")),
        ("chair farthest away from me", chosen("chair", "farthest")),
        ("handle of the mug", part("handle", "mug")),
        ("mug's handle", part("handle", "mug")),
        ("the red mug\u2019s left handle on the table", part("left handle", on("red mug", "table"))),
        ("the mug's handle that is on the table", part("handle", on("mug", "table"))),
        ("lamp on the left side of the potter's wheel", on("lamp", "potter's wheel", "left of")),
        ("handle of the largest mug", part("handle", chosen("mug", "largest"))),
        ("the sticker on the handle of the mug", on("sticker", part("handle", "mug"))),
        ("the box between the lamp and the door", BETWEEN),
        ("box between lamp and door", BETWEEN),
        ("the box between the two chairs", on("box", "chairs", "between")),
        ("Ball in the Box", on("Ball", "Box", "in")),
        ("ball behind the sofa", on("ball", "sofa", "behind")),
        ("lamp to the left of the red box", on("lamp", "red box", "left of")),
        ("mug on the left shelf", on("mug", "left shelf")),
        ("the chair on the left next to the lamp", on("chair", "lamp", "next to", choice="leftmost")),
        ("mug on top of the shelf", on("mug", "shelf")),
        ("the mug that is standing right next to the lamp", on("mug", "lamp", "next to")),
        ("mug, on the table!", on("mug", "table")),
        ("could you please find me the mug under the table please?", on("mug", "table", "under")),
        ("where is the mug in the room next to the lamp?", on("mug", "lamp", "next to")),
        ("the second box on the table from the left", on("box", "table", choice="leftmost", rank=2)),
        ("the plug in the wall socket", on("plug", "wall socket", "in")),
        (
            "the biggest book on the table next to the lamp",
            on("book", on("table", "lamp", "next to"), choice="largest"),
        ),
    ],
)
def test_a_request_is_read_as_its_thing_its_choice_and_its_place(text: str, phrase: Phrase) -> None:
    reading = read(text)
    assert reading.phrase == phrase
    assert not reading.is_plain and not reading.is_doubtful
    assert reading.sentence == told(phrase)


@pytest.mark.parametrize(
    "text",
    [
        *("mug", "red mug", "left shoe", "top hat", "light blue", "on-off switch", "remote control", "Lime  Green mug"),
        *("cup of tea", "table of contents", "chest of drawers", "men's shoes", "leg of lamb", "built in oven"),
        *("first aid kit", "salt and pepper shakers", "jack in the box", "mug with a handle", "pick up truck", "the"),
        *("find", "where is", "'s", "?!", "map of the world", "鍋"),
    ],
)
def test_a_name_is_left_as_it_is(text: str) -> None:
    reading = read(text)
    assert (reading.phrase, reading.is_plain, reading.is_doubtful) == (Phrase(words=text), True, False)
    assert reading.sentence == f'"{text}"'


@pytest.mark.parametrize(
    "text", ["the red mug", "Where is my red mug?", "hey robot, get the red mug", "red mug please"]
)
def test_courtesy_and_articles_are_no_part_of_a_name(text: str) -> None:
    reading = read(text)
    assert reading.phrase == Phrase(words="red mug")
    assert reading.is_plain and not reading.is_doubtful


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mug on", 'nothing comes after "on"'),
        ("on the table", 'nothing comes before "on"'),
        ("mug on the table and next to the lamp", 'several conditions, joined by "and"'),
        ("mug on the table and the chair", 'several things, joined by "and"'),
        ("mug not on the table", 'it says "not"'),
        ("mug on top of left", '"left" is not the name of a thing'),
        ("the mug in front of me", "whoever asks"),
        ("leftmost largest box", '"largest" stands where it cannot choose'),
        ("lamp at the top of the stairs", '"at the top" stands where it cannot choose'),
        ("the largest box closest to the lamp", 'both the "largest" and the "nearest"'),
        ("box between the lamp and", "joined by"),
        ("mug " * MAX_WORDS + "mug", "more than 64 words"),
    ],
)
def test_what_cannot_be_read_is_one_name_and_says_why(text: str, why: str) -> None:
    reading = read(text)
    assert reading.phrase == Phrase(words=text)
    assert reading.is_plain and reading.is_doubtful
    assert why in reading.sentence


def test_brackets_tell_what_belongs_together() -> None:
    told_so = 'the largest "book" on (the "table" next to the "lamp")'
    assert read("the biggest book on the table next to the lamp").sentence == told_so


def test_without_the_grammar_every_text_is_one_name() -> None:
    assert as_one_name("the mug on the table").phrase == Phrase(words="the mug on the table")


@pytest.mark.parametrize("table", [RELATIONS, CHOICES, SIDES])
def test_every_way_to_say_it_means_it(table: dict) -> None:
    for way, meaning in table.items():
        said = " ".join(way)
        text = {id(RELATIONS): f"mug {said} lamp", id(CHOICES): f"{said} mug", id(SIDES): f"mug {said}"}[id(table)]
        phrase = read(text).phrase
        assert meaning in (phrase.relation, phrase.choice), text
        assert len(way) <= LONGEST


def names_of_vocabularies(folder: Path) -> list[str]:
    lists = [json.loads((folder / file).read_text()) for file in ("lvis1203_names.json", "oid500_names.json")]
    rows = csv.reader((folder / "Objects365_names_fix.csv").open())
    lines = (folder / "imagenet_1001_labels.txt").read_text().splitlines()
    return [*lists[0], *lists[1], *(row[-1] for row in rows), *lines]


@pytest.mark.data
def test_no_name_of_public_vocabularies_is_torn(shared_data: Path) -> None:
    names = [name.partition("_(")[0].replace("_", " ") for name in names_of_vocabularies(shared_data / "models")]
    assert len(names) > 3000
    assert [name for name in names if read(name).phrase != Phrase(words=name)] == []


WORDS = [
    *("mug", "table", "red", "Lamp's", "and", "of", "the", "a", "two", "me", "to", "from", "left", "not", "room"),
    *(" ".join(way) for table in (RELATIONS, CHOICES, SIDES) for way in table),
    *(*ORDINALS, "handle", "please", "find", "that is", "top", "second-largest", "?", '"', ","),
    *(" ".join(name) for name in ONE_NAME),
]
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(SENTENCES, st.text(max_size=200)))
def test_any_text_is_read_and_reads_the_same_when_told_again(text: str) -> None:
    reading = read(text)
    assert reading.text == text and reading.sentence
    if not reading.is_plain:
        again = read(text_of(reading.phrase))
        assert again.phrase == reading.phrase
        assert text_of(again.phrase) == text_of(reading.phrase)


def test_every_part_word_names_a_part() -> None:
    assert all(read(f"the {word} of the thing").phrase.whole == Phrase(words="thing") for word in PARTS)


def said_as(*tables: Mapping[tuple[str, ...], str]) -> dict[str, str]:
    """The ways to say each meaning, as the page lists them."""
    ways: dict[str, list[str]] = {}
    for way, meaning in (item for table in tables for item in table.items()):
        ways.setdefault(meaning, []).append(" ".join(way))
    return {meaning: ", ".join(listed) for meaning, listed in ways.items()}


def test_the_page_lists_every_word_of_the_grammar() -> None:
    page = (Path(__file__).parents[1] / "docs" / "asking.md").read_text()
    for meaning, ways in {**said_as(RELATIONS), **said_as(CHOICES, SIDES)}.items():
        assert f"| {meaning} | {ways} |" in page
    one_line = " ".join(page.split())
    assert ", ".join(sorted(PARTS)) in one_line
    assert ", ".join(" ".join(name) for name in ONE_NAME) in one_line
