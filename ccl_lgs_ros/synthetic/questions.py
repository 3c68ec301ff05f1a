# SPDX-License-Identifier: Apache-2.0
"""Questions about a room whose answers are beyond doubt: relations, choices, parts.

Every combination of names is tried, and kept where exact geometry gives a clear verdict on each thing of the name. A
question is right when all things that it means are found and nothing else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ccl_lgs_ros.synthetic.outlines import gap
from ccl_lgs_ros.synthetic.room import Room
from ccl_lgs_ros.synthetic.scene import Scene
from ccl_lgs_ros.synthetic.shapes import Floats
from ccl_lgs_ros.synthetic.standing import (
    PLAIN,
    VIEWED,
    Standing,
    Verdict,
    extent_seen,
    is_between,
    standing_furniture,
    standing_objects,
)

VIEWERS = 30  # places along the drive that questions are asked from
FIELD_OF_VIEW, RANGE = np.radians(32.0), 4.5  # what a viewer asks about is within this of straight ahead, and so near
LARGER, HIGHER, NEARER = 1.6, 0.2, (1.4, 0.15)  # ratio of volumes; metres; ratio of distances, and metres more
ABSENT_SHARE = 0.25  # questions that nothing answers, as a share of those of their sort that something does
PARTS = {
    "mug": ("handle",),
    "lamp": ("shade",),
    "box": ("lid",),
    "chair": ("back", "seat", "leg"),
    "stool": ("seat", "leg"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A text with what it truly means."""

    text: str
    sort: str  # "on", "leftmost", "part"
    objects: frozenset[int]  # ids of the objects that it means; of a part, of those that have it
    part: str = ""
    world_from_viewer: Floats | None = None  # [4, 4] whoever asks


def questions(scene: Scene, seed: int, *, by_colour: bool, per_sort: int) -> list[Question]:
    """At most `per_sort` questions of every sort, chosen by a seed.

    Args:
        by_colour: things are named "red mug", parts that have a colour of their own "blue handle", and furniture, which
            is neutral, not at all; else "mug", "handle" and "table".
    """
    random = np.random.default_rng([seed, 61])
    objects = standing_objects(scene.room, by_colour)
    anchors = objects if by_colour else [*objects, *standing_furniture(scene.room)]
    viewers = [scene.drive.world_from_camera(t) for t in np.linspace(0, scene.drive.duration, VIEWERS)]
    found = [
        *_relations(objects, anchors, viewers),
        *_choices(objects, anchors, viewers),
        *_parts(scene.room, by_colour),
    ]
    chosen: list[Question] = []
    for sort in dict.fromkeys(question.sort for question in found):
        mixed = [found[i] for i in random.permutation(len(found)) if found[i].sort == sort]
        of_sort = list({question.text: question for question in mixed}.values())  # each text once
        present = [question for question in of_sort if question.objects][:per_sort]
        absent = [question for question in of_sort if not question.objects]
        chosen += present + absent[: round(ABSENT_SHARE * len(present))]
    return chosen


def _relations(
    objects: Sequence[Standing], anchors: Sequence[Standing], viewers: Sequence[Floats]
) -> Iterator[Question]:
    for name in _names(objects):
        things = [thing for thing in objects if thing.name == name]
        for anchor_name in _names(anchors):
            group = [anchor for anchor in anchors if anchor.name == anchor_name]
            if anchor_name == name:
                continue
            for relation, holds in PLAIN.items():
                verdicts = [_any([holds(thing, anchor) for anchor in group]) for thing in things]
                yield from _asked(f"{name} {relation} the {anchor_name}", relation, things, verdicts)
            for relation, towards in VIEWED.items() if len(group) == 1 else ():
                for viewer in viewers:
                    if _is_seen(group[0], viewer) and any(_is_seen(thing, viewer) for thing in things):
                        verdicts = [towards(thing, group[0], viewer) for thing in things]
                        yield from _asked(f"{name} {relation} the {anchor_name}", relation, things, verdicts, viewer)
        for first, second in combinations([other for other in _unique(anchors) if other.name != name], 2):
            verdicts = [is_between(thing, first, second) for thing in things]
            yield from _asked(f"{name} between the {first.name} and the {second.name}", "between", things, verdicts)


def _asked(
    text: str, sort: str, things: Sequence[Standing], verdicts: Sequence[Verdict], viewer: Floats | None = None
) -> Iterator[Question]:
    """The question, if the verdict on each thing is clear."""
    if None not in verdicts:
        meant = frozenset(thing.id for thing, is_meant in zip(things, verdicts, strict=True) if is_meant)
        yield Question(text=text, sort=sort, objects=meant, world_from_viewer=viewer)


def _any(verdicts: Sequence[Verdict]) -> Verdict:
    return True if True in verdicts else None if None in verdicts else False


def _choices(objects: Sequence[Standing], anchors: Sequence[Standing], viewers: Sequence[Floats]) -> Iterator[Question]:
    for name in _names(objects):
        things = [thing for thing in objects if thing.name == name]
        if len(things) < 2:
            continue
        by_volume, by_height = sorted(things, key=lambda t: t.volume), sorted(things, key=lambda t: t.low)
        if by_volume[-1].volume > LARGER * by_volume[-2].volume:
            yield _chosen(f"largest {name}", "largest", by_volume[-1])
        if by_volume[1].volume > LARGER * by_volume[0].volume:
            yield _chosen(f"smallest {name}", "smallest", by_volume[0])
        if by_height[-1].low - by_height[-2].low > HIGHER:
            yield _chosen(f"highest {name}", "highest", by_height[-1])
        if by_height[1].low - by_height[0].low > HIGHER:
            yield _chosen(f"lowest {name}", "lowest", by_height[0])
        for anchor in _unique(anchors):
            apart = sorted((_distance(thing, anchor), thing.id, thing) for thing in things)
            if anchor.name != name and apart[1][0] > NEARER[0] * apart[0][0] + NEARER[1]:
                yield _chosen(f"{name} nearest to the {anchor.name}", "nearest", apart[0][2])
        for viewer in viewers:
            if all(_is_seen(thing, viewer) for thing in things):
                seen = sorted((*extent_seen(thing, viewer), thing.id, thing) for thing in things)
                if seen[0][1] < min(other[0] for other in seen[1:]):
                    yield _chosen(f"leftmost {name}", "leftmost", seen[0][3], viewer)
                if seen[-1][0] > max(other[1] for other in seen[:-1]):
                    yield _chosen(f"rightmost {name}", "rightmost", seen[-1][3], viewer)


def _chosen(text: str, sort: str, thing: Standing, viewer: Floats | None = None) -> Question:
    return Question(text=text, sort=sort, objects=frozenset({thing.id}), world_from_viewer=viewer)


def _parts(room: Room, by_colour: bool) -> Iterator[Question]:
    """Parts of all things of a name; whichever of them were seen counts. By colour, parts that have one."""
    for name in dict.fromkeys(item.category if by_colour else item.kind for item in room.objects):
        items = [item for item in room.objects if name in (item.category, item.kind)]
        ids = frozenset(item.id for item in items)
        for part in items[0].part_names if by_colour else PARTS.get(items[0].kind, ()):
            family = items[0].family_of(part) if by_colour else ""
            if family or not by_colour:
                text = f"{family} {part}".strip() + f" of the {name}"
                yield Question(text=text, sort="part", objects=ids, part=part)


def _names(things: Sequence[Standing]) -> list[str]:
    return list(dict.fromkeys(thing.name for thing in things))


def _unique(things: Sequence[Standing]) -> list[Standing]:
    """Those whose name no other thing has."""
    names = [thing.name for thing in things]
    return [thing for thing in things if names.count(thing.name) == 1]


def _is_seen(thing: Standing, viewer: Floats) -> bool:
    """Whether a viewer has it in view; what hides it does not count, for people remember."""
    low, high = extent_seen(thing, viewer)
    is_near = np.linalg.norm(thing.middle - viewer[:3, 3]) < RANGE
    return bool(is_near and low > -FIELD_OF_VIEW and high < FIELD_OF_VIEW)


def _distance(a: Standing, b: Standing) -> float:
    """Metres between two things, about: between outlines and heights."""
    return float(np.hypot(max(gap(a.outline, b.outline), 0.0), max(a.low - b.high, b.low - a.high, 0.0)))
