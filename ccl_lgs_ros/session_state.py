# SPDX-License-Identifier: Apache-2.0
"""What a session knows beside its snapshots, in one file of the map, so that the next session goes on from there."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.live import LiveLanguage
from ccl_lgs_ros.live_geometry import LiveGeometry
from ccl_lgs_ros.storage.checkpoint import FileCheckpoint

FORMAT = 1
COUNTS = "counts"


class SessionState:
    """The working state of a session: Gaussians with what holds them, tracks, votes, and what is gone.

    A cache: without it a session begins anew from the keyframes, whose segments are kept.

    Args:
        path: the file.
        config: whose options the state hangs on.
        perceived_by: names what made the segments.
    """

    def __init__(self, path: Path, config: MapConfig, perceived_by: str) -> None:
        depends_on = (FORMAT, config.gaussians.sh_degree, config.field.slots, config.codebook.merge_cosine)
        self._file = FileCheckpoint(path, f"session {depends_on} {perceived_by}")

    def save(self, geometry: LiveGeometry, language: LiveLanguage, num_added: int, num_refined: int) -> None:
        """Replace what was saved, at once or not at all.

        Raises:
            MapError: if the disk does not take it.
        """
        kept = geometry.store.is_there
        self._file.save(
            {
                **_within("geometry", geometry.tensors(kept)),
                **_within("language", language.tensors(kept)),
                COUNTS: torch.tensor([num_added, num_refined]),
            }
        )

    def load(self, geometry: LiveGeometry, language: LiveLanguage) -> tuple[int, int] | None:
        """Put what was saved into a new session: how many keyframes it had and how many were refined.

        None, and nothing is changed, where nothing was saved by these options.
        """
        tensors = self._file.load()
        if not tensors:
            return None
        geometry.restore(_of("geometry", tensors))
        language.restore(_of("language", tensors))
        num_added, num_refined = tensors[COUNTS].tolist()
        return num_added, num_refined

    def remove(self) -> None:
        """Forget what was saved."""
        self._file.remove()


def _within(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}/{name}": tensor for name, tensor in tensors.items()}


def _of(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{part}/"
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}
