# SPDX-License-Identifier: Apache-2.0
"""The ids of a session's things: what snapshot, refine, correction and restart do to them, in one place."""

import logging
from collections.abc import Mapping

from torch import Tensor

from ccl_lgs_ros.association.identity import NEXT_ID, Remembered
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load
from ccl_lgs_ros.structures import SemanticLevel

logger = logging.getLogger(__name__)

REVISION = "revision"


class Naming:
    """Which ids the Gaussians of a session carry; a correction of poses moves Gaussians and leaves it as it is.

    Args:
        directory: whose newest snapshot tells a new session how things were called.
    """

    def __init__(self, directory: MapDirectory) -> None:
        self._directory = directory
        self.remembered: Remembered | None = None  # None: not yet looked up

    def recall(self, means: Tensor, revision: int | None = None) -> None:
        """Take over the ids of the newest snapshot, unless that is done.

        Args:
            means: [N, 3] of the session's Gaussians.
            revision: only of a snapshot that knew the poses of this revision, for it has the same things in the same
                places; None = of any.
        """
        if self.remembered is not None:
            return
        if self._directory.newest_version() == 0:
            self.remembered = Remembered.nothing()
            return
        try:
            published = load(self._directory)
        except MapError as error:
            logger.warning("things get new ids, for the snapshot that knows theirs cannot be read: %s", error)
            self.remembered = Remembered.nothing()
            return
        if revision is None or published.info.get(REVISION, 0) == revision:
            self.remembered = Remembered.of(published, means)

    def follow(self, origin: Tensor) -> None:
        """Other Gaussians took the place of these: each was the one at `origin` [N] before; -1: it is new."""
        if self.remembered is not None:
            self.remembered = self.remembered.followed(origin)

    def named(self, levels: Mapping[str, SemanticLevel], means: Tensor) -> dict[str, SemanticLevel]:
        """The levels of a session's Gaussians at means [N, 3], with ids for their tracks."""
        self.recall(means)
        assert self.remembered is not None
        named, self.remembered = self.remembered.named(levels)
        return named

    @property
    def record(self) -> dict[str, object]:
        """What a snapshot must say, so that no id is given twice."""
        return {NEXT_ID: self.remembered.next_id if self.remembered else 0}
