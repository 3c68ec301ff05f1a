# SPDX-License-Identifier: Apache-2.0
"""Questions that are put to every version of the map, by a thread, for topics that follow their answers."""

from dataclasses import dataclass

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.protocols import Encoder
from ccl_lgs_ros.query.answer import MapIndex
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.ros.loading import Loading
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.structures import SemanticMap


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StandingAnswer:
    """What a version of the map answered to all the prompts."""

    semantic_map: SemanticMap
    things: dict[str, tuple[Instance, ...]]  # by prompt


class StandingQuestion:
    """Prompts that are asked again whenever they or the map change."""

    def __init__(self) -> None:
        self._asked: tuple[object, ...] = ()
        self._loading: Loading[StandingAnswer] | None = None

    def look(self, reader: MapReader, config: MapConfig, prompts: tuple[str, ...]) -> StandingAnswer | None:
        """An answer that has just come; begins to ask where something has changed. For a map that can be asked."""
        if self._loading is not None:
            if not self._loading.is_done:
                return None
            loading, self._loading = self._loading, None
            return loading.result()
        asked = (reader.map.map_id, reader.map.version, config.query, config.navigation, prompts)
        if asked == self._asked or not (prompts or self._asked):
            return None
        semantic_map, encoder, index, views = reader.map, reader.encoder, reader.index, reader.views()
        self._asked = asked
        self._loading = Loading(lambda: _ask(semantic_map, config, encoder, index, views, prompts))
        return None


def prompts_of(text: str) -> tuple[str, ...]:
    """The prompts of a parameter, which are separated by commas."""
    return tuple(dict.fromkeys(" ".join(part.split()) for part in text.split(",") if part.strip()))


def _ask(
    semantic_map: SemanticMap,
    config: MapConfig,
    encoder: Encoder,
    index: MapIndex,
    views: ViewedFrom,
    prompts: tuple[str, ...],
) -> StandingAnswer:
    things = {
        prompt: query_map(semantic_map, prompt, config, encoder, index=index, views=views).instances
        for prompt in prompts
    }
    return StandingAnswer(semantic_map=semantic_map, things=things)
