# SPDX-License-Identifier: Apache-2.0
"""The words of the grammar of requests, as tables. The page docs/asking.md shows them."""

from collections.abc import Mapping

Spellings = Mapping[tuple[str, ...], str]  # a way to say something, as its words -> what it means
LONGEST = 5  # words in a way to say something


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _spelled(table: Mapping[str, str]) -> Spellings:
    return {tuple(way.split()): meaning for meaning, ways in table.items() for way in ways.split(",")}


RELATIONS = _spelled(
    {
        "on": "on, on top of, on the top of, atop, upon",
        "above": "above, over",
        "under": "under, below, beneath, underneath",
        "in": "in, inside, inside of, within",
        "next to": "next to, beside, by, alongside, adjacent to",
        "near": "near, near to, close to, nearby",
        "between": "between, in between",
        "left of": "left of, to the left of, on the left of, on left of, on the left side of",
        "right of": "right of, to the right of, on the right of, on right of, on the right side of",
        "in front of": "in front of, in the front of",
        "behind": "behind, in back of, in the back of",
        "against": "against, touching",
    }
)
CHOICES = _spelled(
    {
        "leftmost": "leftmost, left-most",
        "rightmost": "rightmost, right-most",
        "nearest": "nearest, closest",
        "farthest": "farthest, furthest",
        "largest": "largest, biggest",
        "smallest": "smallest, littlest, tiniest",
        "tallest": "tallest",
        "shortest": "shortest",
        "highest": "highest, topmost, top-most, uppermost",
        "lowest": "lowest, bottommost, bottom-most",
    }
)
# These choose from behind a name: "the second box from the left", "the chair on the right".
SIDES = _spelled(
    {
        "leftmost": "from the left, from left, on the left, on left, to the left, on the left side",
        "rightmost": "from the right, from right, on the right, on right, to the right, on the right side",
        "highest": "from the top, at the top",
        "lowest": "from the bottom, at the bottom",
        "nearest": "from the front",
        "farthest": "from the back",
    }
)
MEASURED_FROM = ("nearest", "farthest")  # choices that may say what from: "chair closest to the window"
ORDINALS = {
    way: rank
    for rank, ways in enumerate(
        ("first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th")
        + ("sixth 6th", "seventh 7th", "eighth 8th", "ninth 9th", "tenth 10th"),
        start=1,
    )
    for way in _listed(ways)
}

# "X of Y" and "Y's X" name a part where X ends with one of these: "cup of tea" and "chest of drawers" do not.
PARTS = _listed(
    """
    arm arms armrest back backrest band base bottom brim button buttons cap cord corner cover cushion door doors drawer
    drawers edge face foot feet frame front handle handles head headboard headrest hinge hood hook keyboard knob knobs
    label leg legs lid lock mouth neck nozzle page pages panel pedal pole rim roof screen seat shade shelf side sides
    sill sleeve spine spout stem strap switch tail tap tip top trigger wheel wheels window windows wing
    """
)
# Names that the grammar would tear apart. Where an article follows it is no such name: "plug in the wall".
ONE_NAME = _spelled(
    {
        "place": "jack in the box, corn on the cob, ship in a bottle, toad in the hole, pig in a blanket",
        "kind": "built in, walk in, plug in, drive in, check in, clip on, slip on, carry on, add on, stand by",
        "food": "leg of lamb, leg of mutton, head of lettuce, head of cabbage, head of garlic",
        "owner": "potter's wheel, driver's seat, captain's bed",
        "ordinal": "first aid kit, first aid box",
    }
)
ARTICLES = _listed("the a an my your our his her their this that these those")
VIEWERS = _listed("me myself us you here robot camera viewer")  # whoever asks: "closest to me"
PRONOUNS = _listed("me myself us you here")  # of them, those that are no thing in the map
PLACES = _listed("room map scene house building world picture image")  # of all that is mapped: "in the room"
PREPOSITIONS = _listed("at with to from for")  # in no name of a part
JOINERS = _listed("and or but")
NEGATIONS = _listed("not isn't aren't no never")

# What people say around a request.
COURTESY = _spelled(
    {
        "please": "please, can you, could you, would you",
        "find": "find, find me, locate, search for, look for, show me, give me, bring me, get me, fetch me, take me to",
        "where": "where is, where are, where's, is there, are there, do you see, can you see",
        "want": "tell me, i want, i need, i am looking for, i'm looking for",
    }
)
# These only where an article follows, for they begin names too: "pick up the mug", yet "pick up truck".
COURTESY_BEFORE_ARTICLES = _spelled(
    {
        "greeting": "hi, hey, hello, ok, okay, robot",
        "verb": "show, get, bring, fetch, give, grab, pick up, go to, drive to, point to, point at, select",
    }
)
FAREWELLS = _spelled({"please": "please, for me", "thanks": "thanks, thank you"})
# What may stand between a thing and where it is: "the mug that is standing right next to the lamp".
LINKS = _listed(
    """
    that which is are that's standing stands sitting sits lying lies hanging hangs leaning leans resting rests placed
    located stored kept put just right directly immediately
    """
)
