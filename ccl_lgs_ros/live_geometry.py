# SPDX-License-Identifier: Apache-2.0
"""The live path's geometry: what a keyframe is first to show joins the Gaussians, what it looks through goes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.ghosts import Ghosts
from ccl_lgs_ros.gaussians.movement import anchored, moved
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.gaussians.store import FIRST_EVIDENCE, GaussianStore, Part, Standing
from ccl_lgs_ros.geometry import invert_rigid
from ccl_lgs_ros.options import GaussianOptions
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.rendering.harmonics import basis
from ccl_lgs_ros.structures import NONE, Gaussians

logger = logging.getLogger(__name__)

MIN_STEP = 1e-6  # metres, or radians, that a corrected pose must move


class LiveGeometry:
    """The Gaussians of a session while keyframes come.

    Args:
        options: of the Gaussians.
        rasterizer: draws them.
        device: where they live.
    """

    def __init__(self, options: GaussianOptions, rasterizer: Rasterizer, device: torch.device | str) -> None:
        self._options, self._rasterizer, self._device = options, rasterizer, device
        self.store = GaussianStore(Gaussians.empty(options.sh_degree).to(device))
        self.ghosts = Ghosts.empty(options.sh_degree)
        self.poses: list[NDArray[np.float64]] = []  # world_from_camera [4, 4] of every keyframe, as it joined

    @property
    def contents(self) -> tuple:
        """What `correct` and `replace` change, to be put back where that is broken off."""
        return self.store, self.ghosts, self.poses

    @contents.setter
    def contents(self, contents: tuple) -> None:
        self.store, self.ghosts, self.poses = contents

    def seed(self, view: Keyframe, part: Part, index: int) -> Part:
        """New Gaussians where what a keyframe may see of the map does not explain it."""
        options = self._options
        with torch.no_grad():
            seen = self._rasterizer.render(part.gaussians, view.camera, view.world_from_camera)
        seeds = seed_gaussians(
            view, seen, seed_stride=options.seed_stride, seed_alpha=options.seed_alpha, sh_degree=options.sh_degree
        )
        room = options.max_gaussians - len(self.store)
        if len(seeds) > room:
            logger.warning("the map is full: %s Gaussians; raise gaussians.max_gaussians", options.max_gaussians)
            seeds = seeds.select(torch.arange(max(room, 0)))
        return self.store.append(seeds, index)

    def remove(self, index: Tensor) -> None:
        """Gaussians at an index are gone."""
        if not len(index):
            return
        gaussians, standing = self.store.gaussians, self.store.standing.select(index)
        ghosts = Ghosts(
            gaussians=gaussians.select(index.to(gaussians.means.device)).to("cpu"),
            anchor=standing.anchor,
            last_seen=standing.last_seen,
        )
        self.ghosts = self.ghosts.joined(ghosts)
        self.store.remove(index)

    def replace(self, gaussians: Gaussians, origin: Tensor | None = None) -> None:
        """Other Gaussians in place of these: each was the one at `origin` [N] before; -1 or None: it is new."""
        before = self.store.standing.anchor
        standing = Standing.of(len(gaussians))
        if origin is not None and len(before):
            known = torch.where(origin == NONE, NONE, before[origin.clamp_min(0)])
            standing = replace(standing, anchor=anchored(known, gaussians.means))
        self.store = GaussianStore(gaussians, standing)

    def correct(self, poses: Sequence[NDArray[np.float64]]) -> int:
        """Carry the Gaussians along with the keyframes that they hang on; how many keyframes have moved.

        What was gone is open again: the keyframes, joining anew in their order, show it and look through it once more.

        Args:
            poses: world_from_camera [4, 4] of the keyframes that joined, as they are known now.
        """
        steps = {
            index: new @ invert_rigid(old)
            for index, (old, new) in enumerate(zip(self.poses, poses, strict=False))
            if np.abs(new - old).max() > MIN_STEP
        }
        if steps:
            standing = self.store.standing
            # What was seen from wrong poses proves little.
            fresh = replace(standing, evidence=standing.evidence.clamp_max(FIRST_EVIDENCE))
            self.store = GaussianStore(moved(self.store.gaussians, standing.anchor, steps, basis), fresh)
            self.ghosts = Ghosts.empty(self._options.sh_degree)  # wrong poses look through what is there
            self.poses = [np.array(pose, np.float64) for pose in poses[: len(self.poses)]]
        return len(steps)

    def tensors(self, kept: Tensor) -> dict[str, Tensor]:
        """What goes on from here needs, of the Gaussians at a mask [N] bool."""
        standing = self.store.standing.select(kept)
        gaussians = self.store.gaussians.select(kept.to(self.store.gaussians.means.device))
        return {
            **{f"gaussians.{name}": tensor for name, tensor in gaussians.tensors().items()},
            **{f"ghosts.{name}": tensor for name, tensor in self.ghosts.gaussians.tensors().items()},
            **{f"standing.{f.name}": getattr(standing, f.name) for f in fields(standing)},
            "ghosts.anchor": self.ghosts.anchor,
            "ghosts.last_seen": self.ghosts.last_seen,
            "poses": torch.from_numpy(np.stack(self.poses)) if self.poses else torch.zeros(0, 4, 4).double(),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` told."""

        def gaussians(prefix: str) -> Gaussians:
            return Gaussians(**{name: tensors[f"{prefix}.{name}"] for name in self.store.gaussians.tensors()})

        standing = Standing(**{f.name: tensors[f"standing.{f.name}"] for f in fields(Standing)})
        self.store = GaussianStore(gaussians("gaussians").to(self._device), standing)
        self.ghosts = Ghosts(
            gaussians=gaussians("ghosts"), anchor=tensors["ghosts.anchor"], last_seen=tensors["ghosts.last_seen"]
        )
        self.poses = list(tensors["poses"].numpy())
