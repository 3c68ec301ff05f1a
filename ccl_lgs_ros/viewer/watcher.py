# SPDX-License-Identifier: Apache-2.0
"""Follows a map directory, which grows while it is looked at: what there is to show now."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import CclLgsError
from ccl_lgs_ros.navigating import surroundings
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.viewer.splats import splats_of
from ccl_lgs_ros.viewer.subject import Subject
from ccl_lgs_ros.viewing import viewed_from

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sight:
    """All that there is to show of a map."""

    path: Path
    number: int = 0  # of the sights so far
    subject: Subject | None = None  # None before the first snapshot
    entries: tuple[KeyframeEntry, ...] = ()
    trouble: str = ""  # why the newest version cannot be shown


class Watcher:
    """Looks for new versions and keyframes; what cannot be read leaves what was shown in place, with the reason.

    Args:
        path: the map directory; it may not exist yet.
        config: whose encoder and rasterizer are used.
        max_gaussians: as many as a browser gets.
        on_change: called with what there is to show whenever that is something else.
    """

    def __init__(
        self, path: Path, config: MapConfig, max_gaussians: int, on_change: Callable[[Sight], object] = lambda _: None
    ) -> None:
        self.sight = Sight(path=path)
        self._config, self._max_gaussians, self._on_change = config, max_gaussians, on_change
        self._reader = MapReader(path, config)
        self._store: KeyframeStore | None = None
        self._store_of = ""  # the map whose keyframes these are
        self._seen: tuple[object, ...] = ()
        self._ended = threading.Event()

    def look(self) -> bool:
        """Take notice of what is new; whether anything is."""
        self._reader.refresh()
        trouble = self._reader.error
        try:
            store = self._keyframes()
        except CclLgsError as error:
            store, trouble = self._store, trouble or str(error)
        key = (self._reader.version, self._store_of, len(store or ()), store.revision if store else 0, trouble)
        if key == self._seen:
            return False
        self._seen = key
        self.sight = Sight(
            path=self.sight.path,
            number=self.sight.number + 1,
            subject=self._subject(store) if store is not None and self._reader.version else None,
            entries=store.entries if store is not None else (),
            trouble=trouble,
        )
        self._on_change(self.sight)
        return True

    def run(self, period: float) -> None:
        """Look every so many seconds until `end` is called."""
        while not self._ended.wait(period):
            try:
                self.look()
            except Exception:  # whatever a half-written map does to us, the page stays
                logger.exception("looking at %s failed", self.sight.path)

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _keyframes(self) -> KeyframeStore | None:
        """The keyframes as they are now; None before there is a map."""
        path = self.sight.path
        if not path.exists():
            return None
        directory = MapDirectory.open(path)
        if self._store is None or directory.map_id != self._store_of:
            self._store, self._store_of = KeyframeStore(directory), directory.map_id
        else:
            self._store.refresh()
        return self._store

    def _subject(self, store: KeyframeStore) -> Subject:
        reader, before = self._reader, self.sight.subject
        semantic_map = reader.map
        is_same = before is not None and before.semantic_map is semantic_map
        reader.is_ready_to_ask()
        reader.is_ready_to_draw()
        return Subject(
            semantic_map=semantic_map,
            config=self._config,
            splats=before.splats if before and is_same else splats_of(semantic_map.gaussians, self._max_gaussians),
            index=reader.index,
            is_ready=reader.is_ready_to_ask,
            encoder=lambda: reader.encoder,
            rasterizer=lambda: reader.rasterizer,
            views=viewed_from(store),
            store=store,
            around=before.around if before and is_same else cache(lambda: surroundings(semantic_map, self._config)),
        )
