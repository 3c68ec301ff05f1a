# SPDX-License-Identifier: Apache-2.0
"""What names mean in a map: the encoder is asked for each, and the map answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ccl_lgs_ros.answers import Answer, Instance, Prompt
from ccl_lgs_ros.level_names import AUTO, coarsest, finest
from ccl_lgs_ros.protocols import Encoder
from ccl_lgs_ros.query.answer import MapIndex, answer, answered
from ccl_lgs_ros.query.parts import parts_of
from ccl_lgs_ros.query.relevancy import level_relevancy
from ccl_lgs_ros.structures import SemanticMap

TIE = 0.5  # relevancy of what is as much like the prompt as like anything
PART_CAUTION = 0.85  # of the threshold, for parts: of a thing that is there, a few pieces alone come into question


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapFinder:
    """Finds things and parts of things by name, with the settings of one question."""

    semantic_map: SemanticMap
    encoder: Encoder
    index: MapIndex
    threshold: float
    min_gaussians: int
    connect_distance: float
    level: str  # "auto", or the name of a level

    def find(self, name: str, most: int) -> Answer:
        """The things of that name."""
        prompt = self.encoder.understand(name)
        levels = self.semantic_map.levels
        return answer(
            self.semantic_map,
            prompt,
            {level: level_relevancy(levels[level], self.encoder, prompt) for level in levels},
            threshold=self.threshold,
            max_instances=most,
            min_gaussians=self.min_gaussians,
            connect_distance=self.connect_distance,
            level=self.level,
            index=self.index,
        )

    def find_wholes(self, name: str, most: int) -> Answer:
        """The things of that name at the level of wholes; where there are none, as by `find`."""
        whole = coarsest(self.semantic_map.levels) if self.level == AUTO else ""
        found = replace(self, level=whole).find(name, most) if whole else None
        return found if found and found.instances else self.find(name, most)

    def find_parts(self, name: str, wholes: Sequence[Instance], whole: Prompt) -> Answer:
        """The parts of that name that some things have, which matched another prompt, at the level of parts."""
        prompt = self.encoder.understand(name)
        levels = self.semantic_map.levels
        threshold = max(min(self.threshold, TIE), PART_CAUTION * self.threshold)
        level = finest(levels)
        parts, score = (), 0.0
        if wholes and prompt.is_understood and level:
            parts, score = parts_of(
                self.semantic_map,
                level,
                level_relevancy(levels[level], self.encoder, prompt),
                level_relevancy(levels[level], self.encoder, whole),
                wholes,
                self.index[level],
                threshold=threshold,
                sure=self.threshold,
                min_gaussians=self.min_gaussians,
                connect_distance=self.connect_distance,
            )
        return answered(self.semantic_map, prompt, parts, score, threshold, level)
