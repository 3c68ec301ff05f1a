# SPDX-License-Identifier: Apache-2.0
"""The surroundings of the map's things, surveyed by a thread when somebody needs them, and for each version anew."""

import time

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import CclLgsError, MapError
from ccl_lgs_ros.navigating import Surroundings, surroundings
from ccl_lgs_ros.ros.loading import Loading
from ccl_lgs_ros.structures import SemanticMap

PATIENCE = 1.5  # seconds that a question waits for the survey of a new version; then that of the one before serves

Key = tuple[str, int, object]  # map, version, options of navigation


class Survey:
    """Follows the map that is asked."""

    def __init__(self) -> None:
        self._wanted: Key | None = None
        self._wanted_since = 0.0
        self._loading: tuple[Key, Loading[Surroundings]] | None = None
        self._done: tuple[Key, Loading[Surroundings]] | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody has asked for it."""
        return self._wanted is not None

    def is_ready(self, semantic_map: SemanticMap, config: MapConfig) -> bool:
        """Whether there is nothing more to wait for; begins the survey of a version that has none."""
        key = (semantic_map.map_id, semantic_map.version, config.navigation)
        if key != self._wanted:
            self._wanted, self._wanted_since = key, time.monotonic()
        if self._loading is not None and self._loading[1].is_done:
            self._done, self._loading = self._loading, None
        is_done = self._done is not None and self._done[0] == key
        if not is_done and self._loading is None:
            self._loading = key, Loading(lambda: _surveyed(semantic_map, config))
        return is_done or time.monotonic() - self._wanted_since > PATIENCE

    def newest(self, semantic_map: SemanticMap, config: MapConfig) -> Surroundings:
        """What was surveyed last of this map, which may be the version before.

        Raises:
            MapError: if nothing was yet, or the map is too large for a grid.
            ConfigError: saying which option cannot be.
        """
        if self._done is not None:
            (map_id, _, options), loading = self._done
            if map_id == semantic_map.map_id and options == config.navigation:
                return loading.result()
        raise MapError("the grid of this map is being made; ask again in a few seconds")

    @property
    def surveyed(self) -> Key | None:
        """What `newest` was made from."""
        return None if self._done is None else self._done[0]


def _surveyed(semantic_map: SemanticMap, config: MapConfig) -> Surroundings:
    try:
        return surroundings(semantic_map, config)
    except ValueError as error:
        if isinstance(error, CclLgsError):
            raise
        raise MapError(str(error)) from error
