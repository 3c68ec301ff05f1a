# SPDX-License-Identifier: Apache-2.0
"""The newest published version of a map, and what it takes to ask and draw it; nothing here knows ROS."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.asking import create_encoder
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import CclLgsError, MapError
from ccl_lgs_ros.protocols import Encoder, Rasterizer
from ccl_lgs_ros.query.answer import MapIndex
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load
from ccl_lgs_ros.structures import SemanticMap

logger = logging.getLogger(__name__)


class NoMapError(MapError):
    """There is nothing to ask yet."""


class MapReader:
    """Follows a map directory; a version is replaced by the next in one step, so that no answer mixes two.

    Args:
        path: the map directory; it may not exist yet.
        config: whose encoder and rasterizer are used.
    """

    def __init__(self, path: Path, config: MapConfig) -> None:
        self.path = path
        self.error = ""  # why the newest version cannot be read
        self._config = config
        self._directory: MapDirectory | None = None
        self._map: SemanticMap | None = None
        self._index: MapIndex | None = None
        self._encoder: Encoder | None = None
        self._rasterizer: Rasterizer | None = None

    @property
    def version(self) -> int:
        """The version that is asked; 0 before the first."""
        return self._map.version if self._map else 0

    @property
    def map(self) -> SemanticMap:
        """The map that is asked.

        Raises:
            NoMapError: saying why there is none and how to get one.
        """
        if self._map is None:
            why = self.error or f"there is no map at {self.path} yet; wait for the first keyframes, or send build_map"
            raise NoMapError(why)
        return self._map

    @property
    def index(self) -> MapIndex:
        """The index of the map that is asked; each level of it is made by the first question that needs it."""
        if self._index is None:
            self._index = MapIndex(self.map)
        return self._index

    @property
    def encoder(self) -> Encoder:
        """The encoder of the map's language; raises EncoderMismatchError where the configured one is another."""
        if self._encoder is None or self._encoder.identity != self.map.encoder:
            self._encoder = create_encoder(self.map, self._config)
        return self._encoder

    @property
    def rasterizer(self) -> Rasterizer:
        """What draws the map."""
        if self._rasterizer is None:
            self._rasterizer, _ = configured_part("rasterizer", self._config)
        return self._rasterizer

    def refresh(self) -> bool:
        """Take the newest version if it is new; a version that cannot be read leaves the present one in use."""
        return self._try(self._refresh)

    def open(self) -> None:
        """Read the map now.

        Raises:
            MapError: if there is none or it is damaged.
        """
        self._directory = MapDirectory.open(self.path)
        if self._directory.newest_version():
            self._map, self._index = load(self._directory), None

    def last_view(self) -> tuple[Camera, NDArray[np.float64]]:
        """Camera and pose [4, 4] of the newest keyframe.

        Raises:
            MapError: if no keyframe is stored with the map.
        """
        entries = KeyframeStore(MapDirectory.open(self.path)).entries
        if not entries:
            raise MapError(f"the map {self.path} has no keyframes; give camera_pose and camera_info")
        return entries[-1].camera, entries[-1].world_from_camera

    def num_keyframes(self) -> int:
        """Keyframes in the store."""
        return len(KeyframeStore(MapDirectory.open(self.path)))

    def _refresh(self) -> bool:
        if not self.path.exists():
            return False
        directory = MapDirectory.open(self.path)
        if self._directory is None or directory.map_id != self._directory.map_id:
            self._directory, self._map, self._index = directory, None, None
        if directory.newest_version() <= self.version:
            return False
        self._map, self._index = load(directory), None
        logger.info("version %s: %s Gaussians", self._map.version, len(self._map.gaussians))
        return True

    def _try(self, work: Callable[[], Any]) -> bool:
        try:
            is_new = work()
        except CclLgsError as error:
            if str(error) != self.error:
                logger.warning("%s", error)
            self.error = str(error)
            return False
        self.error = ""
        return is_new
