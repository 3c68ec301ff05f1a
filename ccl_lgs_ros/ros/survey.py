# SPDX-License-Identifier: Apache-2.0
"""The surroundings of the map's things, surveyed by a thread when somebody needs them, and for each version anew."""

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.navigating import Surroundings, surroundings
from ccl_lgs_ros.ros.loading import Loading
from ccl_lgs_ros.structures import SemanticMap


class Survey:
    """Follows the map that is asked."""

    def __init__(self) -> None:
        self.is_wanted = False  # somebody has asked for it
        self._loading: Loading[Surroundings] | None = None
        self._key: tuple[object, ...] = ()

    def is_ready(self, semantic_map: SemanticMap, config: MapConfig) -> bool:
        """Whether this version was surveyed, or cannot be; begins it otherwise, once an earlier one is done."""
        self.is_wanted = True
        key = (semantic_map.map_id, semantic_map.version, config.navigation)
        if key != self._key and (self._loading is None or self._loading.is_done):
            self._key, self._loading = key, Loading(lambda: _surveyed(semantic_map, config))
        return key == self._key and self._loading is not None and self._loading.is_done

    def newest(self, semantic_map: SemanticMap) -> Surroundings:
        """What was surveyed last of this map, if only a moment ago of the version before.

        Raises:
            MapError: if that is not done, or the map is too large for a grid.
            ConfigError: saying which option cannot be.
        """
        if self._loading is None or self._key[0] != semantic_map.map_id or not self._loading.is_done:
            raise MapError("the grid of this map is being made; ask again in a few seconds")
        return self._loading.result()

    @property
    def version(self) -> tuple[object, ...]:
        """What `newest` was made from."""
        return self._key


def _surveyed(semantic_map: SemanticMap, config: MapConfig) -> Surroundings:
    try:
        return surroundings(semantic_map, config)
    except ValueError as error:
        raise MapError(str(error)) from error
