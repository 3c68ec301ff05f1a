# SPDX-License-Identifier: Apache-2.0
"""Code maps: one colour per track or entry, the same wherever it is drawn."""

import numpy as np
import torch

from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.code_map import code_map, gaussian_colors, segment_map
from ccl_lgs_ros.colours import GREY, track_colors
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.structures import Codebook, Gaussians, SemanticLevel, SemanticMap

CAMERA = Camera(width=32, height=24, fx=24.0, fy=24.0, cx=16.0, cy=12.0)


def two_walls() -> SemanticMap:
    """Two opaque discs beside each other, of tracks 4 and 9, which share entry 1, and one without a track behind."""
    gaussians = Gaussians(
        means=torch.tensor([[-0.5, 0.0, 2.0], [0.5, 0.0, 2.0], [0.0, 0.0, 2.0]]),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(3, 1),
        log_scales=torch.full((3, 3), -2.0),
        logit_opacities=torch.tensor([9.0, 9.0, -9.0]),
        sh=torch.zeros(3, 1, 3),
    )
    level = SemanticLevel(
        track_of_gaussian=torch.tensor([4, 9, -1], dtype=torch.int32),
        confidence=torch.full((3,), 255, dtype=torch.uint8),
        entry_of_track=torch.tensor([-1, -1, -1, -1, 1, -1, -1, -1, -1, 1]),
        codebook=Codebook(entries=torch.eye(2), weight=torch.ones(2)),
    )
    return SemanticMap(gaussians=gaussians, levels={"wp": level}, encoder="builtin/1")


def test_the_map_shows_tracks_apart_and_things_of_one_code_alike() -> None:
    semantic_map = two_walls()
    rasterizer, _ = configured_part("rasterizer", MapConfig())
    tracks = code_map(semantic_map, "wp", rasterizer, CAMERA, np.eye(4))
    codes = code_map(semantic_map, "wp", rasterizer, CAMERA, np.eye(4), by="entry")
    left, right = (12, 10), (12, 22)  # where the two discs are drawn
    expected = 255 * track_colors(np.array([4, 9, 1]))
    assert np.abs(tracks[left].astype(int) - expected[0]).max() <= 2
    assert np.abs(tracks[right].astype(int) - expected[1]).max() <= 2
    assert np.abs(codes[left].astype(int) - expected[2]).max() <= 2
    assert np.abs(codes[right].astype(int) - expected[2]).max() <= 2
    assert (tracks[0, 0] == 0).all()
    assert (gaussian_colors(semantic_map.levels["wp"])[2] == np.float32(GREY)).all()


def test_segments_take_the_colours_of_their_tracks() -> None:
    labels = np.array([[0, 1], [-1, 0]])
    shown = segment_map(labels, np.array([9, 4]))
    expected = 255 * track_colors(np.array([9, 4, -1, 9])).reshape(2, 2, 3)
    assert np.abs(shown - expected).max() <= 0.5
