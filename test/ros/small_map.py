# SPDX-License-Identifier: Apache-2.0
"""Maps of a red and a blue box on a grey floor, published without mapping anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mini_scene import box_surface, gaussians_at

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish
from ccl_lgs_ros.structures import Codebook, Gaussians, SemanticLevel, SemanticMap

COLOURS = {"red": (200, 20, 20), "blue": (20, 40, 200), "grey": (128, 128, 128)}
SH_BAND_0 = 0.28209479177387814
RED_CENTRE, BLUE_CENTRE = (-0.3, 0.0, 0.1), (0.3, 0.0, 0.1)  # metres
BOX = (0.2, 0.2, 0.2)  # metres
STARTS = 60.0  # seconds that a node may take to read a map, with its imports, on a busy machine
CAMERA = Camera(width=160, height=120, fx=140.0, fy=140.0, cx=80.0, cy=60.0)
LOOKING_DOWN = rigid(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 1.5]))  # at the floor from above


def small_map(
    spacing: float = 0.01,
    *,
    num_red: int | None = None,
    encoder: str = "builtin/1",
    floor_size: tuple[float, float] = (1.2, 1.0),
) -> SemanticMap:
    """The boxes and the floor.

    Args:
        spacing: metres between the points of a surface.
        num_red: Gaussians of the red box; None = as many as its surface takes.
        floor_size: metres along x and y.
    """
    red, blue = (box_surface(centre, BOX, spacing=spacing) for centre in (RED_CENTRE, BLUE_CENTRE))
    floor = box_surface((0.0, 0.0, -0.05), (*floor_size, 0.1), spacing=4 * spacing)
    red = red if num_red is None else red[:num_red]
    points, thing = np.concatenate([red, blue, floor]), np.repeat([0, 1, 2], [len(red), len(blue), len(floor)])
    track = torch.from_numpy(thing.astype(np.int32))
    colour = np.array(list(COLOURS.values()), np.float32)[thing] / 255.0
    gaussians = gaussians_at(points, scale=0.6 * spacing)
    sh = torch.from_numpy((colour - 0.5) / SH_BAND_0)[:, None].float()
    gaussians = Gaussians(**{**gaussians.tensors(), "sh": sh})
    return SemanticMap(
        gaussians=gaussians,
        levels={"wp": level(track, 3), "sp": level(track, 3)},
        encoder=encoder,
        info={"keyframes": 1, "vote_bytes": 1234},
    )


def level(track: torch.Tensor, num_tracks: int) -> SemanticLevel:
    """The things by colour, each its own entry."""
    entries = features()[:num_tracks]
    return SemanticLevel(
        track_of_gaussian=track,
        confidence=torch.full((len(track),), 255, dtype=torch.uint8),
        entry_of_track=torch.arange(num_tracks),
        codebook=Codebook(entries=entries, weight=torch.ones(num_tracks)),
    )


def features() -> torch.Tensor:
    """What the builtin encoder sees of the colours [3, D]."""
    image = np.repeat(np.array(list(COLOURS.values()), np.uint8), 8, axis=0)[:, None].repeat(8, axis=1)
    labels = torch.arange(3).repeat_interleave(8)[:, None].repeat(1, 8).int()
    return BuiltinEncoder().encode_segments(np.ascontiguousarray(image), labels, 3)


def map_at(path: Path, *maps: SemanticMap, keyframes: int = 1) -> MapDirectory:
    """A map directory with these versions, and keyframes that look down on them."""
    directory = MapDirectory.create(path)
    with KeyframeStore(directory, writable=True) as store:
        for id in range(keyframes):
            image = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)
            store.append(Keyframe(id=id, stamp_ns=1 + id, camera=CAMERA, world_from_camera=LOOKING_DOWN, image=image))
    for semantic_map in maps:
        publish(directory, semantic_map)
    directory.release()
    return directory


def start_with_map(start: Callable[..., Any], **parameters: Any) -> Any:
    """A query node that has read its map."""
    node = start("query_node", **parameters)
    node.wait_for("version 1", STARTS)
    return node
