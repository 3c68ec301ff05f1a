# SPDX-License-Identifier: Apache-2.0
"""What a session knows beside its snapshots, in one file of the map, so that the next session goes on from there."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.live import LiveLanguage
from ccl_lgs_ros.live_geometry import LiveGeometry
from ccl_lgs_ros.storage.checkpoint import FileCheckpoint
from ccl_lgs_ros.storage.map_directory import MapDirectory

logger = logging.getLogger(__name__)

FORMAT = 1
COUNTS = "counts"


class SessionState:
    """The working state of a session: Gaussians with what holds them, tracks, votes, and what is gone.

    A cache: without it a session begins anew from the keyframes, whose segments are kept.

    Args:
        directory: of the map.
        config: whose options the state hangs on.
        perceived_by: names what made the segments.
    """

    def __init__(self, directory: MapDirectory, config: MapConfig, perceived_by: str) -> None:
        depends_on = (FORMAT, config.gaussians.sh_degree, config.field.slots, config.codebook.merge_cosine)
        self._file = FileCheckpoint(directory.session_path, f"session {depends_on} {perceived_by}")

    def save(self, geometry: LiveGeometry, language: LiveLanguage, counts: tuple[int, ...]) -> None:
        """Replace what was saved, at once or not at all.

        Raises:
            MapError: if the disk does not take it.
        """
        kept = geometry.store.is_there
        self._file.save(
            {
                **_within("geometry", geometry.tensors(kept)),
                **_within("language", language.tensors(kept)),
                COUNTS: torch.tensor(counts),
            }
        )

    def load(self, geometry: LiveGeometry, language: LiveLanguage, num_keyframes: int) -> tuple[int, ...]:
        """Put what was saved into a new session and return its counts.

        Empty, and nothing is changed, where nothing was saved with these options, or from other keyframes than there
        are.
        """
        tensors = self._file.load()
        if not tensors:
            return ()
        if int(tensors[COUNTS][0]) > num_keyframes:
            logger.warning("keyframes are missing that the map was made of; it is made anew from those that are there")
            return ()
        geometry.restore(_of("geometry", tensors))
        language.restore(_of("language", tensors))
        logger.info("going on after keyframe %s of %s", int(tensors[COUNTS][0]), num_keyframes)
        return tuple(tensors[COUNTS].tolist())


def forget_session(directory: MapDirectory) -> None:
    """Remove what was kept, so that the next session begins anew; raises MapError if the disk does not let go."""
    FileCheckpoint(directory.session_path, "").remove()


def _within(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}/{name}": tensor for name, tensor in tensors.items()}


def _of(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{part}/"
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}
