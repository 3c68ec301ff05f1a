# SPDX-License-Identifier: Apache-2.0
"""A small room of Gaussians with a few coloured boxes in it, as a map directory, made without any mapping."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mini_scene import box_surface
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.colours import base_colors
from ccl_lgs_ros.gaussians.seed import SH_C0
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, SemanticLevel, SemanticMap

CAMERA = Camera(width=160, height=120, fx=120.0, fy=120.0, cx=80.0, cy=60.0)
NUM_KEYFRAMES = 6
FLOOR, WALL = (170, 165, 150), (205, 200, 190)
SPACING = 0.022  # metres between the Gaussians of a box


@dataclass(frozen=True, kw_only=True)
class ColouredBox:
    """A box that stands on the floor."""

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    colour: tuple[int, int, int]


RED = ColouredBox(center=(0.7, 0.5, 0.25), size=(0.4, 0.4, 0.5), colour=(205, 30, 35))
BLUE = ColouredBox(center=(0.6, -0.5, 0.2), size=(0.4, 0.5, 0.4), colour=(25, 60, 200))
SECOND_BLUE = ColouredBox(center=(-0.6, 0.6, 0.2), size=(0.3, 0.3, 0.4), colour=(25, 60, 200))


def room_map(*boxes: ColouredBox) -> SemanticMap:
    """A floor, two walls and the boxes, each box a track of its own at both levels."""
    parts = [(_plane(2, 0.0), 0.06, FLOOR), (_plane(0, 1.6), 0.06, WALL), (_plane(1, 1.6), 0.06, WALL)]
    parts += [(box_surface(b.center, b.size, spacing=SPACING), 0.6 * SPACING, b.colour) for b in boxes]
    gaussians = Gaussians.empty()
    for points, scale, colour in parts:
        gaussians = gaussians.joined(_discs(points, scale, colour))
    size = [len(points) for points, _, _ in parts]
    track = np.repeat([NONE] * 3 + list(range(len(boxes))), size)
    level = SemanticLevel(
        track_of_gaussian=torch.from_numpy(track.astype(np.int32)),
        confidence=torch.full((len(track),), 255, dtype=torch.uint8),
        entry_of_track=torch.arange(len(boxes)),
        codebook=Codebook(entries=_features(boxes), weight=torch.ones(len(boxes))),
    )
    return SemanticMap(gaussians=gaussians, levels={"wp": level, "sp": level}, encoder="builtin/1")


def keyframes() -> list[Keyframe]:
    """Photos from an arc around the boxes, all of one grey: nothing here looks at their pixels."""
    frames = []
    for id, angle in enumerate(np.linspace(-0.5, 0.5, NUM_KEYFRAMES)):
        eye = np.array([-2.0 * np.cos(angle), 2.0 * np.sin(angle), 1.3])
        frames.append(
            Keyframe(
                id=id,
                stamp_ns=id * 10**9,
                camera=CAMERA,
                world_from_camera=looking(eye, np.array([0.5, 0.0, 0.3])),
                image=np.full((CAMERA.height, CAMERA.width, 3), 128, np.uint8),
                sharpness=1.0,
            )
        )
    return frames


def looking(eye: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """world_from_camera [4, 4] of an upright camera that looks at a point."""
    z = (at - eye) / np.linalg.norm(at - eye)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    return rigid(np.stack([x, np.cross(z, x), z], axis=1), eye)


def add_keyframes(directory: MapDirectory) -> None:
    with KeyframeStore(directory, writable=True) as store:
        for frame in keyframes():
            store.append(frame)
    directory.release()


def make_map(path: Path, *boxes: ColouredBox) -> MapDirectory:
    """A map directory with keyframes and one version."""
    directory = MapDirectory.create(path)
    add_keyframes(directory)
    publish(directory, room_map(*boxes))
    return directory


def _plane(axis: int, at: float) -> NDArray[np.float32]:
    """Points of a square of 3 m, or of a wall of 1.2 m height, that lies across an axis."""
    side = np.arange(-1.6, 1.61, 0.08)
    u, v = np.meshgrid(side, side if axis == 2 else np.arange(0.0, 1.21, 0.08))
    others = [u.ravel(), v.ravel()]
    return np.insert(np.stack(others, axis=1), axis, at, axis=1).astype(np.float32)


def _discs(points: NDArray[np.float32], scale: float, colour: tuple[int, int, int]) -> Gaussians:
    """Opaque balls of one colour, their shade a little uneven."""
    count = len(points)
    shade = 1.0 + 0.08 * np.sin(7.0 * points.sum(axis=1, keepdims=True))
    rgb = torch.from_numpy((np.array(colour) / 255.0 * shade).clip(0.0, 1.0).astype(np.float32))
    gaussians = Gaussians(
        means=torch.from_numpy(points),
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        log_scales=torch.full((count, 3), scale).log(),
        logit_opacities=torch.full((count,), 4.0),
        sh=((rgb - 0.5) / SH_C0)[:, None],
    )
    assert np.allclose(base_colors(gaussians.sh), rgb, atol=1e-6)
    return gaussians


def _features(boxes: tuple[ColouredBox, ...]) -> torch.Tensor:
    """How the encoder sees the colours of the boxes [T, D]."""
    image = np.zeros((16, 16 * len(boxes), 3), np.uint8)
    labels = torch.zeros(16, 16 * len(boxes), dtype=torch.int32)
    for place, box in enumerate(boxes):
        image[:, 16 * place : 16 * (place + 1)], labels[:, 16 * place : 16 * (place + 1)] = box.colour, place
    return BuiltinEncoder().encode_segments(image, labels, len(boxes))
