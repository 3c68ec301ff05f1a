# SPDX-License-Identifier: Apache-2.0
"""The answer of a map to a prompt."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer, Instance, Prompt
from ccl_lgs_ros.level_names import AUTO, coarse_first
from ccl_lgs_ros.query.instances import Group, Matched, grouped, instances_of, matched, parted
from ccl_lgs_ros.query.relevancy import LevelRelevancy, TrackIndex
from ccl_lgs_ros.structures import SemanticMap

# Evidence that differs by less is a tie, which the coarser level wins: it shows things whole.
LEVEL_TIE = 0.02

# Share of the threshold that score times support must reach: a speck answers only if it matches clearly.
LEAST_EVIDENCE = 0.6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _LevelEvidence:
    """What one level has to say."""

    found: Matched
    groups: list[Group]  # best first
    best_score: float  # of the groups; without any, of the tracks under the threshold


class MapIndex:
    """The inverted index of every level, each made when it is first asked for; keep it with a map that is asked often.

    It takes 4 bytes per Gaussian and level; a million Gaussians are indexed in hundredths of a second.
    """

    def __init__(self, semantic_map: SemanticMap) -> None:
        self._levels = semantic_map.levels
        self._index_of: dict[str, TrackIndex] = {}

    def __getitem__(self, name: str) -> TrackIndex:
        if name not in self._index_of:
            self._index_of[name] = TrackIndex.of(self._levels[name])
        return self._index_of[name]

    @property
    def num_bytes(self) -> int:
        """Memory taken so far."""
        return sum(index.num_bytes for index in self._index_of.values())


def answer(
    semantic_map: SemanticMap,
    prompt: Prompt,
    relevancy: Mapping[str, LevelRelevancy],
    *,
    threshold: float,
    max_instances: int,
    min_gaussians: int,
    connect_distance: float,
    level: str,
    index: MapIndex | None = None,
) -> Answer:
    """The things that a prompt means, best first; none when nothing looks enough like it.

    With level "auto" the level with the best evidence answers: that whose best instance scores highest, its support
    being weighed as in the ranking of instances. Ties go to the coarser one. Where no level has an instance, it
    is the level that came nearest.

    Args:
        relevancy: of what each level has.
        threshold: relevancy that a track must reach, absolute: what is absent has no instance.
        min_gaussians: Gaussians under which a group is no instance.
        connect_distance: metres that join Gaussians to one instance; 0 = from the map.
        level: "auto", or the name of a level.
        index: of this map; made here if not given.

    Raises:
        ValueError: if the map has semantics, yet not at that level.
    """
    if level != AUTO and semantic_map.levels and level not in semantic_map.levels:
        raise ValueError(f"level: expected 'auto' or one of {sorted(semantic_map.levels)}, got {level!r}")
    names = [name for name in coarse_first(semantic_map.levels) if level in (AUTO, name)]
    if not prompt.is_understood or not names:
        best_level = names[0] if names else ""
        return answered(semantic_map, prompt, (), 0.0, threshold, best_level)
    index = index or MapIndex(semantic_map)
    up = np.asarray(semantic_map.map_up, dtype=np.float64)
    evidence: dict[str, _LevelEvidence] = {}
    for name in names:
        if not _is_settled(evidence, relevancy[name].of_track):
            evidence[name] = _level_evidence(
                semantic_map,
                name,
                relevancy[name],
                index[name],
                threshold=threshold,
                min_gaussians=min_gaussians,
                connect_distance=connect_distance,
            )
    best_level = _best_level(evidence)
    chosen = evidence[best_level]
    groups = parted(chosen.found, chosen.groups[:max_instances], up)[:max_instances]
    instances = instances_of(chosen.found, groups, best_level, semantic_map.levels[best_level], up)
    best_score = max(e.best_score for e in evidence.values()) if not instances else chosen.best_score
    return answered(semantic_map, prompt, instances, best_score, threshold, best_level)


def _level_evidence(
    semantic_map: SemanticMap,
    name: str,
    relevancy: LevelRelevancy,
    index: TrackIndex,
    *,
    threshold: float,
    min_gaussians: int,
    connect_distance: float,
) -> _LevelEvidence:
    found = matched(semantic_map.gaussians, semantic_map.levels[name], index, relevancy, threshold)
    up = np.asarray(semantic_map.map_up, dtype=np.float64)
    things = grouped(found, up, min_gaussians=min_gaussians, connect_distance=connect_distance)
    groups = [group for group in things if group.evidence >= LEAST_EVIDENCE * threshold]
    of_track = relevancy.of_track
    nearest = of_track[(index.count >= min_gaussians) & (of_track < threshold)].max(initial=0.0)
    best_score = max((group.score for group in groups), default=float(nearest))
    return _LevelEvidence(found=found, groups=groups, best_score=best_score)


def _is_settled(evidence: Mapping[str, _LevelEvidence], of_track: NDArray[np.float32]) -> bool:
    """Whether a finer level whose tracks are so relevant [T] cannot win: no evidence is above its best track."""
    best = max((e.groups[0].evidence for e in evidence.values() if e.groups), default=-np.inf)
    return best >= of_track.max(initial=0.0) - LEVEL_TIE


def _best_level(evidence: Mapping[str, _LevelEvidence]) -> str:
    """The level of best evidence; of levels that tie, the first."""
    strength = {
        name: (bool(e.groups), e.groups[0].evidence if e.groups else e.best_score) for name, e in evidence.items()
    }
    has_instance, highest = max(strength.values())
    ties = [name for name, (has, value) in strength.items() if has == has_instance and value >= highest - LEVEL_TIE]
    return ties[0]


def answered(
    semantic_map: SemanticMap,
    prompt: Prompt,
    instances: tuple[Instance, ...],
    best_score: float,
    threshold: float,
    level: str,
) -> Answer:
    """What was found, with what is said about it."""
    return Answer(
        prompt=prompt,
        instances=instances,
        best_score=best_score,
        threshold=threshold,
        level=level,
        map_version=semantic_map.version,
        message=_message(semantic_map, prompt, len(instances), best_score, threshold),
    )


def _message(semantic_map: SemanticMap, prompt: Prompt, count: int, best_score: float, threshold: float) -> str:
    """What was found, in a sentence that a person can act on."""
    unknown = ", ".join(prompt.unknown_words)
    if not prompt.is_understood:
        return f"nothing found: the map's language does not know: {unknown or prompt.text}"
    if not semantic_map.levels or all(level.num_tracks == 0 for level in semantic_map.levels.values()):
        return "nothing found: the map has no semantics yet"
    if count:
        sentence = "1 instance" if count == 1 else f"{count} instances"
    else:
        sentence = f"nothing found: best score {best_score:.2f} < threshold {threshold:.2f}"
    return sentence + (f"; unknown words: {unknown}" if unknown else "")
