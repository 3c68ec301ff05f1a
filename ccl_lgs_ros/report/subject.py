# SPDX-License-Identifier: Apache-2.0
"""The map that a report is about, with what several of its sections look at, each made once."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.asking import create_encoder
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.colours import track_colors
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.gaussians.optimize import is_held_out
from ccl_lgs_ros.level_names import coarsest
from ccl_lgs_ros.map_record import option_of_map
from ccl_lgs_ros.protocols import Encoder, Progress, Rasterizer, no_progress
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.report.things import MOST_VIEWS, Seen, seen_things
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load
from ccl_lgs_ros.structures import Rendering
from ccl_lgs_ros.viewing import viewed_from
from ccl_lgs_ros.working_size import WorkingSize


class Subject:
    """A map directory that was opened for reading.

    Args:
        config: for asking and rendering; how the map was made, the map itself knows.
        prompts: what is asked of it.
        progress: told how far sections have come; raises Cancelled to stop.
    """

    def __init__(
        self, path: Path | str, config: MapConfig, prompts: Sequence[str] = (), progress: Progress = no_progress
    ) -> None:
        self.directory = MapDirectory.open(path)
        self.map = load(self.directory)
        self.config, self.prompts, self.progress = config, tuple(prompts), progress

    @property
    def info(self) -> Mapping[str, Any]:
        """What the map records of itself; of an older map, or of one that others made, this may be little."""
        return self.map.info

    @cached_property
    def keyframes(self) -> KeyframeStore:
        """The stored keyframes."""
        return KeyframeStore(self.directory)

    @cached_property
    def num_shown(self) -> int:
        """How many keyframes the map was made from, of those that are stored: later ones may have come since."""
        made_from = self.info.get("keyframes")
        return min(len(self.keyframes), max(made_from, 0)) if isinstance(made_from, int) else len(self.keyframes)

    @cached_property
    def held_out(self) -> list[int]:
        """The keyframes that gave no colour, by their places."""
        every = int(option_of_map(self.info, "gaussians.holdout_every"))
        return [index for index in range(self.num_shown) if is_held_out(index, every)]

    @cached_property
    def views(self) -> ViewedFrom | None:
        """The cameras of the keyframes; None where there are none."""
        return viewed_from(self.keyframes) if len(self.keyframes) else None

    @cached_property
    def seen(self) -> Seen | None:
        """What the keyframes see of the whole things; None where there is neither the one nor the other."""
        level = self.map.levels.get(coarsest(self.map.levels))
        if not self.num_shown or level is None or not level.num_tracks:
            return None
        cameras = [(entry.camera, entry.world_from_camera) for entry in self.keyframes.entries]
        return seen_things(self.map, cameras, self.spread(MOST_VIEWS), self.rasterizer, self.progress)

    @cached_property
    def rasterizer(self) -> Rasterizer:
        """Draws the map."""
        return configured_part("rasterizer", self.config)[0]

    @cached_property
    def encoder(self) -> Encoder:
        """The language of the map; raises as `create_encoder`."""
        return create_encoder(self.map, self.config)

    def view(self, index: int) -> Keyframe:
        """A keyframe at the size at which the map was made, or smaller."""
        return WorkingSize(int(option_of_map(self.info, "gaussians.image_width"))).of(self.keyframes[index])

    def rendering(self, view: Keyframe) -> Rendering:
        """The map from a keyframe's camera."""
        with torch.no_grad():
            return self.rasterizer.render(self.map.gaussians, view.camera, view.world_from_camera)

    def spread(self, count: int) -> NDArray[np.int64]:
        """Places of so many keyframes, or of all if there are fewer, evenly spread over the drive."""
        return np.unique(np.linspace(0, self.num_shown - 1, min(count, self.num_shown)).round().astype(np.int64))

    @staticmethod
    def rgb_of(id: int) -> tuple[int, int, int]:
        """The colour of a thing: the same in every picture of every version."""
        red, green, blue = (track_colors(np.array([id]))[0] * 255).round().astype(int).tolist()
        return red, green, blue

    def colour_of(self, id: int) -> str:
        """The same as CSS has it."""
        return "#{:02x}{:02x}{:02x}".format(*self.rgb_of(id))
