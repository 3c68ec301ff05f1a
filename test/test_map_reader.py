# SPDX-License-Identifier: Apache-2.0
"""What asks a map follows its versions, each with an index of its own."""

from pathlib import Path

import numpy as np
import torch
from mini_scene import BLUE, RED, box_surface, map_of

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish


def test_the_index_is_made_once_per_version_and_only_when_it_is_used(tmp_path: Path) -> None:
    box = box_surface((0, 0, 0.1), (0.2, 0.2, 0.2))
    directory = MapDirectory.create(tmp_path / "map")
    reader = MapReader(directory.path, MapConfig())
    for version, (points, track) in enumerate(
        ((box, torch.zeros(len(box))), (np.concatenate([box, box + 1.0]), torch.arange(2).repeat_interleave(len(box)))),
        start=1,
    ):
        publish(directory, map_of(points, track, torch.stack([RED, BLUE])))
        assert reader.refresh()
        assert reader.version == version
        index = reader.index
        assert index.num_bytes == 0
        assert index["wp"].count.tolist() == [len(box), len(points) - len(box)]
        assert reader.index is index
        assert not reader.refresh()
        assert reader.index is index
