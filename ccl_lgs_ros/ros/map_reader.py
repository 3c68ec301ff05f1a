# SPDX-License-Identifier: Apache-2.0
"""The newest published version of a map, and what it takes to ask and draw it; nothing here knows ROS."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.asking import create_encoder
from ccl_lgs_ros.backends import configured_part, reasons_against
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import CclLgsError, MapError
from ccl_lgs_ros.protocols import Encoder, Rasterizer
from ccl_lgs_ros.query.answer import MapIndex
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.registry import part_class
from ccl_lgs_ros.ros.loading import Loading
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load
from ccl_lgs_ros.structures import Gaussians, SemanticMap
from ccl_lgs_ros.viewing import viewed_from

logger = logging.getLogger(__name__)

TRY_AGAIN = 10.0  # seconds after which a model that could not be loaded is looked for once more
WARMING = Camera(width=16, height=16, fx=16.0, fy=16.0, cx=8.0, cy=8.0)

T = TypeVar("T")


class NoMapError(MapError):
    """There is nothing to ask yet."""


class MapReader:
    """Follows a map directory; a version is replaced by the next in one step, so that no answer mixes two.

    Encoder and rasterizer are loaded by threads of their own: `is_ready_to_ask` and `is_ready_to_draw` begin that and
    say whether there is still anything to wait for; `encoder` and `rasterizer` wait.

    Args:
        path: the map directory; it may not exist yet.
        config: whose encoder and rasterizer are used.
    """

    def __init__(self, path: Path, config: MapConfig) -> None:
        self.path = path
        self.error = ""  # why the newest version cannot be read
        self._config = config
        self._directory: MapDirectory | None = None
        self._store: KeyframeStore | None = None
        self._views: tuple[tuple[str, int, int], ViewedFrom] | None = None  # of the map, its keyframes and their poses
        self._map: SemanticMap | None = None
        self._index: MapIndex | None = None
        self._encoder: Loading[Encoder] | None = None
        self._rasterizer: Loading[Rasterizer] | None = None
        self._encoder_of = ""  # the map's language that the encoder was loaded for; "" before there is a map
        self._lack = _lacking(config)

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
            raise NoMapError(self._no_map())
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
        self.is_ready_to_ask()
        if self._encoder is None or self._map is None:
            raise NoMapError(self._no_map())
        return self._encoder.result()

    @property
    def rasterizer(self) -> Rasterizer:
        """What draws the map."""
        self.is_ready_to_draw()
        assert self._rasterizer is not None
        return self._rasterizer.result()

    @property
    def lack(self) -> str:
        """What is missing so that the map can be asked or drawn, with the command that gets it; empty if nothing is."""
        errors = [loading.error for loading in (self._encoder, self._rasterizer) if loading and loading.error]
        return " ".join(str(errors[0]).split()) if errors else self._lack

    def is_ready_to_ask(self) -> bool:
        """Whether the encoder is there, or cannot be had; without a map only one that the options name is loaded."""
        language = self._map.encoder if self._map else ""
        if not language and self._config.perception.encoder == "auto":
            return True
        speaks = self._encoder is not None and self._encoder_of == language
        if not speaks and language and self._encoder is not None and self._encoder.is_done and not self._encoder.error:
            speaks = self._encoder.result().identity == language
        if not speaks or _is_worth_a_try(self._encoder):
            semantic_map, config = self._map, self._config
            self._encoder = Loading(
                lambda: create_encoder(semantic_map, config) if semantic_map else configured_part("encoder", config)[0]
            )
        self._encoder_of = language
        assert self._encoder is not None
        return self._encoder.is_done

    def is_ready_to_draw(self) -> bool:
        """Whether the rasterizer is there and compiled, or cannot be had."""
        if self._rasterizer is None or _is_worth_a_try(self._rasterizer):
            self._rasterizer = Loading(lambda: _warm(configured_part("rasterizer", self._config)[0]))
        return self._rasterizer.is_done

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

    def last_keyframe(self) -> KeyframeEntry:
        """The newest keyframe.

        Raises:
            MapError: if no keyframe is stored with the map.
        """
        entries = self._keyframes().entries
        if not entries:
            raise MapError(f"the map {self.path} has no keyframes; give camera_pose and camera_info")
        return entries[-1]

    def last_view(self) -> tuple[Camera, NDArray[np.float64]]:
        """Camera and pose [4, 4] of the newest keyframe; raises as `last_keyframe`."""
        entry = self.last_keyframe()
        return entry.camera, entry.world_from_camera

    def num_keyframes(self) -> int:
        """Keyframes in the store."""
        return len(self._keyframes())

    def views(self) -> ViewedFrom:
        """The cameras of the keyframes, where they are known to have been now."""
        store = self._keyframes()
        key = (self.map.map_id, len(store), store.revision)
        if self._views is None or self._views[0] != key:
            self._views = (key, viewed_from(store))
        return self._views[1]

    def _no_map(self) -> str:
        return self.error or f"there is no map at {self.path} yet; wait for the first keyframes, or send build_map"

    def _keyframes(self) -> KeyframeStore:
        """The store as it is now; what is known of it is not read again."""
        directory = MapDirectory.open(self.path)
        if self._store is None or self._directory is None or directory.map_id != self._directory.map_id:
            self._store = KeyframeStore(directory)
        else:
            self._store.refresh()
        return self._store

    def _refresh(self) -> bool:
        if not self.path.exists():
            return False
        directory = MapDirectory.open(self.path)
        if self._directory is None or directory.map_id != self._directory.map_id:
            self._directory, self._map, self._index, self._store = directory, None, None, None
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


def _lacking(config: MapConfig) -> str:
    """Why the rasterizer or the encoder that the options name does not work here; empty where they do."""
    try:
        for kind, name in (("encoder", config.perception.encoder), ("rasterizer", config.rendering.rasterizer)):
            if name != "auto":
                part_class(kind, name)  # raises where there is none of this name
                reason = reasons_against(kind, config)[name]
                if reason:
                    return reason
    except CclLgsError as error:
        return str(error)
    return ""


def _is_worth_a_try(loading: Loading[T] | None) -> bool:
    """Whether loading failed so long ago that the reason may be gone."""
    failed = loading is not None and loading.is_done and loading.error is not None
    return failed and loading is not None and time.monotonic() - loading.done_at > TRY_AGAIN


def _warm(rasterizer: Rasterizer) -> Rasterizer:
    """A rasterizer that has drawn once, with and without features: the first picture is when kernels are compiled."""
    one = Gaussians(
        means=torch.tensor([[0.0, 0.0, 1.0]]),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        log_scales=torch.full((1, 3), -3.0),
        logit_opacities=torch.zeros(1),
        sh=torch.zeros(1, 1, 3),
    )
    for features in (None, torch.zeros(1, 1)):
        rasterizer.render(one, WARMING, np.eye(4), features)
    return rasterizer
