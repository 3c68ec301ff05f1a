# SPDX-License-Identifier: Apache-2.0
"""From a phrase to the things that it means: find each thing that it names, relate them, choose among them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer, Instance, Phrase, Prompt, Reading
from ccl_lgs_ros.query.choices import needs_viewpoint, ordered
from ccl_lgs_ros.query.placed import Placed, placed
from ccl_lgs_ros.query.relations import VIEWED, YES, relate
from ccl_lgs_ros.query.telling import NUMERALS, quoted, told_place
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.query.viewpoint import Viewpoint, Where, where_from
from ccl_lgs_ros.structures import Gaussians, SemanticMap

MOST_THINGS = 40  # of one name that are related and compared, the best first


class Finder(Protocol):
    """Finds what a name means in a map."""

    def find(self, name: str, most: int) -> Answer:
        """The things of that name."""
        ...

    def find_wholes(self, name: str, most: int) -> Answer:
        """The things of that name whose parts are asked for."""
        ...

    def find_parts(self, name: str, wholes: Sequence[Instance], whole: Prompt) -> Answer:
        """The parts of that name that some things have, which were found by another prompt."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolved:
    """What a phrase means."""

    found: Answer  # to the name alone
    things: tuple[Instance, ...]  # of its instances those that are meant, best first
    trouble: str = ""  # why there are none
    fit: float = 0.0  # how well the best of what was found is where it should be, where that is too little


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolver:
    """Resolves phrases in one map; remembers what people should know about it."""

    finder: Finder
    gaussians: Gaussians
    up: NDArray[np.floating]  # [3]
    where: Where
    remarks: list[str] = field(default_factory=list)  # whose left it is, each once
    unknown_words: list[str] = field(default_factory=list)  # that some name has and the language has not, each once

    def resolve(self, phrase: Phrase, is_whole: bool = False) -> Resolved:
        """The things that a phrase means, of which parts are asked for or not."""
        whole = self.resolve(phrase.whole, is_whole=True) if phrase.whole else None
        if whole:
            found = self.finder.find_parts(phrase.words, whole.things, whole.found.prompt)
        else:
            found = (self.finder.find_wholes if is_whole else self.finder.find)(phrase.words, MOST_THINGS)
        _note(self.unknown_words, found.prompt.unknown_words)
        if whole and not whole.things:
            return Resolved(found=found, things=(), trouble=f"{whole.trouble}, so it has no {quoted(phrase.words)}")
        if not found.instances:
            why = found.message.removeprefix("nothing found: ")
            return Resolved(found=found, things=(), trouble=f"no {quoted(phrase.words)} found ({why})")
        return self._placed(phrase, found)

    def _placed(self, phrase: Phrase, found: Answer) -> Resolved:
        """Those of the things found that are in the right relation and are chosen."""
        anchors = [self.resolve(anchor) for anchor in phrase.anchors]
        for anchor in anchors:
            if not anchor.things:
                so = f"so nothing is {phrase.relation or f'{phrase.choice} to'} it"
                return Resolved(found=found, things=(), trouble=f"{anchor.trouble}, {so}")
        things = self._in_frame(found.instances)
        others = [self._in_frame(anchor.things) for anchor in anchors]
        if phrase.relation:
            view = self._viewpoint(phrase.relation in VIEWED, things, others)
            fits = [relate(phrase.relation, thing, others, view) for thing in things]
            ranked = sorted(range(len(things)), key=lambda i: -fits[i] * things[i].instance.score)
            count, things = len(things), [things[i] for i in ranked if fits[i] >= YES]
            if not things:
                trouble = f"{_counted(count, phrase.words)}, none {told_place(phrase)}"
                return Resolved(found=found, things=(), trouble=trouble, fit=max(fits))
        elif not phrase.choice:
            return Resolved(found=found, things=found.instances)
        return self._chosen(phrase, found, things, others)

    def _chosen(self, phrase: Phrase, found: Answer, things: list[Placed], others: list[list[Placed]]) -> Resolved:
        """The one of the things that is chosen; all of them where there is no choice."""
        if not phrase.choice:
            return Resolved(found=found, things=tuple(thing.instance for thing in things))
        measured_from = [] if phrase.relation else [other for group in others for other in group]
        view = self._viewpoint(needs_viewpoint(phrase.choice, bool(measured_from)), things, others)
        order = ordered(phrase.choice, things, measured_from, view)
        if phrase.rank > len(order):
            which = f"{NUMERALS[phrase.rank]} {phrase.choice}"
            return Resolved(found=found, things=(), trouble=f"{_counted(len(order), phrase.words)}, no {which}")
        return Resolved(found=found, things=(order[phrase.rank - 1].instance,))

    def _in_frame(self, instances: Sequence[Instance]) -> list[Placed]:
        return [placed(instance, self.gaussians, self.up) for instance in instances]

    def _viewpoint(self, is_needed: bool, things: list[Placed], others: list[list[Placed]]) -> Viewpoint | None:
        """Where the request is meant from, where that matters."""
        if not is_needed:
            return None
        view = self.where([*things, *(other for group in others for other in group)])
        _note(self.remarks, [view.said])
        return view


def resolved(
    semantic_map: SemanticMap,
    reading: Reading,
    finder: Finder,
    most: int,
    views: ViewedFrom | None,
    seen_from: NDArray[np.float64] | None,
) -> Answer:
    """The answer to a request that is more than a name, with no more than `most` instances.

    Args:
        views: the cameras that saw the map.
        seen_from: [4, 4] world_from_viewer of whoever asks.
    """
    means, up = semantic_map.gaussians.means, np.asarray(semantic_map.map_up, dtype=np.float64)
    where = where_from(up, means, seen_from, views)
    resolver = Resolver(finder=finder, gaussians=semantic_map.gaussians, up=up, where=where)
    meant = resolver.resolve(reading.phrase)
    things = meant.things[:most]
    counted = "1 instance" if len(things) == 1 else f"{len(things)} instances"
    said = [f"{counted}: {reading.sentence}" if things else f"nothing found: {meant.trouble}", *resolver.remarks]
    if resolver.unknown_words and things:
        said.append(f"unknown words: {', '.join(resolver.unknown_words)}")
    score = meant.found.best_score
    if not things and meant.found.instances:
        score = meant.found.threshold * meant.fit
    return replace(meant.found, instances=things, best_score=score, message="; ".join(said), reading=reading)


def _note(notes: list[str], more: Sequence[str]) -> None:
    """Add to notes what they lack."""
    notes += [note for note in dict.fromkeys(more) if note not in notes]


def _counted(count: int, name: str) -> str:
    return f"{count} instance{'s' if count > 1 else ''} of {quoted(name)}"
